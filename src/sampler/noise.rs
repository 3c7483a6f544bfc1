//! Where a sampler's noise comes from.

use crate::error::{Error, Kind, Result};
use crate::rng::TorchCpu;
use crate::tensor::Tensor;
use std::collections::VecDeque;

/// A source of standard normals.
pub trait Noise {
    /// Normals of `shape`, whose first axis is the batch.
    ///
    /// # Errors
    /// When it has none of that shape.
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor>;
}

/// One generator for the whole batch.
pub struct Shared(TorchCpu);

impl Shared {
    /// Draws from `generator`.
    pub const fn new(generator: TorchCpu) -> Self {
        Self(generator)
    }
}

impl Noise for Shared {
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor> {
        self.0.normal(shape)
    }
}

/// Tensors that were drawn elsewhere, handed out in order.
pub struct Replay(VecDeque<Tensor>);

impl Replay {
    /// Hands out `drawn`.
    pub fn new(drawn: impl IntoIterator<Item = Tensor>) -> Self {
        Self(drawn.into_iter().collect())
    }
}

impl Noise for Replay {
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor> {
        match self.0.pop_front() {
            Some(drawn) if drawn.shape() == shape => Ok(drawn),
            Some(drawn) => {
                let message =
                    format!("noise of shape {shape:?} was asked where {:?} was drawn", drawn.shape());
                Err(Error::new(Kind::Internal, message))
            }
            None => Err(Error::new(Kind::Internal, format!("no noise is left for shape {shape:?}"))),
        }
    }
}
