//! A layer of CLIP's encoders: attention, then a perceptron, each after a layer normalisation.

use crate::Result;
use crate::block::{Activation, attend, heads, layer_norm, linear, query};
use crate::graph::{Scope, Value};

/// Sizes of a transformer's layers.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    /// Attention heads.
    pub heads: usize,
    /// Width of the perceptron's middle.
    pub mlp: usize,
    /// The perceptron's activation.
    pub activation: Activation,
    /// Epsilon of layer normalisations.
    pub epsilon: f32,
}

/// Tokens (B, S, C) to tokens (B, S, C); `bias` says who may look at whom.
pub fn clip_layer(w: &Scope<'_>, x: &Value, layer: &Layer, bias: Option<&Value>) -> Result<Value> {
    let width = w.known(x, 2)?;
    let attn = w.at("self_attn");
    let h = layer_norm(&w.at("layer_norm1"), x, layer.epsilon)?; // (B, S, C)
    let projected = |name: &str| heads(&attn, &linear(&attn.at(name), &h, width)?, layer.heads);
    let q = heads(&attn, &query(&attn, "q_proj", &h, [width, layer.heads])?, layer.heads)?;
    let (k, v) = (projected("k_proj")?, projected("v_proj")?); // (B, heads, S, head)
    let h = linear(&attn.at("out_proj"), &attend(&attn, &q, [&k, &v], bias)?, width)?; // (B, S, C)
    let x = w.add(x, &h)?;
    let h = layer_norm(&w.at("layer_norm2"), &x, layer.epsilon)?;
    let h = linear(&w.at("mlp.fc1"), &h, layer.mlp)?; // (B, S, mlp)
    let h = linear(&w.at("mlp.fc2"), &layer.activation.apply(&w.at("mlp"), &h)?, width)?; // (B, S, C)
    w.add(&x, &h)
}
