//! Text to image embedding without diffusion (paper, Table 3): by a fitted prior, or by none.
//!
//! Without a prior the UNet gets CLIP's pooled text embedding, as it is, where it expects an image embedding.
//! CLIP puts both into one space, but texts and pictures lie apart in it, so such pictures show less of the
//! prompt: that is what this regime is there to show.

use super::encode::Encoder;
use crate::component::Networks;
use crate::error::Result;
use crate::priors::FittedPrior;
use crate::tensor::Tensor;

/// Image embeddings f32\[B,D\] of prompts by a fitted prior, a row each.
///
/// # Errors
/// When the prior belongs to another CLIP, a prompt cannot be used or the text encoder fails.
pub fn embeds(
    networks: &mut Networks,
    encoder: &Encoder<'_>,
    prior: &FittedPrior,
    prompts: &[&str],
) -> Result<Tensor> {
    prior.check_model(networks.folder().manifest())?;
    prior.image_embeds(&text_embeds(networks, encoder, prompts)?)
}

/// What stands in for image embeddings without a prior: the pooled CLIP text embeddings f32\[B,D\] of
/// prompts, a row each.
///
/// # Errors
/// When a prompt cannot be used or the text encoder fails.
pub fn text_embeds(networks: &mut Networks, encoder: &Encoder<'_>, prompts: &[&str]) -> Result<Tensor> {
    encoder.clip_pooled(networks, prompts)
}
