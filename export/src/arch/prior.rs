//! The diffusion prior, split where time comes in.
//!
//! Its tokens are the text's, the text embedding, the time, x and the place of the answer, and no token
//! looks at later ones. So the keys and values of the text part ([`prefix`]) hold for all steps, and a
//! [`step`] runs three tokens. The last layer is needed for the answer's token alone.
//! diffusers: `PriorTransformer`.

use crate::Result;
use crate::block::{Activation, attend, causal, heads, layer_norm, linear, padding_bias, query, time_embed};
use crate::config::Prior;
use crate::graph::{Scope, Value};
use kandinsky_models::manifest::Dtype::F32;

/// Epsilon of all layer normalisations (fixed in the reference).
const EPSILON: f32 = 1e-5;
/// Tokens of a step: time, x, answer.
const STEP: usize = 3;

/// A prompt's states, pooled state and mask to keys and values of every layer.
pub fn prefix(w: &Scope<'_>, c: &Prior) -> Result<()> {
    let (text, mask) = text_tokens(w, c, "tokens")?; // (B, S+1, W)
    let square = causal(w, c.tokens + 1, c.tokens + 1)?;
    let length = w.side(&text, 1);
    let zero = w.ints(&[0])?;
    let square = w.slice(&w.slice(&square, &zero, &length, 0)?, &zero, &length, 1)?; // (S+1, S+1)
    let bias = w.add(&text_bias(w, &mask, 1)?, &square)?; // (B, 1, S+1, S+1)
    let (mut x, mut keys, mut values) = (text, Vec::new(), Vec::new());
    for i in 0..c.layers {
        let block = w.at(format!("transformer_blocks.{i}"));
        let h = layer_norm(&block.at("norm1"), &x, EPSILON)?;
        let [k, v] = keys_values(&block, c, &h)?; // (B, heads, S+1, head)
        if i + 1 < c.layers {
            x = rest_of_block(&block, c, [&x, &h], [&k, &v], &bias)?;
        }
        keys.push(k);
        values.push(v);
    }
    for name in ["clip_mean", "clip_std"] {
        w.unread(name, &[1, c.embedding])?;
    }
    w.output("k", &w.concat(&keys.iter().collect::<Vec<_>>(), 1)?, &cache_shape(c))?;
    w.output("v", &w.concat(&values.iter().collect::<Vec<_>>(), 1)?, &cache_shape(c))
}

/// A noisy embedding at a time, and the prefix of its prompt, to the embedding that the network predicts.
pub fn step(w: &Scope<'_>, c: &Prior) -> Result<()> {
    let x = w.input("x", F32, &format!("batch, {}", c.embedding))?;
    let t = w.wide().input("t", F32, "batch")?;
    let k = w.input("k", F32, &cache_shape(c))?;
    let v = w.input("v", F32, &cache_shape(c))?;
    let mask = w.input("mask", F32, "batch, tokens")?;
    let keys = w.split(&k, 1, &vec![c.heads; c.layers])?; // (B, heads, S+1, head) each
    let values = w.split(&v, 1, &vec![c.heads; c.layers])?;
    let mut x = step_tokens(w, c, &x, &t)?; // (B, 3, W)
    let bias = step_bias(w, &mask)?; // (B, 1, 3, S+4)
    for (i, (k, v)) in keys.iter().zip(&values).enumerate() {
        let block = w.at(format!("transformer_blocks.{i}"));
        let h = layer_norm(&block.at("norm1"), &x, EPSILON)?;
        let [step_k, step_v] = keys_values(&block, c, &h)?; // (B, heads, 3, head)
        let k = block.concat(&[k, &step_k], 2)?; // (B, heads, S+4, head)
        let v = block.concat(&[v, &step_v], 2)?;
        x = if i + 1 < c.layers {
            rest_of_block(&block, c, [&x, &h], [&k, &v], &bias)?
        } else {
            let answer = |x: &Value| w.part(x, STEP - 1, STEP, 1); // (B, 1, W)
            let bias = w.part(&bias, STEP - 1, STEP, 2)?; // (B, 1, 1, S+4)
            rest_of_block(&block, c, [&answer(&x)?, &answer(&h)?], [&k, &v], &bias)?
        };
    }
    answer(w, c, &x)
}

/// The whole network at once, all tokens at every step: what the parts are compared with.
pub fn unsplit(w: &Scope<'_>, c: &Prior) -> Result<()> {
    let x = w.input("x", F32, &format!("batch, {}", c.embedding))?;
    let t = w.wide().input("t", F32, "batch")?;
    let (text, mask) = text_tokens(w, c, &c.tokens.to_string())?; // (B, S+1, W)
    let mut x = w.concat(&[&text, &step_tokens(w, c, &x, &t)?], 1)?; // (B, S+4, W)
    let all = c.tokens + Prior::ADDITIONAL;
    let bias = w.add(&text_bias(w, &mask, Prior::ADDITIONAL)?, &causal(w, all, all)?)?; // (B, 1, S+4, S+4)
    for i in 0..c.layers {
        let block = w.at(format!("transformer_blocks.{i}"));
        let h = layer_norm(&block.at("norm1"), &x, EPSILON)?;
        let [k, v] = keys_values(&block, c, &h)?;
        x = rest_of_block(&block, c, [&x, &h], [&k, &v], &bias)?;
    }
    answer(w, c, &w.part(&x, all - 1, all, 1)?)
}

/// Keys and values (B, heads, S, head) of normalised tokens h (B, S, W).
fn keys_values(w: &Scope<'_>, c: &Prior, h: &Value) -> Result<[Value; 2]> {
    let projected = |name: &str| heads(w, &linear(&w.at(name), h, c.width())?, c.heads);
    Ok([projected("attn1.to_k")?, projected("attn1.to_v")?])
}

