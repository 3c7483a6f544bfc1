//! The diffusion prior, split where time comes in: the prompt's part once, then three tokens a step.

use super::Networks;
use super::text::ClipText;
use crate::error::Result;
use crate::tensor::{Tensor, concat, repeat, rows, slice};
use kandinsky_models::Component;
use ndarray::IxDyn;

/// Keys and values of every layer over the prompt, a row a prompt.
#[derive(Debug, Clone)]
pub struct Prefix {
    /// Keys f32\[B,L·heads,S+1,head\].
    pub k: Tensor,
    /// Values f32\[B,L·heads,S+1,head\].
    pub v: Tensor,
    /// 1 for a real token, 0 for padding: f32\[B,S\].
    pub mask: Tensor,
}

impl Prefix {
    /// Rows `start..end`.
    ///
    /// # Errors
    /// When there are fewer rows.
    pub fn rows(&self, start: usize, end: usize) -> Result<Self> {
        Ok(Self {
            k: rows(&self.k, start, end)?,
            v: rows(&self.v, start, end)?,
            mask: rows(&self.mask, start, end)?,
        })
    }
}

impl Prefix {
    /// The same prompts with `tokens` text tokens: masked zeros between the text and the
    /// text-embedding token, which is the last.
    ///
    /// # Errors
    /// When the prompts are longer already.
    pub fn padded(&self, tokens: usize) -> Result<Self> {
        let text = self.mask.shape().last().copied().unwrap_or(0);
        if text == tokens {
            return Ok(self.clone());
        }
        let pad = |kv: &Tensor| {
            let mut shape = kv.shape().to_vec();
            if let Some(length) = shape.get_mut(2) {
                *length = tokens.saturating_sub(text);
            }
            concat(&[slice(kv, 2, 0, text)?, Tensor::zeros(IxDyn(&shape)), slice(kv, 2, text, text + 1)?], 2)
        };
        let rows = self.mask.shape().first().copied().unwrap_or(0);
        let masked = Tensor::zeros(IxDyn(&[rows, tokens.saturating_sub(text)]));
        Ok(Self { k: pad(&self.k)?, v: pad(&self.v)?, mask: concat(&[self.mask.clone(), masked], 1)? })
    }
}

impl Prefix {
    /// All rows, `times` over.
    ///
    /// # Errors
    /// When `times` is 0.
    pub fn repeated(&self, times: usize) -> Result<Self> {
        let (k, v) = (repeat(&self.k, times)?, repeat(&self.v, times)?);
        Ok(Self { k, v, mask: repeat(&self.mask, times)? })
    }

    /// These rows, then those of `other`, padded to one length.
    ///
    /// # Errors
    /// When they are of different models.
    pub fn joined(&self, other: &Self) -> Result<Self> {
        let text = |p: &Self| p.mask.shape().last().copied().unwrap_or(0);
        let tokens = text(self).max(text(other));
        let (a, b) = (self.padded(tokens)?, other.padded(tokens)?);
        let mask = concat(&[a.mask, b.mask], 0)?;
        Ok(Self { k: concat(&[a.k, b.k], 0)?, v: concat(&[a.v, b.v], 0)?, mask })
    }
}

/// What the prior needs of the prompts, once a request.
///
/// # Errors
/// As [`Networks::call`].
pub fn prefix(networks: &mut Networks, text: &ClipText) -> Result<Prefix> {
    let inputs = [
        ("hidden", text.hidden.clone().into()),
        ("pooled", text.pooled.clone().into()),
        ("mask", text.mask.clone().into()),
    ];
    let [k, v] = networks.call_f32(Component::PriorPrefix, &inputs, ["k", "v"])?;
    Ok(Prefix { k, v, mask: text.mask.clone() })
}

/// The prior's prediction x0 f32\[B,D\] for x f32\[B,D\] at time t f32\[B\].
///
/// # Errors
/// As [`Networks::call`].
pub fn step(networks: &mut Networks, x: Tensor, t: Tensor, prefix: &Prefix) -> Result<Tensor> {
    let inputs = [
        ("x", x.into()),
        ("t", t.into()),
        ("k", prefix.k.clone().into()),
        ("v", prefix.v.clone().into()),
        ("mask", prefix.mask.clone().into()),
    ];
    let [x0] = networks.call_f32(Component::PriorStep, &inputs, ["x0"])?;
    Ok(x0)
}
