//! The CUDA provider (ONNX Runtime's `cuda_execution_provider_info.cc` reads these names).

use super::{Strings, strict, switch};
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, CUDA, ExecutionProviderDispatch};

/// Its name.
pub const NAME: &str = "cuda";
/// Kernels of attention that may be chosen: flash (1), memory-efficient (2), cuDNN's flash (8), and plain
/// products (16) where none of them takes the shape.
const ATTENTION: u32 = 1 | 2 | 8 | 16;

/// How cuDNN's algorithm for a convolution is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvSearch {
    /// Every algorithm is timed at the first run of a shape.
    #[default]
    Exhaustive,
    /// cuDNN's own guess.
    Heuristic,
    /// Always the same algorithm.
    Default,
}

impl ConvSearch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exhaustive, Self::Heuristic, Self::Default];

    /// The name that `--conv-search` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhaustive => "exhaustive",
            Self::Heuristic => "heuristic",
            Self::Default => "default",
        }
    }
}

/// What we set of the CUDA provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuda {
    /// The device's number.
    pub device: u32,
    /// Most bytes of a graph's arena.
    pub memory: Option<u64>,
    /// Whether runs are captured and replayed; then shapes and addresses may not change.
    pub graph: bool,
    /// Whether f32 products may round their factors to TF32.
    pub tf32: bool,
    /// How algorithms of convolutions are found.
    pub conv_search: ConvSearch,
}

impl Cuda {
    /// The options as the provider reads them.
    pub fn strings(&self) -> Strings {
        let mut strings = vec![
            ("device_id", self.device.to_string()),
            // Doubling would take much more than a graph needs.
            ("arena_extend_strategy", "kSameAsRequested".to_owned()),
            ("cudnn_conv_algo_search", self.conv_search.name().to_uppercase()),
            ("cudnn_conv_use_max_workspace", switch(true)),
            ("prefer_nhwc", switch(true)),
            ("fuse_conv_bias", switch(true)),
            ("sdpa_kernel", ATTENTION.to_string()),
            ("use_tf32", switch(self.tf32)),
            ("enable_cuda_graph", switch(self.graph)),
        ];
        strings.extend(self.memory.map(|bytes| ("gpu_mem_limit", bytes.to_string())));
        strings
    }

    /// The provider for a session.
    pub fn dispatch(&self) -> ExecutionProviderDispatch {
        let set = |ep: CUDA, (name, value): (&str, String)| ep.with_arbitrary_config(name, value);
        strict(self.strings().into_iter().fold(CUDA::default(), set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cuda: &Cuda) -> String {
        cuda.strings().iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn options_are_the_provider_s_own_strings() {
        let plain = "device_id=0\narena_extend_strategy=kSameAsRequested\ncudnn_conv_algo_search=EXHAUSTIVE\n\
                     cudnn_conv_use_max_workspace=1\nprefer_nhwc=1\nfuse_conv_bias=1\nsdpa_kernel=27\nuse_tf32=0\n\
                     enable_cuda_graph=0\n";
        assert_eq!(text(&Cuda::default()), plain);
        let all = Cuda {
            device: 3,
            memory: Some(8 << 30),
            graph: true,
            tf32: true,
            conv_search: ConvSearch::Heuristic,
        };
        let expected = "device_id=3\narena_extend_strategy=kSameAsRequested\ncudnn_conv_algo_search=HEURISTIC\n\
                        cudnn_conv_use_max_workspace=1\nprefer_nhwc=1\nfuse_conv_bias=1\nsdpa_kernel=27\nuse_tf32=1\n\
                        enable_cuda_graph=1\ngpu_mem_limit=8589934592\n";
        assert_eq!(text(&all), expected);
        let searches = ConvSearch::ALL.map(|conv_search| Cuda { conv_search, ..Cuda::default() });
        let searches = searches.map(|cuda| text(&cuda).lines().nth(2).unwrap_or_default().to_owned());
        assert_eq!(
            searches,
            ["EXHAUSTIVE", "HEURISTIC", "DEFAULT"].map(|s| format!("cudnn_conv_algo_search={s}"))
        );
    }
}
