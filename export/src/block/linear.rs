//! Linear maps of rows and of pixels.

use crate::Result;
use crate::block::winograd;
use crate::graph::{Folded, Scope, Value};

/// Rows (.., in) to (.., out).
pub fn linear(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let bias = w.tensor("bias", &[out])?;
    if w.target().transposed_gemm {
        return rows(w, x, out, Some(&bias));
    }
    w.add(&linear_no_bias(w, x, out)?, &bias)
}

/// As [`linear`], without a bias.
pub fn linear_no_bias(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    if w.target().transposed_gemm {
        return rows(w, x, out, None);
    }
    w.matmul(x, &w.transposed("weight", [out, last(w, x)?])?)
}

/// Rows by the weights (out, in) as the checkpoint stores them, in a product that takes them so: every runtime reads them
/// where they lie. With their sides exchanged in the graph ONNX Runtime copies all of them as it opens it; exchanged in the
/// file OpenVINO keeps a second copy.
fn rows(w: &Scope<'_>, x: &Value, out: usize, bias: Option<&Value>) -> Result<Value> {
    let columns = last(w, x)?;
    let weight = w.tensor("weight", &[out, columns])?;
    let side = |n: usize| i64::try_from(n).map_err(|e| w.wrong(e));
    if x.dims().len() == 2 {
        return w.gemm_transposed(x, &weight, bias);
    }
    let product = w.gemm_transposed(&w.reshape(x, &[-1, side(columns)?])?, &weight, bias)?; // (.., out)
    let outer = x.dims().len() - 1;
    let mut dims = x.dims().get(..outer).unwrap_or_default().to_vec();
    let sides = w.concat(&[&w.first_sides(x, outer)?, &w.ints(&[side(out)?])?], 0)?;
    dims.push(Some(out));
    Ok(w.reshape_to(&product, &sides, dims))
}

fn last(w: &Scope<'_>, x: &Value) -> Result<usize> {
    w.known(x, x.dims().len().saturating_sub(1))
}

/// As [`linear`], by the weights `part` below this place with something folded in.
pub fn linear_folded(w: &Scope<'_>, part: &str, x: &Value, out: usize, folded: Folded<'_>) -> Result<Value> {
    let columns = last(w, x)?;
    let [weight, bias] = w.folded(part, [out, columns], folded)?;
    let w = w.at(part);
    w.add(&w.matmul(x, &weight)?, &bias)
}

/// Pictures of `in` channels to pictures of `out` channels, by a kernel of k x k pixels and zeros around.
pub fn conv(w: &Scope<'_>, x: &Value, out: usize, k: usize) -> Result<Value> {
    if k == 3 && winograd::suits(w, w.channels(x)?, out) {
        return winograd::conv_rows(w, x, out);
    }
    let pad = i64::try_from(k / 2).map_err(|e| w.wrong(e))?;
    convolved(w, x, (out, k), 1, [pad; 4])
}

/// Pictures to pictures of half the sides, by a kernel of 3 x 3 pixels and zeros at the right and bottom.
pub fn conv_down(w: &Scope<'_>, x: &Value) -> Result<Value> {
    convolved(w, x, (w.channels(x)?, 3), 2, [0, 0, 1, 1])
}

fn convolved(
    w: &Scope<'_>,
    x: &Value,
    (out, k): (usize, usize),
    stride: i64,
    pads: [i64; 4],
) -> Result<Value> {
    if w.channels_last() {
        return w.conv_last(x, out, k, stride, pads);
    }
    let kernel = w.tensor("weight", &[out, w.known(x, 1)?, k, k])?;
    w.conv(&[x, &kernel, &w.tensor("bias", &[out])?], stride, pads)
}
