//! XLM-R and the projection to CLIP's space: token ids to their states, and the projected mean state.
//!
//! All padding has one and the same state, which the UNet attends to.
//! diffusers: `MultilingualCLIP`; transformers: `XLMRobertaModel`.

use crate::Result;
use crate::block::{attend, heads, layer_norm, linear, padding_bias, query};
use crate::config::MultilingualEncoder;
use crate::graph::{Number, Scope, Value};
use kandinsky_models::manifest::Dtype::{F32, I64};

/// Ids and mask (B, S) to states (B, S, W) and projection (B, D).
pub fn draw(w: &Scope<'_>, c: &MultilingualEncoder) -> Result<()> {
    let ids = w.input("ids", I64, "batch, tokens")?;
    let mask = w.input("mask", F32, "batch, tokens")?;
    let model = w.at("transformer");
    let mut x = embeddings(&model.at("embeddings"), c, &ids, &mask)?; // (B, S, W)
    let bias = padding_bias(w, &mask)?; // (B, 1, 1, S)
    for i in 0..c.layers {
        x = layer(&model.at(format!("encoder.layer.{i}")), c, &x, &bias)?;
    }
    let pooler = model.at("pooler.dense");
    pooler.unread("weight", &[c.width, c.width])?;
    pooler.unread("bias", &[c.width])?;
    let weights = w.unsqueeze(&mask, &[2])?; // (B, S, 1)
    let sum = w.reduce_sum(&w.mul(&x, &weights)?, 1)?; // (B, W)
    let mean = w.div(&sum, &w.reduce_sum(&weights, 1)?)?;
    let pooled = linear(&w.at("LinearTransformation"), &mean, c.projection)?; // (B, D)
    w.output("hidden", &x, &format!("batch, tokens, {}", c.width))?;
    w.output("pooled", &pooled, &format!("batch, {}", c.projection))
}

/// Words, their places and their kind (there is one kind), normalised.
fn embeddings(w: &Scope<'_>, c: &MultilingualEncoder, ids: &Value, mask: &Value) -> Result<Value> {
    let words = w.tensor("word_embeddings.weight", &[c.vocabulary, c.width])?;
    let places = w.tensor("position_embeddings.weight", &[c.positions, c.width])?;
    let kind = w.tensor("token_type_embeddings.weight", &[1, c.width])?;
    let words = w.add(&w.gather(&words, ids)?, &kind)?; // (B, S, W)
    let x = w.add(&words, &w.gather(&places, &place_ids(w, c, mask)?)?)?;
    layer_norm(&w.at("LayerNorm"), &x, c.layer.epsilon)
}

/// Real token i lies at `pad + 1 + i`, padding at `pad`: (B, S).
fn place_ids(w: &Scope<'_>, c: &MultilingualEncoder, mask: &Value) -> Result<Value> {
    let pad = i64::try_from(c.pad).map_err(|e| w.wrong(e))?;
    let places = i64::try_from(c.positions).map_err(|e| w.wrong(e))? - pad - 1;
    let count: Vec<i64> = (1..=places).collect();
    let count = w.slice(&w.integers("count", count)?, &w.ints(&[0])?, &w.side(mask, 1), 0)?; // (S)
    let real = w.cast(mask, Number::I64); // (B, S)
    w.add(&w.mul(&count, &real)?, &w.ints(&[pad])?)
}

/// Attention, then a perceptron, each added to its input and then normalised.
fn layer(w: &Scope<'_>, c: &MultilingualEncoder, x: &Value, bias: &Value) -> Result<Value> {
    let attn = w.at("attention");
    let projected = |name: &str| heads(&attn, &linear(&attn.at(name), x, c.width)?, c.layer.heads);
    let q = heads(&attn, &query(&attn, "self.query", x, [c.width, c.layer.heads])?, c.layer.heads)?;
    let (k, v) = (projected("self.key")?, projected("self.value")?);
    let h = attend(&attn, &q, [&k, &v], Some(bias))?; // (B, S, W)
    let h = linear(&attn.at("output.dense"), &h, c.width)?;
    let x = layer_norm(&attn.at("output.LayerNorm"), &w.add(x, &h)?, c.layer.epsilon)?;
    let h = linear(&w.at("intermediate.dense"), &x, c.layer.mlp)?; // (B, S, mlp)
    let h = c.layer.activation.apply(&w.at("intermediate"), &h)?;
    let h = linear(&w.at("output.dense"), &h, c.width)?; // (B, S, W)
    layer_norm(&w.at("output.LayerNorm"), &w.add(&x, &h)?, c.layer.epsilon)
}
