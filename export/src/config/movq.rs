//! Config of the autoencoder.

use super::Fields;
use crate::Result;
use crate::block::{Groups, SPATIAL_GROUPS};
use serde_json::{Value, json};
use std::path::Path;

/// Epsilon of its normalisations (fixed in the reference).
const EPSILON: f32 = 1e-6;

/// The autoencoder (`VQModel`).
#[derive(Debug, Clone)]
pub struct Movq {
    /// Channels of a picture that is encoded.
    pub pixels_in: usize,
    /// Channels of a picture that was decoded.
    pub pixels_out: usize,
    /// Channels of each level, from the outermost.
    pub channels: Vec<usize>,
    /// Whether each level has attention, on the way down.
    pub attention_down: Vec<bool>,
    /// Whether each level has attention, on the way up (innermost first).
    pub attention_up: Vec<bool>,
    /// Whether the innermost place has attention.
    pub attention_middle: bool,
    /// Residual blocks a level on the way down; one more on the way up.
    pub layers: usize,
    /// Channels of a latent.
    pub latent: usize,
    /// Entries of the codebook.
    pub codes: usize,
    /// Group normalisation of the encoder.
    pub groups: Groups,
}

impl Movq {
    /// Reads `movq/config.json`.
    ///
    /// # Errors
    /// As [`TextEncoder::read`](super::TextEncoder::read).
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        f.required("norm_type", &json!("spatial"))?;
        f.only("act_fn", &json!("silu"))?;
        f.only("lookup_from_codebook", &json!(false))?;
        let latent = f.size("latent_channels")?;
        f.only_or_null("vq_embed_dim", &json!(latent))?;
        let channels = f.sizes("block_out_channels")?;
        let kinds = |field, names: [&str; 2]| f.choices(field, names, channels.len());
        let attention_down = kinds("down_block_types", ["DownEncoderBlock2D", "AttnDownEncoderBlock2D"])?;
        let attention_up = kinds("up_block_types", ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"])?;
        let groups = Groups { count: f.size("norm_num_groups")?, epsilon: EPSILON };
        for level in &channels {
            f.multiple("block_out_channels", *level, groups.count)?;
            f.multiple("block_out_channels", *level, SPATIAL_GROUPS)?;
        }
        Ok(Self {
            pixels_in: f.size("in_channels")?,
            pixels_out: f.size("out_channels")?,
            attention_down,
            attention_up,
            attention_middle: f.switch("mid_block_add_attention", true)?,
            layers: f.layers("layers_per_block")?,
            latent,
            codes: f.size("num_vq_embeddings")?,
            groups,
            channels,
        })
    }

    /// Channels of the outermost level.
    pub fn outermost(&self) -> usize {
        self.channels.first().copied().unwrap_or(0)
    }

    /// Channels of the innermost level.
    pub fn innermost(&self) -> usize {
        self.channels.last().copied().unwrap_or(0)
    }

    /// Pixels along a latent's pixel.
    pub fn factor(&self) -> usize {
        1 << self.channels.len().saturating_sub(1).min(16)
    }
}
