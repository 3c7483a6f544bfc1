//! Convolutions of 3 x 3 by Winograd's F(4, 3) along the height: four rows of the result from six rows of
//! products instead of twelve (Lavin and Gray, "Fast algorithms for convolutional neural networks").
//!
//! Along the width the kernel stays as it is. Sums of rows are taken before and after, so that rounding grows a
//! few times: f32 bears that, bf16 and f16 do not.

use crate::Result;
use crate::graph::{Scope, Value};
use crate::rewrites::Rewrite;

/// Rows of the result that are computed together.
const ROWS: usize = 4;
/// Rows of products that they need.
const PRODUCTS: usize = 6;
/// Fewer channels than these are too few for the sums to pay.
const CHANNELS: usize = 32;

/// Rows of the picture to what the products are taken of.
const BEFORE: [[f32; PRODUCTS]; PRODUCTS] = [
    [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
    [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
    [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
    [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
    [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
    [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
];
/// Rows of the kernel likewise.
const KERNEL: [[f64; 3]; PRODUCTS] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];
/// Products to rows of the result.
const AFTER: [[f32; PRODUCTS]; ROWS] = [
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
    [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
    [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
];

/// Whether a convolution of 3 x 3 between so many channels is drawn so at this place.
pub fn suits(w: &Scope<'_>, channels: usize, out: usize) -> bool {
    let wide = channels >= CHANNELS && out >= CHANNELS;
    wide && w.multiple().is_multiple_of(ROWS) && w.has(Rewrite::Winograd)
}

/// Pictures (B, in, H, W) to (B, out, H, W); H is a multiple of 4.
pub fn conv_rows(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    let channels = w.known(x, 1)?;
    let number = |n: usize| i64::try_from(n).map_err(|e| w.wrong(e));
    let width = w.side(x, 3);
    let sized = |count: usize| w.concat(&[&w.ints(&[0, number(count)?, -1])?, &width], 0);
    let before = w.root().floats("rows before", &[PRODUCTS, 1, PRODUCTS, 1], BEFORE.concat())?;
    let after = w.root().floats("rows after", &[ROWS, PRODUCTS], AFTER.concat())?;

    let planes = w.reshape(x, &[-1, 1, 0, 0])?; // (B·C, 1, H, W)
    let sums = w.conv_strided(&planes, &before, [4, 1], [1, 0, 1, 0])?; // (B·C, 6, H/4, W)
    let sums = w.reshape(&w.reshape(&sums, &[0, 0, -1])?, &[-1, number(channels * PRODUCTS)?, 0])?;
    let sums = w.reshape(&sums, &[0, number(channels)?, number(PRODUCTS)?, -1])?; // (B, C, 6, H/4·W)
    let sums = w.transpose(&sums, &[0, 2, 1, 3])?; // (B, 6, C, H/4·W)
    let all = Some(PRODUCTS * channels);
    let sums = w.reshape_to(&sums, &sized(PRODUCTS * channels)?, vec![None, all, None, None]);

    let line = || (0..3).map(|i| (0..3).map(|j| if i == j { 1.0 } else { 0.0 }).collect()).collect();
    let pairs = KERNEL.iter().map(|row| [vec![row.to_vec()], line()]).collect();
    let kernel = w.kernels("rows", [out, channels], pairs)?; // (6·O, C, 1, 3)
    let products = w.conv_grouped(&sums, &kernel, PRODUCTS, [0, 1, 0, 1])?; // (B, 6·O, H/4, W)

    let products = w.reshape(&products, &[0, number(PRODUCTS)?, -1])?; // (B, 6, O·H/4·W)
    let rows = w.matmul(&after, &products)?; // (B, 4, O·H/4·W)
    let rows = w.reshape_to(&rows, &sized(ROWS)?, vec![None, Some(ROWS), None, None]);
    let rows = w.transpose(&rows, &[0, 2, 1, 3])?; // (B, O·H/4, 4, W)
    let result = w.reshape_to(&rows, &sized(out)?, vec![None, Some(out), None, None]);
    w.add(&result, &w.tensor_as("bias", &[out], &[out, 1, 1])?)
}
