//! Normalisations.
//!
//! Group normalisation is drawn as instance normalisation of the groups: the operator of that name is
//! slower on ONNX Runtime's CPU and unknown to other runtimes.

use crate::Result;
use crate::block::{Film, Groups};
use crate::graph::{Scope, Value};

/// Layer normalisation of rows (.., C).
pub fn layer_norm(w: &Scope<'_>, x: &Value, epsilon: f32) -> Result<Value> {
    let width = w.known(x, x.dims().len().saturating_sub(1))?;
    Ok(w.layer_normalization(x, &w.tensor("weight", &[width])?, &w.tensor("bias", &[width])?, epsilon))
}

/// Group normalisation of pictures (B, C, H, W).
pub fn group_norm(w: &Scope<'_>, x: &Value, groups: Groups) -> Result<Value> {
    let channels = w.known(x, 1)?;
    let gain = w.tensor_as("weight", &[channels], &[channels, 1, 1])?;
    let shift = w.tensor_as("bias", &[channels], &[channels, 1, 1])?;
    w.add(&w.mul(&normalized(w, x, groups)?, &gain)?, &shift)
}

/// Group normalisation, then a scale and shift of each channel of each row: norm(x)·(1 + scale) + shift.
/// The two gains are joined while they are small (B, C, 1, 1), so that pictures are passed over once.
pub fn group_norm_film(w: &Scope<'_>, x: &Value, film: &Film, groups: Groups) -> Result<Value> {
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
