//! Image embeddings of texts by the diffusion prior (paper, section 3; diffusers `KandinskyPriorPipeline`, whose
//! `interpolate` is what a mix does).

use super::RunContext;
use super::text_prior::TextPrior;
use super::texts::PriorTexts;
use crate::component::prior::Prefix;
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::progress::Observer;
use crate::sampler::{Denoiser, Noise, Sampler, Step};
use crate::stage::prior::{self, PriorRun, PriorText};
use crate::tensor::{Tensor, rows};
use ndarray::IxDyn;
use std::ops::Range;

/// The diffusion prior for the pictures of a part.
pub struct Diffusion<'a, 't, 'w> {
    /// The graphs.
    pub cx: &'a mut RunContext<'t>,
    /// What it reads.
    pub texts: &'a PriorTexts,
    /// The sampler.
    pub sampler: &'a dyn Sampler,
    /// Guidance.
    pub guidance: Guidance,
    /// Where noise comes from.
    pub noise: &'a mut dyn Noise,
    /// Progress.
    pub observer: &'a mut Observer<'w>,
    /// Whether a mix has a negative prompt.
    pub mix_has_negative: bool,
}

impl TextPrior for Diffusion<'_, '_, '_> {
    fn of_prompts(&mut self, part: &Range<usize>) -> Result<(Tensor, Option<Tensor>)> {
        self.draw(&self.texts.prompts(part)?)
    }

    fn of_mixed(&mut self, index: usize, count: usize) -> Result<Tensor> {
        let text = self.texts.mixed.get(index).ok_or_else(lost)?;
        self.draw(&text.repeated(count)?).map(|(embed, _)| embed)
    }

    /// As in the reference, the negative prompt goes through the prior last; where there is none, the noise that
    /// this would take is drawn all the same, so that a seed draws the reference's picture.
    fn of_mix_negative(&mut self, like: &Tensor) -> Result<Option<Tensor>> {
        let count = like.shape().first().copied().unwrap_or(0);
        let Some(text) = &self.texts.mix_negative else {
            return self.pass_over(like).map(|()| None);
        };
        let (positive, negative) = self.draw(&text.repeated(count)?)?;
        Ok(if self.mix_has_negative { Some(positive) } else { negative })
    }
}

impl Diffusion<'_, '_, '_> {
    /// Embeddings f32\[B,D\] of prompts, and, where the prior is steered away from a text, of that text: it then
    /// runs in the same batch, as the reference has it.
    fn draw(&mut self, prompts: &Prefix) -> Result<(Tensor, Option<Tensor>)> {
        let count = prompts.mask.shape().first().copied().unwrap_or(0);
        let text = match &self.texts.negative {
            None => {
                let empty = self.texts.empty.as_ref().ok_or_else(lost)?;
                PriorText { prompts: prompts.clone(), unconditional: empty.repeated(count)? }
            }
            Some(negative) => PriorText {
                prompts: prompts.joined(&negative.repeated(count)?)?,
                unconditional: negative.repeated(2 * count)?,
            },
        };
        let (sampler, guidance, noise) = (self.sampler, self.guidance, &mut *self.noise);
        let run = PriorRun { sampler, guidance, noise, start: None };
        let drawn = prior::sample(self.cx.networks, &text, self.cx.constants, run, self.observer)?;
        match self.texts.negative {
            None => Ok((drawn, None)),
            Some(_) => Ok((rows(&drawn, 0, count)?, Some(rows(&drawn, count, 2 * count)?))),
        }
    }

    /// Draws the noise of a run of the prior and runs nothing.
    fn pass_over(&mut self, like: &Tensor) -> Result<()> {
        let x = self.noise.draw(like.shape())?;
        self.sampler.sample(&mut Silent, x, self.noise).map(drop)
    }
}

/// A network that predicts nothing, for whom only the noise is drawn.
struct Silent;

impl Denoiser for Silent {
    fn predict(&mut self, x: &Tensor, _step: &Step) -> Result<Tensor> {
        Ok(Tensor::zeros(IxDyn(x.shape())))
    }

    fn done(&mut self, _step: &Step, _x: &Tensor, _x0: &Tensor) -> Result<()> {
        Ok(())
    }
}

fn lost() -> Error {
    Error::new(Kind::Internal, "a text that the prior reads was not encoded")
}
