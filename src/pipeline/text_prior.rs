//! What turns texts into image embeddings, as a request uses it.

use crate::error::Result;
use crate::tensor::Tensor;
use std::ops::Range;

/// Where the image embeddings of texts come from. One file each: `diffusion` and `fitted`.
pub trait TextPrior {
    /// Embeddings f32\[B,D\] of the prompts of pictures, and of what they are steered away from where that is
    /// a text.
    ///
    /// # Errors
    /// When a network fails or the caller cancels.
    fn of_prompts(&mut self, part: &Range<usize>) -> Result<(Tensor, Option<Tensor>)>;

    /// The embedding f32\[B,D\] of a text of the mix, a row a picture.
    ///
    /// # Errors
    /// As [`TextPrior::of_prompts`].
    fn of_mixed(&mut self, index: usize, count: usize) -> Result<Tensor>;

    /// What a mix is steered away from where that is a text, as many rows as `like` has.
    ///
    /// # Errors
    /// As [`TextPrior::of_prompts`].
    fn of_mix_negative(&mut self, like: &Tensor) -> Result<Option<Tensor>>;
}
