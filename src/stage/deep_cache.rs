//! Reuse of the UNet's deep levels (Ma et al., "DeepCache: Accelerating diffusion models for free", section 3.2):
//! what they give changes little from one step to the next.
//!
//! Every n-th call of the network is full and keeps what the deep levels gave, a row a picture and half; the calls
//! between run the outermost level on it.

use crate::component::Networks;
use crate::component::unet::{self, StepInputs, UnetVariant};
use crate::error::Result;
use crate::tensor::{Tensor, TensorView, side, view_rows};

/// The deep levels' part, from one full call to the next.
pub struct DeepCache {
    every: usize,
    deep: Option<Tensor>,
}

impl DeepCache {
    /// Every `every`-th call is full; with 1, all are, and nothing is kept.
    pub const fn new(every: usize) -> Self {
        Self { every, deep: None }
    }

    /// The UNet's output f32\[B,8,h,w\] at a call of the sampler, `index` calls after the first.
    ///
    /// # Errors
    /// As [`Networks::call`].
    pub fn step(
        &mut self,
        networks: &mut Networks,
        which: UnetVariant,
        index: usize,
        given: &StepInputs<'_>,
    ) -> Result<Tensor> {
        if self.every <= 1 {
            return unet::step(networks, which, given);
        }
        if let Some(deep) = self.kept(index, side(given.sample.shape(), 0)?)? {
            return unet::shallow_step(networks, which, given, &deep);
        }
        let unet::DeepStep { out, deep } = unet::deep_step(networks, which, given)?;
        self.deep = Some(deep);
        Ok(out)
    }

    /// What is kept for `wanted` rows, unless the call is full. A call that is not guided asks for the text's
    /// rows, the second half.
    fn kept(&self, index: usize, wanted: usize) -> Result<Option<TensorView<'_>>> {
        let Some(deep) = self.deep.as_ref().filter(|_| !index.is_multiple_of(self.every)) else {
            return Ok(None);
        };
        match side(deep.shape(), 0)? {
            kept if kept == wanted => Ok(Some(deep.view())),
            kept if kept == 2 * wanted => view_rows(&deep.view(), wanted, kept).map(Some),
            _ => Ok(None),
        }
    }
}
