//! From a checkpoint to ONNX graphs, without Python and without a runtime: read → draw → write.

pub mod arch;
pub mod block;
mod error;
pub mod graph;
pub mod weights;

pub use error::{Error, Result};