/// A block after its keys and values: tokens x and their normalised form h (B, Q, W) to tokens (B, Q, W).
fn rest_of_block(
    w: &Scope<'_>,
    c: &Prior,
    [x, h]: [&Value; 2],
    [k, v]: [&Value; 2],
    bias: &Value,
) -> Result<Value> {
    let q = heads(w, &query(w, "attn1.to_q", h, [c.width(), c.heads])?, c.heads)?; // (B, heads, Q, head)
    let h = attend(w, &q, [k, v], Some(bias))?; // (B, Q, W)
    let x = w.add(x, &linear(&w.at("attn1.to_out.0"), &h, c.width())?)?;
    let h = layer_norm(&w.at("norm3"), &x, EPSILON)?;
    let h = linear(&w.at("ff.net.0.proj"), &h, 4 * c.width())?; // (B, Q, 4·W)
    let h = linear(&w.at("ff.net.2"), &Activation::Gelu.apply(&w.at("ff"), &h)?, c.width())?; // (B, Q, W)
    w.add(&x, &h)
}

/// Text tokens and the text embedding with their positions (B, S+1, W), and the mask (B, S).
fn text_tokens(w: &Scope<'_>, c: &Prior, tokens: &str) -> Result<(Value, Value)> {
    let hidden = w.input("hidden", F32, &format!("batch, {tokens}, {}", c.embedding))?;
    let pooled = w.input("pooled", F32, &format!("batch, {}", c.embedding))?;
    let mask = w.input("mask", F32, &format!("batch, {tokens}"))?;
    let hidden = linear(&w.at("encoder_hidden_states_proj"), &hidden, c.width())?; // (B, S, W)
    let pooled = w.unsqueeze(&linear(&w.at("embedding_proj"), &pooled, c.width())?, &[1])?; // (B, 1, W)
    let positions = positions(w, c)?;
    let text = w.slice(&positions, &w.ints(&[0])?, &w.side(&hidden, 1), 1)?; // (1, S, W)
    let hidden = w.add(&hidden, &text)?;
    let pooled = w.add(&pooled, &w.part(&positions, c.tokens, c.tokens + 1, 1)?)?;
    Ok((w.concat(&[&hidden, &pooled], 1)?, mask))
}

/// Time, x and the place of the answer with their positions (B, 3, W).
fn step_tokens(w: &Scope<'_>, c: &Prior, x: &Value, t: &Value) -> Result<Value> {
    let time = time_embed(&w.at("time_embedding"), (t, "batch"), c.width(), c.width())?; // (B, W)
    let batch = w.side(x, 0);
    let x = w.unsqueeze(&linear(&w.at("proj_in"), x, c.width())?, &[1])?; // (B, 1, W)
    let prd = w.tensor("prd_embedding", &[1, 1, c.width()])?;
    let shape = w.concat(&[&batch, &w.ints(&[1, 1])?], 0)?;
    let prd = w.expand(&prd, &shape, vec![None, Some(1), Some(c.width())]); // (B, 1, W)
    let tokens = w.concat(&[&w.unsqueeze(&time, &[1])?, &x, &prd], 1)?; // (B, 3, W)
    let all = c.tokens + Prior::ADDITIONAL;
    w.add(&tokens, &w.part(&positions(w, c)?, all - STEP, all, 1)?)
}

fn positions(w: &Scope<'_>, c: &Prior) -> Result<Value> {
    w.tensor("positional_embedding", &[1, c.tokens + Prior::ADDITIONAL, c.width()])
}

/// Hides padding from everyone, and nothing in the `more` tokens behind the text: (B, 1, 1, S + more).
fn text_bias(w: &Scope<'_>, mask: &Value, more: usize) -> Result<Value> {
    let shape = w.concat(&[&w.side(mask, 0), &w.ints(&[1, 1, 1])?], 0)?;
    let open = w.floats("open", &[1, 1, 1, more], vec![0.0; more])?;
    let open = w.expand(&open, &shape, vec![None, Some(1), Some(1), Some(more)]);
    w.concat(&[&padding_bias(w, mask)?, &open], 3)
}

/// Hides padding and later tokens from the three tokens of a step: (B, 1, 3, S+4).
fn step_bias(w: &Scope<'_>, mask: &Value) -> Result<Value> {
    let batch = w.side(mask, 0);
    let rows = i64::try_from(STEP).map_err(|e| w.wrong(e))?;
    let shape = w.concat(&[&batch, &w.ints(&[1, rows, 1])?], 0)?;
    let padding = padding_bias(w, mask)?; // (B, 1, 1, S)
    let padding = w.expand(&padding, &shape, vec![None, Some(1), Some(STEP), None]); // (B, 1, 3, S)
    let tail = causal(w, STEP, STEP + 1)?; // (3, 4)
    let tail = w.expand(&tail, &shape, vec![None, Some(1), Some(STEP), Some(STEP + 1)]); // (B, 1, 3, 4)
    w.concat(&[&padding, &tail], 3)
}

/// The answer's token (B, 1, W) to the embedding.
fn answer(w: &Scope<'_>, c: &Prior, x: &Value) -> Result<()> {
    let x = layer_norm(&w.at("norm_out"), x, EPSILON)?;
    let x = linear(&w.at("proj_to_clip_embeddings"), &x, c.embedding)?; // (B, 1, D)
    w.output("x0", &w.reshape(&x, &[0, -1])?, &format!("batch, {}", c.embedding))
}

fn cache_shape(c: &Prior) -> String {
    format!("batch, {}, tokens+1, {}", c.layers * c.heads, c.head)
}
