//! Activations.

use crate::Result;
use crate::graph::{Scope, Value};

/// The activation between the two layers of a perceptron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x), by the error function.
    Gelu,
    /// x·sigmoid(1.702 x), as OpenAI's CLIP has it.
    QuickGelu,
}

impl Activation {
    /// Applies it.
    pub fn apply(self, w: &Scope<'_>, x: &Value) -> Result<Value> {
        match self {
            Self::Gelu => gelu(w, x),
            Self::QuickGelu if w.target().contrib.is_some() => Ok(w.quick_gelu(x, 1.702)),
            Self::QuickGelu => {
                let gate = w.sigmoid(&w.mul(x, &w.scalar(1.702)?)?);
                w.mul(x, &gate)
            }
        }
    }
}

/// x·sigmoid(x).
pub fn silu(w: &Scope<'_>, x: &Value) -> Result<Value> {
    if w.target().contrib.is_some() {
        return Ok(w.quick_gelu(x, 1.0));
    }
    w.mul(x, &w.sigmoid(x))
}

fn gelu(w: &Scope<'_>, x: &Value) -> Result<Value> {
    let erf = w.erf(&w.div(x, &w.scalar(std::f32::consts::SQRT_2)?)?);
    let gate = w.add(&erf, &w.scalar(1.0)?)?;
    w.mul(&w.mul(x, &gate)?, &w.scalar(0.5)?)
}
