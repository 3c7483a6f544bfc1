//! A request with every number settled.

use super::settings::SETTINGS;
use super::{Blend, Frame, Part, Request, ResolvedRequest, Size, Start, Subject};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::text::Prompt;
use kandinsky_models::{Component, Manifest};

impl Request {
    /// Settles every number with the model's defaults and checks it. Pictures must have been
    /// [`Request::loaded`].
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names the value and the limit.
    pub fn resolve(&self, model: &Manifest) -> Result<ResolvedRequest> {
        self.check()?;
        let resolved = self.settle(model)?;
        resolved.check_numbers()?;
        resolved.check_mix()?;
        resolved.check_start()?;
        resolved.check_deep_cache(model)?;
        Ok(resolved)
    }

    /// A settled request has both, and they agree.
    fn has_steps_beside_timesteps(&self) -> bool {
        let given = self.timesteps.len();
        given > 0 && self.steps.is_some_and(|steps| steps != given)
    }

    pub(super) fn check_exclusions(&self) -> Result<()> {
        if self.prior.is_fitted() != self.prior_file.is_some() {
            let message = match self.prior_file {
                None => format!("the {} prior needs the file of a fitted one", self.prior),
                Some(_) => {
                    format!("the {} prior is in no file; name the kind that the file holds", self.prior)
                }
            };
            return Err(bad(message));
        }
        let both = [
            (self.size.is_some() && self.aspect.is_some(), "a size and an aspect ratio"),
            (self.seed.is_some() && !self.seeds.is_empty(), "a seed and a list of seeds"),
            (self.has_steps_beside_timesteps(), "a number of steps and a list of timesteps"),
        ];
        match both.iter().find(|(both, _)| *both) {
            Some((_, what)) => Err(bad(format!("{what} exclude each other"))),
            None => Ok(()),
        }
    }
}

impl Frame {
    /// The size of what is drawn around a picture.
    pub(super) fn size(self, picture: Size) -> Result<Size> {
        match self {
            Self::Window { size, .. } => Ok(size),
            Self::Extend { left, top, right, bottom } => {
                let sum =
                    |side: usize, more: [usize; 2]| more.iter().try_fold(side, |sum, n| sum.checked_add(*n));
                let sides = sum(picture.width, [left, right]).zip(sum(picture.height, [top, bottom]));
                let (width, height) =
                    sides.ok_or_else(|| bad("the frame is too large to count".to_owned()))?;
                Ok(Size { width, height })
            }
        }
    }
}

impl ResolvedRequest {
    /// Pictures in all.
    pub fn pictures(&self) -> usize {
        self.prompt.len().saturating_mul(self.count)
    }

    /// The seed of picture `index`.
    pub fn seed_of(&self, index: usize) -> u64 {
        let next = || self.seed.wrapping_add(u64::try_from(index).unwrap_or(u64::MAX));
        self.seeds.get(index).copied().unwrap_or_else(next)
    }

    /// The prompt of picture `index`.
    pub fn prompt_of(&self, index: usize) -> &str {
        let prompt = index.checked_div(self.count).and_then(|prompt| self.prompt.get(prompt));
        prompt.map_or("", String::as_str)
    }

    /// The same request for picture `index` alone.
    #[must_use]
    pub fn picture(&self, index: usize) -> Self {
        let prompt = vec![self.prompt_of(index).to_owned()];
        Self { prompt, seed: self.seed_of(index), seeds: Vec::new(), count: 1, ..self.clone() }
    }

    /// What the prior is steered away from.
    pub fn prior_negative(&self) -> Option<&str> {
        self.negative_prior.as_deref().or(self.negative.as_deref())
    }

    /// What the decoder is steered away from.
    pub fn decoder_negative(&self) -> &str {
        self.negative_decoder.as_deref().or(self.negative.as_deref()).unwrap_or("")
    }

    /// Every text that an encoder will read.
    pub fn texts(&self) -> Vec<(Prompt, &str)> {
        let prompts = self.prompt.iter().map(|text| (Prompt::Prompt, text.as_str()));
        let negatives = [&self.negative, &self.negative_prior, &self.negative_decoder].into_iter().flatten();
        let mixed = self.mix.iter().filter_map(|part| part.what.text());
        let negatives = negatives.map(|text| (Prompt::Negative, text.as_str()));
        prompts.chain(negatives).chain(mixed.map(|text| (Prompt::Mix, text))).collect()
    }

    /// Its regime by the paper's name.
    pub fn regime(&self) -> &'static str {
        match (&self.start, self.mix.as_slice()) {
            (Start::Edit { .. }, _) => "image to image",
            (Start::Inpaint { .. }, _) => "inpainting",
            (Start::Outpaint { .. }, _) => "outpainting",
            (Start::Noise, []) => "text to image",
            (Start::Noise, [Part { what: Subject::Picture(_), .. }]) if self.has_no_prompt() => "variation",
            (Start::Noise, _) if self.has_no_prompt() => "fusion",
            (Start::Noise, _) => "text and image fusion",
        }
    }

    fn has_no_prompt(&self) -> bool {
        self.prompt.iter().all(String::is_empty)
    }

    fn check_numbers(&self) -> Result<()> {
        // What the model fills in is checked as what a caller asks for.
        let settled = self.to_request();
        SETTINGS.iter().try_for_each(|setting| setting.check(&settled))?;
        let (pictures, most) = (self.pictures(), limits::COUNT.max);
        if pictures > most {
            return Err(bad(format!("{pictures} pictures were asked for; the limit is {most} a request")));
        }
        if !self.seeds.is_empty() && self.seeds.len() != pictures {
            return Err(bad(format!("{} seeds were given for {pictures} pictures", self.seeds.len())));
        }
        Ok(())
    }

    fn check_deep_cache(&self, model: &Manifest) -> Result<()> {
        if self.deep_cache == 1 || model.components.contains_key(Component::UnetShallow.name()) {
            return Ok(());
        }
        let (every, name) = (self.deep_cache, &model.name);
        Err(bad(format!(
            "deep_cache is {every}, and the model {name} was exported without --with deep-cache"
        )))
    }

    fn check_mix(&self) -> Result<()> {
        if self.mix.is_empty() {
            return Ok(());
        }
        let sum: f64 = self.mix.iter().map(|part| part.weight).sum();
        if sum.abs() < limits::LEAST_MIX {
            return Err(bad(format!("the weights of the mix sum to {sum}, which leaves nothing to draw")));
        }
        if self.blend == Blend::Spherical
            && let Some(part) = self.mix.iter().find(|part| part.weight < 0.0)
        {
            return Err(bad(format!(
                "a spherical mix has the weight {}; it takes none below 0",
                part.weight
            )));
        }
        Ok(())
    }

    fn check_start(&self) -> Result<()> {
        match &self.start {
            Start::Edit { .. } if !self.timesteps.is_empty() => {
                Err(bad("image to image takes a strength and no list of timesteps".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadRequest, message)
}
