//! Attention, decomposed: scale on the queries, product, mask, softmax, product.

use crate::Result;
use crate::block::{Groups, group_norm, linear};
use crate::graph::{Scope, Value};

/// What is added where a token must not look: its weight becomes exactly 0 after the softmax. Kandinsky's
/// prior adds this number.
const HIDDEN: f32 = -10_000.0;

/// Rows (B, S, heads·N) by head: (B, heads, S, N).
pub fn heads(w: &Scope<'_>, x: &Value, heads: usize) -> Result<Value> {
    let count = i64::try_from(heads).map_err(|e| w.wrong(e))?;
    w.transpose(&w.reshape(x, &[0, 0, count, -1])?, &[0, 2, 1, 3])
}

/// Attention of queries (B, heads, Q, N) to keys and values (B, heads, K, N): (B, Q, heads·N). `bias`
/// broadcasts to (B, heads, Q, K).
pub fn attend(w: &Scope<'_>, q: &Value, [k, v]: [&Value; 2], bias: Option<&Value>) -> Result<Value> {
    let head = u16::try_from(w.known(q, 3)?).map_err(|e| w.wrong(e))?;
    let q = w.mul(q, &w.scalar(f32::from(head).sqrt().recip())?)?;
    let mut scores = w.matmul(&q, &w.transpose(k, &[0, 1, 3, 2])?)?; // (B, heads, Q, K)
    if let Some(bias) = bias {
        scores = w.add(&scores, bias)?;
    }
    let mixed = w.matmul(&w.softmax(&scores), v)?; // (B, heads, Q, N)
    w.reshape(&w.transpose(&mixed, &[0, 2, 1, 3])?, &[0, 0, -1]) // (B, Q, heads·N)
}

/// Attention of the pixels of a picture (B, C, H, W) to each other and to a context's keys and values
/// (B, heads, K, head), with the picture added. `normalize` is what comes before; heads have `head`
/// channels.
pub fn spatial_attention(
    w: &Scope<'_>,
    x: &Value,
    head: usize,
    context: Option<[&Value; 2]>,
    normalize: impl FnOnce(&Scope<'_>, &Value) -> Result<Value>,
) -> Result<Value> {
    let channels = w.known(x, 1)?;
    let h = w.reshape(&normalize(w, x)?, &[0, 0, -1])?; // (B, C, H·W)
    let h = w.transpose(&h, &[0, 2, 1])?; // (B, H·W, C)
    let projected = |name: &str| heads(w, &linear(&w.at(name), &h, channels)?, channels / head);
    let q = projected("to_q")?; // (B, heads, H·W, head)
    let (mut k, mut v) = (projected("to_k")?, projected("to_v")?);
    if let Some([context_k, context_v]) = context {
        k = w.concat(&[context_k, &k], 2)?; // (B, heads, K + H·W, head)
        v = w.concat(&[context_v, &v], 2)?;
    }
    let h = linear(&w.at("to_out.0"), &attend(w, &q, [&k, &v], None)?, channels)?; // (B, H·W, C)
    let h = w.reshape_like(&w.transpose(&h, &[0, 2, 1])?, x); // (B, C, H, W)
    w.add(&h, x)
}

/// Group normalisation as the first step of [`spatial_attention`].
pub fn attention_norm(groups: Groups) -> impl FnOnce(&Scope<'_>, &Value) -> Result<Value> {
    move |w, x| group_norm(&w.at("group_norm"), x, groups)
}

/// Hides later tokens from earlier ones: the last `rows` rows of a square of `tokens`, (rows, tokens).
pub fn causal(w: &Scope<'_>, rows: usize, tokens: usize) -> Result<Value> {
    let first = tokens.saturating_sub(rows);
    let row = |i: usize| (0..tokens).map(move |j| if j > i { HIDDEN } else { 0.0 });
    w.floats("causal", &[rows, tokens], (first..tokens).flat_map(row).collect())
}

/// Hides padding: a mask (B, S) of 1 for real tokens to (B, 1, 1, S).
pub fn padding_bias(w: &Scope<'_>, mask: &Value) -> Result<Value> {
    let bias = w.mul(&w.sub(&w.scalar(1.0)?, mask)?, &w.scalar(HIDDEN)?)?; // (B, S)
    w.unsqueeze(&bias, &[1, 2])
}
