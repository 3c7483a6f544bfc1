//! Attention, decomposed: scale on the queries, product, mask, softmax, product.

use crate::Result;
use crate::block::norm::normalized;
use crate::block::{Groups, group_norm, linear, linear_folded};
use crate::graph::{Folded, Scope, Value};
use crate::rewrites::Rewrite;

/// What is added where a token must not look: its weight becomes exactly 0 after the softmax. Kandinsky's
/// prior adds this number.
const HIDDEN: f32 = -10_000.0;

/// Rows (B, S, heads·N) by head: (B, heads, S, N).
pub fn heads(w: &Scope<'_>, x: &Value, heads: usize) -> Result<Value> {
    let count = i64::try_from(heads).map_err(|e| w.wrong(e))?;
    w.transpose(&w.reshape(x, &[0, 0, count, -1])?, &[0, 2, 1, 3])
}

/// What queries of so many channels a head are multiplied by.
fn scale(w: &Scope<'_>, head: usize) -> Result<f32> {
    Ok(f32::from(u16::try_from(head).map_err(|e| w.wrong(e))?).sqrt().recip())
}

/// Queries (B, S, heads·N) of rows (B, S, C) by the map `part`, for [`attend`].
pub fn query(w: &Scope<'_>, part: &str, x: &Value, [width, heads]: [usize; 2]) -> Result<Value> {
    if !w.has(Rewrite::FoldScale) {
        return linear(&w.at(part), x, width);
    }
    let scale = scale(w, width / heads.max(1))?.into();
    linear_folded(w, part, x, width, Folded { norm: None, scale })
}

/// Attention of queries (B, heads, Q, N) to keys and values (B, heads, K, N): (B, Q, heads·N). `bias`
/// broadcasts to (B, heads, Q, K).
pub fn attend(w: &Scope<'_>, q: &Value, [k, v]: [&Value; 2], bias: Option<&Value>) -> Result<Value> {
    let q =
        if w.has(Rewrite::FoldScale) { q.clone() } else { w.mul(q, &w.scalar(scale(w, w.known(q, 3)?)?)?)? };
    let mut scores = w.matmul(&q, &w.transpose(k, &[0, 1, 3, 2])?)?; // (B, heads, Q, K)
    if let Some(bias) = bias {
        scores = w.add(&scores, bias)?;
    }
    let mixed = w.matmul(&w.softmax(&scores), v)?; // (B, heads, Q, N)
    w.reshape(&w.transpose(&mixed, &[0, 2, 1, 3])?, &[0, 0, -1]) // (B, Q, heads·N)
}

/// As [`attend`], for pixels. One head over all channels sums so many products that f16 may overflow: its
/// scores are f32.
fn attend_pixels(w: &Scope<'_>, q: &Value, [k, v]: [&Value; 2], one_head: bool) -> Result<Value> {
    let f = if one_head { w.wide() } else { w.clone() };
    let [q, k, v] = [q, k, v].map(|x| f.in_place(x));
    Ok(w.in_place(&attend(&f, &q, [&k, &v], None)?))
}

/// As [`attend_pixels`], in CUDA's own operator: rows (B, H·W, C), behind those of a context
/// (B, heads, K, head).
fn fused(
    w: &Scope<'_>,
    q: &Value,
    [mut k, mut v]: [Value; 2],
    heads: usize,
    context: Option<[&Value; 2]>,
) -> Result<Value> {
    let rows = |x: &Value| w.reshape(&w.transpose(x, &[0, 2, 1, 3])?, &[0, 0, -1]); // (B, K, C)
    if let Some([context_k, context_v]) = context {
        k = w.concat(&[&rows(context_k)?, &k], 1)?; // (B, K + H·W, C)
        v = w.concat(&[&rows(context_v)?, &v], 1)?;
    }
    w.multi_head_attention(q, [&k, &v], heads)
}

/// Attention of the pixels of a picture to each other and to a context's keys and values
/// (B, heads, K, head), with the picture added. `norm` is what comes before; heads have `head`
/// channels.
pub fn spatial_attention(
    w: &Scope<'_>,
    x: &Value,
    head: usize,
    context: Option<[&Value; 2]>,
    norm: Norm<'_>,
) -> Result<Value> {
    let (channels, count) = (w.channels(x)?, w.channels(x)? / head);
    let (h, folded) = norm.apply(w, x)?;
    let h = w.flatten_hw(&h)?; // (B, H·W, C)
    let projected = |name: &str| match folded {
        Some(norm) => linear_folded(w, name, &h, channels, Folded { norm: Some(norm), scale: 1.0 }),
        None => linear(&w.at(name), &h, channels),
    };
    let q = match folded {
        Some(norm) if w.has(Rewrite::FoldScale) => {
            let scale = scale(w, head)?.into();
            linear_folded(w, "to_q", &h, channels, Folded { norm: Some(norm), scale })?
        }
        Some(_) => projected("to_q")?,
        None => query(w, "to_q", &h, [channels, count])?,
    };
    let [k, v] = [projected("to_k")?, projected("to_v")?]; // (B, H·W, C)
    let h = if w.target().contrib.is_some() && count > 1 {
        fused(w, &q, [k, v], count, context)?
    } else {
        by_head(w, [&q, &k, &v], count, context)?
    };
    w.add(&w.unflatten_hw(&linear(&w.at("to_out.0"), &h, channels)?, x)?, x)
}

fn by_head(
    w: &Scope<'_>,
    [q, k, v]: [&Value; 3],
    count: usize,
    context: Option<[&Value; 2]>,
) -> Result<Value> {
    let q = heads(w, q, count)?; // (B, heads, H·W, head)
    let (mut k, mut v) = (heads(w, k, count)?, heads(w, v, count)?);
    if let Some([context_k, context_v]) = context {
        k = w.concat(&[context_k, &k], 2)?; // (B, heads, K + H·W, head)
        v = w.concat(&[context_v, &v], 2)?;
    }
    attend_pixels(w, &q, [&k, &v], count == 1)
}

/// The first step of [`spatial_attention`].
#[derive(Clone, Copy)]
pub enum Norm<'a> {
    /// A group normalisation, `group_norm`.
    Group(Groups),
    /// Another one.
    Other(&'a dyn Fn(&Scope<'_>, &Value) -> Result<Value>),
}

impl Norm<'_> {
    /// The normalised picture, and the place of the norm where its gain and shift are left to the maps behind it.
    fn apply(self, w: &Scope<'_>, x: &Value) -> Result<(Value, Option<&'static str>)> {
        const PLACE: &str = "group_norm";
        match self {
            Self::Group(groups) if w.has(Rewrite::FoldNorms) => Ok((normalized(w, x, groups)?, Some(PLACE))),
            Self::Group(groups) => Ok((group_norm(&w.at(PLACE), x, groups)?, None)),
            Self::Other(norm) => Ok((norm(w, x)?, None)),
        }
    }
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
