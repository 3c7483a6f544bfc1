//! Configs of the three encoders.

use super::Fields;
use crate::Result;
use crate::block::{Activation, Layer};
use serde_json::{Value, json};
use std::path::Path;

/// CLIP's text encoder (`CLIPTextModelWithProjection`).
#[derive(Debug, Clone)]
pub struct TextEncoder {
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Positions.
    pub positions: usize,
    /// Width of a token.
    pub width: usize,
    /// Width of the projection.
    pub projection: usize,
    /// Number of layers.
    pub layers: usize,
    /// Their sizes.
    pub layer: Layer,
    /// Which token's state is projected.
    pub pooling: Pooling,
}

impl TextEncoder {
    /// Reads `text_encoder/config.json` of a prior.
    ///
    /// # Errors
    /// When a field is missing, of another kind, or asks for something that is not drawn.
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        let pooling = match f.count("eos_token_id")? {
            2 => Pooling::LargestId,
            id => Pooling::First(id),
        };
        Ok(Self {
            vocabulary: f.size("vocab_size")?,
            positions: f.tokens("max_position_embeddings")?,
            width: f.size("hidden_size")?,
            projection: f.size("projection_dim")?,
            layers: f.layers("num_hidden_layers")?,
            layer: clip_layer(&f)?,
            pooling,
        })
    }
}

/// Which token's state CLIP projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first with the largest id: what configs with `eos_token_id` 2 mean.
    LargestId,
    /// The first with this id.
    First(usize),
}

/// CLIP's image encoder (`CLIPVisionModelWithProjection`).
#[derive(Debug, Clone)]
pub struct ImageEncoder {
    /// Channels of a picture.
    pub channels: usize,
    /// Side of a picture.
    pub image: usize,
    /// Side of a patch.
    pub patch: usize,
    /// Width of a token.
    pub width: usize,
    /// Width of the projection.
    pub projection: usize,
    /// Number of layers.
    pub layers: usize,
    /// Their sizes.
    pub layer: Layer,
}

impl ImageEncoder {
    /// Reads `image_encoder/config.json` of a prior.
    ///
    /// # Errors
    /// As [`TextEncoder::read`].
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        let (image, patch) = (f.size("image_size")?, f.size("patch_size")?);
        f.multiple("image_size", image, patch)?;
        Ok(Self {
            channels: f.size("num_channels")?,
            image,
            patch,
            width: f.size("hidden_size")?,
            projection: f.size("projection_dim")?,
            layers: f.layers("num_hidden_layers")?,
            layer: clip_layer(&f)?,
        })
    }

    /// Patches of a picture.
    pub const fn patches(&self) -> usize {
        (self.image / self.patch) * (self.image / self.patch)
    }
}

/// XLM-R with a projection (`MultilingualCLIP`).
#[derive(Debug, Clone)]
pub struct MultilingualEncoder {
    /// Entries of the vocabulary.
    pub vocabulary: usize,
    /// Rows of the position table; the first `pad + 1` are for padding.
    pub positions: usize,
    /// Id of padding.
    pub pad: usize,
    /// Width of a token.
    pub width: usize,
    /// Width of the projection.
    pub projection: usize,
    /// Number of layers.
    pub layers: usize,
    /// Their sizes.
    pub layer: Layer,
}

impl MultilingualEncoder {
    /// Reads `text_encoder/config.json` of a decoder.
    ///
    /// # Errors
    /// As [`TextEncoder::read`].
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        f.required("type_vocab_size", &json!(1))?;
        f.only("position_embedding_type", &json!("absolute"))?;
        let (positions, pad) = (f.tokens("max_position_embeddings")?, f.count("pad_token_id")?);
        if positions < pad + 2 {
            return Err(f.bad("max_position_embeddings", positions, &format!("more than {}", pad + 1)));
        }
        let width = f.size("hidden_size")?;
        if f.size("transformerDimensions")? != width {
            return Err(f.bad("transformerDimensions", f.size("transformerDimensions")?, &width.to_string()));
        }
        Ok(Self {
            vocabulary: f.size("vocab_size")?,
            positions,
            pad,
            width,
            projection: f.size("numDims")?,
            layers: f.layers("num_hidden_layers")?,
            layer: clip_layer(&f)?,
        })
    }
}

fn clip_layer(f: &Fields<'_>) -> Result<Layer> {
    let (width, heads) = (f.size("hidden_size")?, f.size("num_attention_heads")?);
    f.multiple("hidden_size", width, heads)?;
    let activation = match f.text("hidden_act")? {
        "gelu" => Activation::Gelu,
        "quick_gelu" => Activation::QuickGelu,
        other => return Err(f.unknown("hidden_act", other, "gelu or quick_gelu")),
    };
    let epsilon = f.epsilon("layer_norm_eps")?;
    Ok(Layer { heads, mlp: f.size("intermediate_size")?, activation, epsilon })
}
