//! Where a sampler's noise comes from.

use crate::error::{Error, Kind, Result};
use crate::rng::Normals;
use crate::tensor::Tensor;
use ndarray::Zip;

/// A source of standard normals.
pub trait Noise {
    /// Normals of `shape`, whose first axis is the batch.
    ///
    /// # Errors
    /// When it has none of that shape.
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor>;
}

/// One generator for the whole batch.
pub struct Shared<G>(G);

impl<G: Normals> Shared<G> {
    /// Draws from `generator`.
    pub const fn new(generator: G) -> Self {
        Self(generator)
    }
}

impl<G: Normals> Noise for Shared<G> {
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor> {
        self.0.normal(shape)
    }
}

/// A clean tensor under noise: `alpha_t x0 + sigma_t noise`.
pub(super) fn mix(x0: &Tensor, noise: &Tensor, alpha_t: f32, sigma_t: f32) -> Result<Tensor> {
    if x0.shape() != noise.shape() {
        let message =
            format!("noise of shape {:?} cannot be added to a tensor of {:?}", noise.shape(), x0.shape());
        return Err(Error::new(Kind::Internal, message));
    }
    Ok(Zip::from(x0).and(noise).map_collect(|x0, noise| alpha_t * x0 + sigma_t * noise))
}
