//! Linear maps of rows and of pixels.

use crate::Result;
use crate::graph::{Scope, Value};

/// Rows (.., in) to (.., out).
pub fn linear(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let product = linear_no_bias(w, x, out)?;
    w.add(&product, &w.tensor("bias", &[out])?)
}

/// As [`linear`], without a bias.
pub fn linear_no_bias(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let columns = w.known(x, x.dims().len().saturating_sub(1))?;
    w.matmul(x, &w.transposed("weight", [out, columns])?)
}

/// Pictures (B, in, H, W) to (B, out, H, W), by a kernel of k x k pixels and zeros around.
pub fn conv(w: &Scope<'_>, x: &Value, out: usize, k: usize) -> Result<Value> {
    let kernel = w.tensor("weight", &[out, w.known(x, 1)?, k, k])?;
    let pad = i64::try_from(k / 2).map_err(|e| w.wrong(e))?;
    w.conv(&[x, &kernel, &w.tensor("bias", &[out])?], 1, [pad; 4])
}

/// Pictures (B, C, H, W) to (B, C, H/2, W/2), by a kernel of 3 x 3 pixels and zeros at the right and bottom.
pub fn conv_down(w: &Scope<'_>, x: &Value) -> Result<Value> {
    let channels = w.known(x, 1)?;
    let kernel = w.tensor("weight", &[channels, channels, 3, 3])?;
    w.conv(&[x, &kernel, &w.tensor("bias", &[channels])?], 2, [0, 0, 1, 1])
}
