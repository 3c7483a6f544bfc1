//! Text to image embedding without diffusion (paper, Table 3): by a fitted prior, or by none.
//!
//! Without a prior the UNet gets CLIP's pooled text embedding, as it is, where it expects an image embedding.
//! CLIP puts both into one space, but texts and pictures lie apart in it, so such pictures show less of the
//! prompt: that is what this regime is there to show.

use super::encode::Encoder;
use crate::component::{Networks, image_encoder};
use crate::error::Result;
use crate::priors::FittedPrior;
use crate::tensor::Tensor;
use ndarray::IxDyn;

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

/// The unconditional image embedding f32\[1,D\] for guidance: that of the negative prompt, come by as the
/// prompt's (without a prior its text embedding); with no negative prompt that of a picture of zeros, as the
/// diffusion prior has it.
///
/// # Errors
/// As [`embeds`], or when the image encoder fails.
pub fn negative_embed(
    networks: &mut Networks,
    encoder: &Encoder<'_>,
    prior: Option<&FittedPrior>,
    negative: Option<&str>,
) -> Result<Tensor> {
    match (negative, prior) {
        (Some(negative), Some(prior)) => embeds(networks, encoder, prior, &[negative]),
        (Some(negative), None) => text_embeds(networks, encoder, &[negative]),
        (None, _) => zero_image(networks, encoder),
    }
}

/// The embedding of a picture of zeros: a constant of the folder, else computed.
fn zero_image(networks: &mut Networks, encoder: &Encoder<'_>) -> Result<Tensor> {
    if let Some(embed) = &encoder.constants.zero_image {
        return Ok(embed.clone());
    }
    let size = networks.folder().manifest().clip_image.size;
    image_encoder::encode(networks, Tensor::zeros(IxDyn(&[1, 3, size, size])))
}
