//! Linear maps of rows and of pixels.

use crate::Result;
use crate::block::winograd;
use crate::graph::{Folded, Scope, Value};
use kandinsky_models::manifest::Target;

/// Rows (.., in) to (.., out).
pub fn linear(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let product = linear_no_bias(w, x, out)?;
    w.add(&product, &w.tensor("bias", &[out])?)
}

/// As [`linear`], without a bias.
pub fn linear_no_bias(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let columns = w.known(x, x.dims().len().saturating_sub(1))?;
    w.matmul(x, &columns_by_rows(w, out, columns)?)
}

/// The weights (in, out) of rows. Portable graphs store them as the checkpoint does and exchange their sides where
/// they are read: OpenVINO packs such weights as they lie, and would keep a second copy of any others.
fn columns_by_rows(w: &Scope<'_>, out: usize, columns: usize) -> Result<Value> {
    if w.target() == Target::Portable {
        return w.transpose(&w.tensor("weight", &[out, columns])?, &[1, 0]);
    }
    w.transposed("weight", [out, columns])
}

/// As [`linear`], by the weights `part` below this place with something folded in.
pub fn linear_folded(w: &Scope<'_>, part: &str, x: &Value, out: usize, folded: Folded<'_>) -> Result<Value> {
    let columns = w.known(x, x.dims().len().saturating_sub(1))?;
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
