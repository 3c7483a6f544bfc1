//! Config of the prior.

use super::Fields;
use crate::Result;
use serde_json::{Value, json};
use std::path::Path;

/// The diffusion prior (`PriorTransformer`).
#[derive(Debug, Clone, Copy)]
pub struct Prior {
    /// Attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head: usize,
    /// Number of layers.
    pub layers: usize,
    /// Width of CLIP's embeddings.
    pub embedding: usize,
    /// Most text tokens.
    pub tokens: usize,
}

impl Prior {
    /// Reads `prior/config.json`.
    ///
    /// # Errors
    /// As [`TextEncoder::read`](super::TextEncoder::read).
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        f.only("additional_embeddings", &json!(Self::ADDITIONAL))?;
        f.only("time_embed_act_fn", &json!("silu"))?;
        f.only("encoder_hid_proj_type", &json!("linear"))?;
        f.only("added_emb_type", &json!("prd"))?;
        for switch in [
            "norm_in_type",
            "embedding_proj_norm_type",
            "time_embed_dim",
            "embedding_proj_dim",
            "clip_embed_dim",
        ] {
            f.only(switch, &Value::Null)?;
        }
        let heads = f.size("num_attention_heads")?;
        let head = f.size("attention_head_dim")?;
        f.multiple("num_attention_heads * attention_head_dim", heads * head, 2)?;
        f.width("num_attention_heads * attention_head_dim", heads * head)?;
        Ok(Self {
            heads,
            head,
            layers: f.layers("num_layers")?,
            embedding: f.size("embedding_dim")?,
            tokens: f.tokens("num_embeddings")?,
        })
    }
}

impl Prior {
    /// Tokens after the text: text embedding, time, x, and the place of the answer.
    pub const ADDITIONAL: usize = 4;

    /// Width of a token inside.
    pub const fn width(&self) -> usize {
        self.heads * self.head
    }
}
