//! The TensorRT provider (ONNX Runtime's `tensorrt_execution_provider_info.cc` reads these names).
//!
//! Engines are built ahead for a profile of shapes and read from a cache. Their graphs are typed f16, so no
//! precision is switched on: without `trt_fp16_enable` and its like the network is strongly typed.

use super::{Strings, strict, switch};
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch, TensorRT};
use std::path::PathBuf;

/// Its name.
pub const NAME: &str = "tensorrt";
/// The highest builder level.
pub const MAX_LEVEL: u8 = 5;
/// The level that TensorRT itself takes.
pub const DEFAULT_LEVEL: u8 = 3;

/// What we set of the TensorRT provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRt {
    /// The device's number.
    pub device: u32,
    /// Where the engines of this graph lie.
    pub engines: PathBuf,
    /// What their files begin with.
    pub prefix: String,
    /// Where timings of kernels are kept, for all graphs.
    pub timings: PathBuf,
    /// Smallest, best and largest shapes, as [`crate::runtime::shapes::Shapes::profile`] writes them.
    pub profile: [String; 3],
    /// How long the builder looks for faster kernels, 0 to [`MAX_LEVEL`].
    pub level: u8,
    /// Most bytes that a kernel may work in.
    pub workspace: Option<u64>,
    /// Whether runs are captured and replayed; then shapes and addresses may not change.
    pub graph: bool,
    /// Whether the builder tells what it does.
    pub log: bool,
}

impl TensorRt {
    /// The options as the provider reads them.
    pub fn strings(&self) -> Strings {
        let [min, opt, max] = self.profile.clone();
        let mut strings = vec![
            ("device_id", self.device.to_string()),
            ("trt_engine_cache_enable", switch(true)),
            ("trt_engine_cache_path", self.engines.display().to_string()),
            ("trt_engine_cache_prefix", self.prefix.clone()),
            ("trt_timing_cache_enable", switch(true)),
            ("trt_timing_cache_path", self.timings.display().to_string()),
            ("trt_force_timing_cache", switch(false)),
            ("trt_profile_min_shapes", min),
            ("trt_profile_opt_shapes", opt),
            ("trt_profile_max_shapes", max),
            ("trt_builder_optimization_level", self.level.to_string()),
            ("trt_context_memory_sharing_enable", switch(true)),
            ("trt_weight_stripped_engine_enable", switch(false)),
            ("trt_fp16_enable", switch(false)),
            ("trt_bf16_enable", switch(false)),
            ("trt_int8_enable", switch(false)),
            ("trt_cuda_graph_enable", switch(self.graph)),
            ("trt_detailed_build_log", switch(self.log)),
        ];
        strings.extend(self.workspace.map(|bytes| ("trt_max_workspace_size", bytes.to_string())));
        strings
    }

    /// The provider for a session.
    pub fn dispatch(&self) -> ExecutionProviderDispatch {
        let set = |ep: TensorRT, (name, value): (&str, String)| ep.with_arbitrary_config(name, value);
        strict(self.strings().into_iter().fold(TensorRT::default(), set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_the_provider_s_own_strings() {
        let tensorrt = TensorRt {
            device: 1,
            engines: "/cache/abc".into(),
            prefix: "unet_step".to_owned(),
            timings: "/cache/timings".into(),
            profile: ["x:1x4".to_owned(), "x:2x4".to_owned(), "x:8x4".to_owned()],
            level: 5,
            workspace: Some(1 << 30),
            graph: true,
            log: true,
        };
        let text = |t: &TensorRt| t.strings().iter().map(|(n, v)| format!("{n}={v}\n")).collect::<String>();
        let expected = "device_id=1\ntrt_engine_cache_enable=1\ntrt_engine_cache_path=/cache/abc\n\
                        trt_engine_cache_prefix=unet_step\ntrt_timing_cache_enable=1\n\
                        trt_timing_cache_path=/cache/timings\ntrt_force_timing_cache=0\n\
                        trt_profile_min_shapes=x:1x4\ntrt_profile_opt_shapes=x:2x4\ntrt_profile_max_shapes=x:8x4\n\
                        trt_builder_optimization_level=5\ntrt_context_memory_sharing_enable=1\n\
                        trt_weight_stripped_engine_enable=0\ntrt_fp16_enable=0\ntrt_bf16_enable=0\n\
                        trt_int8_enable=0\ntrt_cuda_graph_enable=1\ntrt_detailed_build_log=1\n\
                        trt_max_workspace_size=1073741824\n";
        assert_eq!(text(&tensorrt), expected);
        let plain = TensorRt { workspace: None, graph: false, log: false, ..tensorrt };
        assert!(text(&plain).contains("trt_cuda_graph_enable=0\ntrt_detailed_build_log=0\n"));
        assert!(!text(&plain).contains("workspace"));
    }
}
