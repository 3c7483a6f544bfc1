//! Twice the size by repeating pixels, then a convolution of 3 x 3.
//!
//! Of the pixels that such a kernel sees, two rows and two columns are the same: every second pixel of every
//! second row is a convolution of 2 x 2 of the smaller picture, 4 products instead of 9.

use crate::Result;
use crate::block::conv;
use crate::graph::{Scope, Value};
use crate::rewrites::Rewrite;

/// Pictures (B, in, H, W) to (B, out, 2·H, 2·W).
pub fn conv_enlarged(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    if !w.has(Rewrite::SplitUpsampling) {
        return conv(w, &w.enlarge(x, 2)?, out, 3);
    }
    let (channels, bias) = (w.known(x, 1)?, w.tensor("bias", &[out])?);
    let mut phases = Vec::new();
    for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let pair = [seen(row), seen(column)];
        let kernel = w.kernels(&format!("phase{row}{column}"), [out, channels], vec![pair])?;
        phases.push(w.conv(&[x, &kernel, &bias], 1, [1 - row, 1 - column, row, column])?); // (B, out, H, W)
    }
    w.interleave(&w.concat(&phases.iter().collect::<Vec<_>>(), 1)?)
}

/// Which of three taps fall on each of two pixels: those of an even row see the one before and their own.
fn seen(phase: i64) -> Vec<Vec<f64>> {
    if phase == 0 {
        vec![vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 1.0]]
    } else {
        vec![vec![1.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]]
    }
}
