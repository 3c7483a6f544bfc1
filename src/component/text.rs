//! The two text encoders. Prompts are padded to one of a few lengths, so that a runtime which plans
//! for every shape plans rarely; padding changes nothing (`design`: CLIP is causal, XLM-R masks it).

use super::Networks;
use super::prompt_weights::weigh;
use crate::error::{Error, Kind, Result};
use crate::tensor::{Tensor, TensorView, concat_views, repeat, tensor, view_slice};
use crate::text::Tokens;
use kandinsky_models::Component;
use kandinsky_models::manifest::Tokenizer;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// Lengths that prompts are padded to; the longest is the encoders' own.
const LENGTHS: [usize; 3] = [8, 16, 32];

/// CLIP's view of prompts, a row each; what the prior reads.
#[derive(Debug, Clone)]
pub struct ClipText {
    /// States f32\[B,S,D\].
    pub hidden: Tensor,
    /// Projected end-of-text state f32\[B,D\].
    pub pooled: Tensor,
    /// 1 for a real token, 0 for padding: f32\[B,S\].
    pub mask: Tensor,
}

/// XLM-R's view of prompts, a row each; what the UNet reads.
#[derive(Debug, Clone)]
pub struct MultilingualText {
    /// States f32\[B,77,W\], padding included: the UNet attends to it.
    pub hidden: Tensor,
    /// Projected mean f32\[B,D\].
    pub pooled: Tensor,
}

impl MultilingualText {
    /// All rows, `times` over.
    ///
    /// # Errors
    /// When `times` is 0.
    pub fn repeated(&self, times: usize) -> Result<Self> {
        Ok(Self { hidden: repeat(&self.hidden, times)?, pooled: repeat(&self.pooled, times)? })
    }

    /// Joins rows.
    ///
    /// # Errors
    /// When there are none.
    pub fn concat(parts: &[Self]) -> Result<Self> {
        let join =
            |of: fn(&Self) -> TensorView<'_>| concat_views(&parts.iter().map(of).collect::<Vec<_>>(), 0);
        Ok(Self { hidden: join(|part| part.hidden.view())?, pooled: join(|part| part.pooled.view())? })
    }
}

/// Encodes prompts with CLIP. Weights scale the states that the prior reads, which padding is not among; the
/// pooled state is the unweighted text's.
///
/// # Errors
/// As [`Networks::call`].
pub fn clip(networks: &mut Networks, prompts: &[Tokens]) -> Result<ClipText> {
    let settings = networks.folder().manifest().text.clip.clone();
    let longest = prompts.iter().map(|p| p.ids.len()).max();
    let longest = longest.ok_or_else(|| Error::new(Kind::Internal, "no prompt was given"))?;
    let (ids, mask) = padded(prompts, padded_length(longest, &settings), settings.pad)?;
    let [mut hidden, pooled] =
        networks.call_f32(Component::TextEncoder, &[("ids", (&ids).into())], ["hidden", "pooled"])?;
    for (mut states, prompt) in hidden.axis_iter_mut(Axis(0)).zip(prompts) {
        if let Some(weights) = &prompt.weights {
            weigh(states.slice_axis_mut(Axis(0), Slice::from(..weights.len())), weights);
        }
    }
    Ok(ClipText { hidden, pooled, mask })
}

/// Encodes prompts with XLM-R. All padding has one and the same state, so one padded row is computed
/// and repeated up to the encoder's length. Weights scale the states that the UNet reads, padding among
/// them; the pooled state is the unweighted text's.
///
/// # Errors
/// As [`Networks::call`].
pub fn multilingual(networks: &mut Networks, prompts: &[Tokens]) -> Result<MultilingualText> {
    let settings = networks.folder().manifest().text.multilingual.clone();
    let parts: Result<Vec<_>> = prompts.iter().map(|p| multilingual_row(networks, p, &settings)).collect();
    MultilingualText::concat(&parts?)
}

fn multilingual_row(
    networks: &mut Networks,
    prompt: &Tokens,
    settings: &Tokenizer,
) -> Result<MultilingualText> {
    let mut text = unweighted_row(networks, prompt, settings)?;
    if let Some(weights) = &prompt.weights {
        text.hidden.axis_iter_mut(Axis(0)).for_each(|states| weigh(states, weights));
    }
    Ok(text)
}

fn unweighted_row(
    networks: &mut Networks,
    prompt: &Tokens,
    settings: &Tokenizer,
) -> Result<MultilingualText> {
    let real = prompt.ids.len();
    // One more than the prompt, so that there is a padded row to repeat.
    let length = padded_length(real + 1, settings);
    let (ids, mask) = padded(std::slice::from_ref(prompt), length, settings.pad)?;
    let inputs = [("ids", (&ids).into()), ("mask", (&mask).into())];
    let [hidden, pooled] =
        networks.call_f32(Component::MultilingualEncoder, &inputs, ["hidden", "pooled"])?;
    if real >= settings.max_tokens {
        return Ok(MultilingualText { hidden, pooled });
    }
    let padding = view_slice(&hidden.view(), 1, real, real + 1)?; // (1, 1, W)
    let mut tokens = vec![view_slice(&hidden.view(), 1, 0, real)?];
    tokens.extend(std::iter::repeat_n(padding, settings.max_tokens - real));
    Ok(MultilingualText { hidden: concat_views(&tokens, 1)?, pooled }) // (1, 77, W)
}

/// The first of [`LENGTHS`] that holds `tokens`, else the encoder's own length.
fn padded_length(tokens: usize, settings: &Tokenizer) -> usize {
    let fits = |length: &usize| *length >= tokens && *length < settings.max_tokens;
    LENGTHS.into_iter().find(fits).unwrap_or(settings.max_tokens)
}

/// Ids i64\[B,S\] and mask f32\[B,S\] of prompts padded to `length`.
fn padded(prompts: &[Tokens], length: usize, pad: u32) -> Result<(ArrayD<i64>, Tensor)> {
    let mut ids = ArrayD::from_elem(IxDyn(&[prompts.len(), length]), i64::from(pad));
    let mut mask = Tensor::zeros(IxDyn(&[prompts.len(), length]));
    for (row, prompt) in prompts.iter().enumerate() {
        if prompt.ids.len() > length {
            let found = prompt.ids.len();
            let message = format!("a prompt has {found} tokens; the limit is {length}");
            return Err(Error::new(Kind::BadPrompt, message));
        }
        let real = ids.index_axis_mut(Axis(0), row);
        real.into_iter().zip(&prompt.ids).for_each(|(slot, id)| *slot = i64::from(*id));
        let real = mask.index_axis_mut(Axis(0), row);
        real.into_iter().zip(&prompt.ids).for_each(|(slot, _)| *slot = 1.0);
    }
    Ok((ids, mask))
}

/// Mask f32\[1,S\] of a prompt whose states have no padding.
///
/// # Errors
/// Never: a row of ones fills its shape.
pub fn full_mask(tokens: usize) -> Result<Tensor> {
    tensor(&[1, tokens], vec![1.0; tokens])
}
