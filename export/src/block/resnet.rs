//! Residual blocks: two convolutions and the input added, in the two ways in which Kandinsky has them.

use crate::Result;
use crate::block::{Film, Groups, conv, conv_enlarged, group_norm, group_norm_film, silu};
use crate::graph::{Scope, Value};

/// What a residual block does to the size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// Nothing.
    Keep,
    /// Halves it, by means.
    Halve,
    /// Doubles it, by repeating pixels.
    Double,
}

impl Resample {
    fn apply(self, w: &Scope<'_>, x: &Value) -> Result<Value> {
        match self {
            Self::Keep => Ok(x.clone()),
            Self::Halve => w.halve(x),
            Self::Double => w.enlarge(x, 2),
        }
    }

    /// Applies it, then a convolution of 3 x 3.
    fn conv(self, w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
        match self {
            Self::Double => conv_enlarged(w, x, out),
            other => conv(w, &other.apply(w, x)?, out, 3),
        }
    }

    /// What sides are multiples of afterwards.
    pub const fn sides(self, multiple: usize) -> usize {
        match self {
            Self::Keep => multiple,
            Self::Halve => multiple / 2,
            Self::Double => multiple * 2,
        }
    }
}

/// The UNet's residual block: x (B, in, H, W) to (B, out, H', W'), steered by `film` between its
/// convolutions.
pub fn film_resnet(
    w: &Scope<'_>,
    x: &Value,
    out: usize,
    film: &Film,
    (groups, resample): (Groups, Resample),
) -> Result<Value> {
    let h = silu(w, &group_norm(&w.at("norm1"), x, groups)?)?;
    let w = &w.sides(resample.sides(w.multiple()));
    let h = resample.conv(&w.at("conv1"), &h, out)?; // (B, out, H', W')
    let h = group_norm_film(&w.at("norm2"), &h, film, groups)?;
    let h = conv(&w.at("conv2"), &silu(w, &h)?, out, 3)?; // (B, out, H', W')
    w.add(&shortcut(w, &resample.apply(w, x)?, out)?, &h)
}

/// The autoencoder's residual block: x (B, in, H, W) to (B, out, H, W); `norm` is how it normalises.
pub fn resnet(
    w: &Scope<'_>,
    x: &Value,
    out: usize,
    norm: &dyn Fn(&Scope<'_>, &Value) -> Result<Value>,
) -> Result<Value> {
    let h = silu(w, &norm(&w.at("norm1"), x)?)?;
    let h = conv(&w.at("conv1"), &h, out, 3)?; // (B, out, H, W)
    let h = silu(w, &norm(&w.at("norm2"), &h)?)?;
    let h = conv(&w.at("conv2"), &h, out, 3)?; // (B, out, H, W)
    w.add(&shortcut(w, x, out)?, &h)
}

/// The input, with as many channels as the output.
fn shortcut(w: &Scope<'_>, x: &Value, out: usize) -> Result<Value> {
    if w.channels(x)? == out { Ok(x.clone()) } else { conv(&w.at("conv_shortcut"), x, out, 1) }
}
