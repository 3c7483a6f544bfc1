//! The CPU provider: every build of ONNX Runtime has it, and it is set up by the session alone.

/// Its name.
pub const NAME: &str = "cpu";
