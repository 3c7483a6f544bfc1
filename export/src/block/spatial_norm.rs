//! MoVQ's spatial normalisation: a group normalisation whose gain and shift are pictures of the latent.

use crate::Result;
use crate::block::norm::normalized;
use crate::block::{Groups, conv, group_norm};
use crate::graph::{Scope, Value};
use crate::rewrites::Rewrite;

/// Groups of every spatial normalisation (fixed in the reference, whatever the config says).
pub const GROUPS: usize = 32;
/// Epsilon of every spatial normalisation (fixed in the reference).
const EPSILON: f32 = 1e-6;

/// A latent (B, z, h, w) and how many pixels of the picture at hand lie along one of its pixels.
#[derive(Debug, Clone, Copy)]
pub struct Latent<'a> {
    /// The latent before any convolution.
    pub value: &'a Value,
    /// The picture's side over the latent's.
    pub factor: usize,
}

/// norm(x)·conv_y(z) + conv_b(z) of a picture x (B, C, f·h, f·w). Convolutions of 1 x 1 commute with
/// repeating pixels, so gain and shift are made at the latent's size and then enlarged.
pub fn spatial_norm(w: &Scope<'_>, x: &Value, z: Latent<'_>) -> Result<Value> {
    let (channels, affine) = (w.channels(x)?, w.at("norm_layer"));
    let groups = Groups { count: GROUPS, epsilon: EPSILON };
    if w.target().group_norm {
        let x = group_norm(&affine, x, groups)?;
        let y = conv(&w.at("conv_y"), z.value, channels, 1)?;
        let b = conv(&w.at("conv_b"), z.value, channels, 1)?;
        return w.add(&w.mul(&x, &enlarged(w, &y, z.factor)?)?, &enlarged(w, &b, z.factor)?);
    }
    if !w.has(Rewrite::LatentNorms) {
        let z = enlarged(w, z.value, z.factor)?; // (B, z, f·h, f·w)
        let y = conv(&w.at("conv_y"), &z, channels, 1)?;
        return w
            .add(&w.mul(&group_norm(&affine, x, groups)?, &y)?, &conv(&w.at("conv_b"), &z, channels, 1)?);
    }
    let gain = affine.tensor_as("weight", &[channels], &[channels, 1, 1])?;
    let shift = affine.tensor_as("bias", &[channels], &[channels, 1, 1])?;
    let y = conv(&w.at("conv_y"), z.value, channels, 1)?; // (B, C, h, w)
    let b = conv(&w.at("conv_b"), z.value, channels, 1)?; // (B, C, h, w)
    let b = w.add(&w.mul(&shift, &y)?, &b)?;
    let y = w.mul(&gain, &y)?;
    let x = normalized(w, x, groups)?; // (B, C, f·h, f·w)
    w.add(&w.mul(&x, &enlarged(w, &y, z.factor)?)?, &enlarged(w, &b, z.factor)?)
}

fn enlarged(w: &Scope<'_>, x: &Value, factor: usize) -> Result<Value> {
    if factor == 1 { Ok(x.clone()) } else { w.enlarge(x, factor) }
}
