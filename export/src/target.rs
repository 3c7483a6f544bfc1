//! Targets of an export: what graphs for a runtime do otherwise than portable ones. A target is one row of [`TARGETS`].

use kandinsky_models::manifest::Target;
use kandinsky_models::onnx::{OPSET, OPSET_TENSORRT};

/// What a target asks of its graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRules {
    /// The target.
    pub target: Target,
    /// The version of the standard operators.
    pub opset: i64,
    /// The version of ONNX Runtime's own operators, where graphs use them.
    pub contrib: Option<i64>,
    /// Whether weights are stored in f16, and values inside are computed in it.
    pub f16: bool,
    /// Whether channels are the last axis of pictures.
    pub channels_last: bool,
    /// Whether products of rows take weights as the checkpoint stores them.
    pub transposed_gemm: bool,
    /// Whether group normalisation is one operator, which computes in f32 inside.
    pub group_norm: bool,
    /// Whether layer normalisation must be typed f32 to be computed in it.
    pub wide_layer_norm: bool,
    /// Whether graphs are drawn with rewrites.
    pub rewrites: bool,
}

/// Every runtime: standard operators in f32.
const PORTABLE: TargetRules = TargetRules {
    target: Target::Portable,
    opset: OPSET,
    contrib: None,
    f16: false,
    channels_last: false,
    transposed_gemm: true,
    group_norm: false,
    wide_layer_norm: false,
    rewrites: true,
};

/// ONNX Runtime's CUDA provider: its own operators, channels last. Its kernel of layer normalisation sums in f32
/// whatever it is given.
const CUDA: TargetRules = TargetRules {
    target: Target::Cuda,
    contrib: Some(1),
    f16: true,
    channels_last: true,
    transposed_gemm: false,
    group_norm: true,
    rewrites: false,
    ..PORTABLE
};

/// TensorRT: strongly typed f16, standard operators alone. Layer normalisation is computed as its types say.
const TENSORRT: TargetRules = TargetRules {
    target: Target::TensorRt,
    opset: OPSET_TENSORRT,
    contrib: None,
    channels_last: false,
    wide_layer_norm: true,
    ..CUDA
};

/// Every target.
pub static TARGETS: [&TargetRules; 3] = [&PORTABLE, &CUDA, &TENSORRT];

/// What a target asks of its graphs.
pub fn rules(target: Target) -> &'static TargetRules {
    TARGETS.into_iter().find(|rules| rules.target == target).unwrap_or(&PORTABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_row() {
        assert_eq!(TARGETS.map(|rules| rules.target), Target::ALL);
    }
}
