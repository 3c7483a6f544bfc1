//! CLIP's text encoder: token ids to their states, and the projected state of the end of the text.
//!
//! No token looks at later ones, so padding changes nothing before it: any number of tokens up to the
//! encoder's own may be given. transformers: `CLIPTextModelWithProjection`.

use crate::Result;
use crate::block::{causal, clip_layer, layer_norm, linear_no_bias};
use crate::config::{Pooling, TextEncoder};
use crate::graph::{Number, Scope, Value};
use kandinsky_models::manifest::Dtype::I64;

/// Ids (B, S) to states (B, S, W) and projection (B, D).
pub fn draw(w: &Scope<'_>, c: &TextEncoder) -> Result<()> {
    let ids = w.input("ids", I64, "batch, tokens")?;
    let model = w.at("text_model");
    let table = model.tensor("embeddings.token_embedding.weight", &[c.vocabulary, c.width])?;
    let positions = model.tensor("embeddings.position_embedding.weight", &[c.positions, c.width])?;
    let (zero, length) = (w.ints(&[0])?, w.side(&ids, 1));
    let positions = w.slice(&positions, &zero, &length, 0)?; // (S, W)
    let bias = causal(w, c.positions, c.positions)?;
    let bias = w.slice(&w.slice(&bias, &zero, &length, 0)?, &zero, &length, 1)?; // (S, S)
    let mut x = w.add(&w.gather(&table, &ids)?, &positions)?; // (B, S, W)
    for i in 0..c.layers {
        x = clip_layer(&model.at(format!("encoder.layers.{i}")), &x, &c.layer, Some(&bias))?;
    }
    let hidden = layer_norm(&model.at("final_layer_norm"), &x, c.layer.epsilon)?; // (B, S, W)
    let last = w.gather_rows(&hidden, &end_of_text(w, c, &ids)?)?; // (B, W)
    let pooled = linear_no_bias(&w.at("text_projection"), &last, c.projection)?; // (B, D)
    w.output("hidden", &hidden, &format!("batch, tokens, {}", c.width))?;
    w.output("pooled", &pooled, &format!("batch, {}", c.projection))
}

/// Place of the end of each text (B, 1).
fn end_of_text(w: &Scope<'_>, c: &TextEncoder, ids: &Value) -> Result<Value> {
    let score = match c.pooling {
        Pooling::LargestId => w.cast(ids, Number::F32),
        Pooling::First(id) => {
            let id = i64::try_from(id).map_err(|e| w.wrong(e))?;
            w.cast(&w.equal(ids, &w.ints(&[id])?)?, Number::F32)
        }
    };
    Ok(w.argmax(&score, true))
}
