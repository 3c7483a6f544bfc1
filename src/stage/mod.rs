//! One way through: prompt → embeddings → image embedding → latents → pixels.
//!
//! Every stage is a function from one type to the next, so none can be skipped or fed the wrong
//! thing. A mode (`crate::pipeline`) is a way to come by the image embedding and the starting latents.

pub mod decode;
pub mod deep_cache;
pub mod denoise;
pub mod encode;
pub mod fitted_prior;
pub mod noise;
pub mod preview;
pub mod prior;
