//! The diffusion prior, split where time comes in: the prompt's part once, then three tokens a step.

use super::Networks;
use super::text::ClipText;
use crate::error::{Error, Kind, Result};
use crate::tensor::{Tensor, concat, concat_views, repeat, side, view_slice};
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
    /// Tokens of text, padding among them.
    fn tokens(&self) -> Result<usize> {
        side(self.mask.shape(), 1)
    }

    /// The same prompts with `tokens` text tokens: masked zeros between the text and the
    /// text-embedding token, which is the last.
    ///
    /// # Errors
    /// When the prompts are longer already.
    pub fn padded(&self, tokens: usize) -> Result<Self> {
        let text = self.tokens()?;
        if text == tokens {
            return Ok(self.clone());
        }
        let longer = || {
            let message = format!("prompts of {text} tokens were to be padded to {tokens}");
            Error::new(Kind::Internal, message)
        };
        let missing = tokens.checked_sub(text).ok_or_else(longer)?;
        let pad = |kv: &Tensor| {
            let (rows, heads, width) = (side(kv.shape(), 0)?, side(kv.shape(), 1)?, side(kv.shape(), 3)?);
            let zeros = Tensor::zeros(IxDyn(&[rows, heads, missing, width]));
            let kv = kv.view();
            concat_views(
                &[view_slice(&kv, 2, 0, text)?, zeros.view(), view_slice(&kv, 2, text, text + 1)?],
                2,
            )
        };
        let masked = Tensor::zeros(IxDyn(&[side(self.mask.shape(), 0)?, missing]));
        let mask = concat_views(&[self.mask.view(), masked.view()], 1)?;
        Ok(Self { k: pad(&self.k)?, v: pad(&self.v)?, mask })
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
        let tokens = self.tokens()?.max(other.tokens()?);
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
    let inputs =
        [("hidden", (&text.hidden).into()), ("pooled", (&text.pooled).into()), ("mask", (&text.mask).into())];
    let [k, v] = networks.call_f32(Component::PriorPrefix, &inputs, ["k", "v"])?;
    Ok(Prefix { k, v, mask: text.mask.clone() })
}

/// The prior's prediction x0 f32\[B,D\] for x f32\[B,D\] at time t f32\[B\].
///
/// # Errors
/// As [`Networks::call`].
pub fn step(networks: &mut Networks, x: &Tensor, t: &Tensor, prefix: &Prefix) -> Result<Tensor> {
    let inputs = [
        ("x", x.into()),
        ("t", t.into()),
        ("k", (&prefix.k).into()),
        ("v", (&prefix.v).into()),
        ("mask", (&prefix.mask).into()),
    ];
    let [x0] = networks.call_f32(Component::PriorStep, &inputs, ["x0"])?;
    Ok(x0)
}
