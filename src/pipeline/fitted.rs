//! Image embeddings of texts without diffusion (paper, Table 3): by a fitted prior, or by none.

use super::RunContext;
use super::text_prior::TextPrior;
use crate::error::{Error, Kind, Result};
use crate::progress::{Observer, Stage};
use crate::request::ResolvedRequest;
use crate::stage::fitted_prior;
use crate::tensor::{Tensor, repeat};
use std::ops::Range;

/// A fitted prior, or none, for the pictures of a part.
pub struct Fitted<'a, 't, 'w> {
    /// The graphs.
    pub cx: &'a mut RunContext<'t>,
    /// The request.
    pub resolved: &'a ResolvedRequest,
    /// Progress.
    pub observer: &'a mut Observer<'w>,
}

impl TextPrior for Fitted<'_, '_, '_> {
    fn of_prompts(&mut self, part: &Range<usize>) -> Result<(Tensor, Option<Tensor>)> {
        let prompts: Vec<&str> = part.clone().map(|picture| self.resolved.prompt_of(picture)).collect();
        let positive = self.of(&prompts)?;
        let negative = self.resolved.prior_negative().map(|text| self.of(&[text])).transpose()?;
        let negative = negative.map(|one| repeat(&one, part.len())).transpose()?;
        Ok((positive, negative))
    }

    fn of_mixed(&mut self, index: usize, count: usize) -> Result<Tensor> {
        let mut texts = self.resolved.mix.iter().filter_map(|part| part.what.text());
        let lost = || Error::new(Kind::Internal, "a text of the mix is missing");
        let embed = self.of(&[texts.nth(index).ok_or_else(lost)?])?;
        repeat(&embed, count)
    }

    fn of_mix_negative(&mut self, like: &Tensor) -> Result<Option<Tensor>> {
        let count = like.shape().first().copied().unwrap_or(0);
        let negative = self.resolved.negative.as_deref().filter(|text| !text.is_empty());
        negative.map(|text| repeat(&self.of(&[text])?, count)).transpose()
    }
}

impl Fitted<'_, '_, '_> {
    fn of(&mut self, texts: &[&str]) -> Result<Tensor> {
        let (networks, encoder) = (&mut *self.cx.networks, &self.cx.encoder);
        let embeds = match self.cx.prior {
            Some(prior) => fitted_prior::embeds(networks, encoder, prior, texts)?,
            None => fitted_prior::text_embeds(networks, encoder, texts)?,
        };
        self.observer.step(Stage::Prior, 1, 1)?;
        Ok(embeds)
    }
}
