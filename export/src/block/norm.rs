//! Normalisations.
//!
//! Group normalisation is drawn as instance normalisation of the groups: the operator of that name is
//! slower on ONNX Runtime's CPU and unknown to other runtimes. GPUs have it, and compute it in f32.

use crate::Result;
use crate::graph::{Scope, Value};
use crate::rewrites::Rewrite;

/// Scale and shift of a residual block's channels, a picture of one pixel each.
#[derive(Debug, Clone)]
pub struct Film {
    /// Added to 1, then multiplied; the whole factor behind the bare norm where it is folded.
    pub scale: Value,
    /// Added.
    pub shift: Value,
}

/// Groups and epsilon of the group normalisations of a network.
#[derive(Debug, Clone, Copy)]
pub struct Groups {
    /// How many groups the channels make.
    pub count: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Layer normalisation of rows (.., C).
pub fn layer_norm(w: &Scope<'_>, x: &Value, epsilon: f32) -> Result<Value> {
    let width = w.known(x, x.dims().len().saturating_sub(1))?;
    let f = if w.target().wide_layer_norm { w.wide() } else { w.clone() };
    let (gain, shift) = (f.tensor("weight", &[width])?, f.tensor("bias", &[width])?);
    Ok(w.in_place(&f.layer_normalization(&f.in_place(x), &gain, &shift, epsilon)))
}

/// Group normalisation of pictures.
pub fn group_norm(w: &Scope<'_>, x: &Value, groups: Groups) -> Result<Value> {
    if w.target().group_norm {
        return native(w, x, groups);
    }
    let channels = w.known(x, 1)?;
    let gain = w.tensor_as("weight", &[channels], &[channels, 1, 1])?;
    let shift = w.tensor_as("bias", &[channels], &[channels, 1, 1])?;
    w.add(&w.mul(&normalized(w, x, groups)?, &gain)?, &shift)
}

/// Group normalisation as GPUs have it: one operator, in f32 inside.
fn native(w: &Scope<'_>, x: &Value, groups: Groups) -> Result<Value> {
    if w.channels_last() {
        return w.group_norm_last(x, groups.count, groups.epsilon);
    }
    let (f, channels) = (w.wide(), w.channels(x)?);
    let (gain, shift) = (f.tensor("weight", &[channels])?, f.tensor("bias", &[channels])?);
    Ok(w.in_place(&f.group_normalization(&f.in_place(x), [&gain, &shift], groups.count, groups.epsilon)?))
}

/// Group normalisation, then a scale and shift of each channel of each row: norm(x)·(1 + scale) + shift.
/// The two gains are joined while they are small (B, C, 1, 1), so that pictures are passed over once; or they come
/// joined.
pub fn group_norm_film(w: &Scope<'_>, x: &Value, film: &Film, groups: Groups) -> Result<Value> {
    if w.target().group_norm {
        let scale = w.add(&film.scale, &w.scalar(1.0)?)?; // a pixel
        return w.add(&w.mul(&native(w, x, groups)?, &scale)?, &film.shift);
    }
    if w.has(Rewrite::FoldFilm) {
        return w.add(&w.mul(&normalized(w, x, groups)?, &film.scale)?, &film.shift);
    }
    let channels = w.known(x, 1)?;
    let gain = w.tensor_as("weight", &[channels], &[channels, 1, 1])?;
    let bias = w.tensor_as("bias", &[channels], &[channels, 1, 1])?;
    let scale = w.add(&film.scale, &w.scalar(1.0)?)?; // (B, C, 1, 1)
    let shift = w.add(&w.mul(&bias, &scale)?, &film.shift)?; // (B, C, 1, 1)
    let x = normalized(w, x, groups)?; // (B, C, H, W)
    w.add(&w.mul(&x, &w.mul(&gain, &scale)?)?, &shift)
}

/// Each group of channels minus its mean over its deviation.
pub(super) fn normalized(w: &Scope<'_>, x: &Value, groups: Groups) -> Result<Value> {
    let count = i64::try_from(groups.count).map_err(|e| w.wrong(e))?;
    let h = w.reshape(x, &[0, count, -1])?; // (B, groups, C/groups·H·W)
    let h = w.instance_norm(&h, &w.filled(1.0, groups.count)?, &w.filled(0.0, groups.count)?, groups.epsilon);
    Ok(w.reshape_like(&h, x)) // (B, C, H, W)
}
