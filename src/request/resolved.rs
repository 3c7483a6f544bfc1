//! A request with every number settled.

use super::{Blend, Frame, Input, Part, Profile, Request, Size, Start, Subject, aspect_size};
use crate::error::{Error, Kind, Result};
use crate::guidance::Interval;
use crate::limits;
use crate::priors::PriorKind;
use crate::rng::Generator;
use crate::sampler::{self, Role};
use crate::text::Prompt;
use kandinsky_models::{Component, KANDINSKY_2_1, Manifest};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A request with every number settled and checked: equal requests draw equal pictures. Its JSON is a request's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolvedRequest {
    /// What the pictures show; `count` pictures of each prompt.
    #[serde(with = "super::one_or_many")]
    pub prompt: Vec<String>,
    /// What they shall not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Steers the prior alone, instead of `negative`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prior: Option<String>,
    /// Steers the decoder alone, instead of `negative`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_decoder: Option<String>,
    /// A picture to steer the decoder away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_picture: Option<Input>,
    /// What conditions the pictures instead of the prompt through the prior.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<Part>,
    /// How the parts of the mix become one.
    #[serde(skip_serializing_if = "super::is_default")]
    pub blend: Blend,
    /// What the latents start from.
    #[serde(skip_serializing_if = "super::is_default")]
    pub start: Start,
    /// Pictures of each prompt.
    pub count: usize,
    /// Seed of the first picture.
    pub seed: u64,
    /// A seed for each picture, where `seed` and the next are not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Whose generator turns seeds into noise.
    #[serde(skip_serializing_if = "super::is_default")]
    pub generator: Generator,
    /// Size of the pictures.
    pub size: Size,
    /// Whether the size is rounded up instead of cropped.
    #[serde(skip_serializing_if = "super::is_default")]
    pub rounded: bool,
    /// Decoder steps.
    pub steps: usize,
    /// Decoder guidance.
    pub guidance: f64,
    /// The decoder's sampler.
    pub sampler: String,
    /// The decoder's timesteps, instead of `steps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timesteps: Vec<i32>,
    /// Prior steps.
    pub prior_steps: usize,
    /// Prior guidance.
    pub prior_guidance: f64,
    /// The prior's sampler.
    pub prior_sampler: String,
    /// Where the image embedding of a text comes from.
    #[serde(skip_serializing_if = "super::is_default")]
    pub prior: PriorKind,
    /// The file of a fitted prior.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_file: Option<PathBuf>,
    /// Whether texts are in the notation of prompt weights.
    #[serde(skip_serializing_if = "super::is_default")]
    pub weighted: bool,
    /// Whether MoVQ quantises before it decodes.
    #[serde(skip_serializing_if = "super::is_default")]
    pub quantize: bool,
    /// Whose behaviour is reproduced.
    #[serde(skip_serializing_if = "super::is_default")]
    pub profile: Profile,
    /// Where the decoder is guided.
    #[serde(skip_serializing_if = "super::is_default")]
    pub guidance_interval: Interval,
    /// Every how many calls the UNet's deep levels run.
    #[serde(skip_serializing_if = "super::is_one")]
    pub deep_cache: usize,
}

/// The prior's own sampler.
const PRIOR_SAMPLER: &str = KANDINSKY_2_1.samplers.prior;
/// The sampler of the profile `original` where none is asked for: the original repository's default.
const ORIGINAL_SAMPLER: &str = KANDINSKY_2_1.samplers.original;

impl Request {
    /// Settles every number with the model's defaults and checks it. Pictures must have been
    /// [`Request::loaded`].
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names the value and the limit.
    pub fn resolve(&self, model: &Manifest) -> Result<ResolvedRequest> {
        let defaults = &model.defaults;
        let seed = self.seeds.first().copied().or(self.seed).unwrap_or_else(drawn_seed);
        let resolved = ResolvedRequest {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            negative_prior: self.negative_prior.clone(),
            negative_decoder: self.negative_decoder.clone(),
            negative_picture: self.negative_picture.clone(),
            mix: self.mix.clone(),
            blend: self.blend,
            start: self.start.clone(),
            count: self.count,
            seed,
            seeds: self.seeds.clone(),
            generator: self.generator,
            size: self.settled_size(model)?,
            rounded: self.rounded,
            steps: self.settled_steps(model),
            guidance: self.guidance.unwrap_or(defaults.guidance),
            sampler: self.settled_sampler(model),
            timesteps: self.timesteps.clone(),
            prior_steps: self.settled_prior_steps(model),
            prior_guidance: self.prior_guidance.unwrap_or(defaults.prior_guidance),
            prior_sampler: self.settled_prior_sampler().to_owned(),
            prior: self.prior,
            prior_file: self.prior_file.clone(),
            weighted: self.weighted,
            quantize: self.quantize,
            profile: self.profile,
            guidance_interval: self.guidance_interval,
            deep_cache: self.deep_cache,
        };
        self.check_exclusions()?;
        resolved.check_numbers()?;
        resolved.check_mix()?;
        resolved.check_start()?;
        resolved.check_deep_cache(model)?;
        Ok(resolved)
    }

    fn settled_sampler(&self, model: &Manifest) -> String {
        let default = match self.profile {
            Profile::Diffusers => &model.defaults.sampler,
            Profile::Original => ORIGINAL_SAMPLER,
        };
        self.sampler.as_deref().unwrap_or(default).to_owned()
    }

    /// The steps asked for; else the model's for its own sampler, and those of the study for others.
    fn settled_steps(&self, model: &Manifest) -> usize {
        if !self.timesteps.is_empty() {
            return self.timesteps.len();
        }
        let sampler = self.settled_sampler(model);
        let own = self.profile == Profile::Diffusers && sampler == model.defaults.sampler;
        let studied = || sampler::default_steps(&sampler, Role::Decoder, self.profile);
        self.steps.or_else(|| if own { None } else { studied() }).unwrap_or(model.defaults.steps)
    }

    fn settled_prior_sampler(&self) -> &str {
        self.prior_sampler.as_deref().unwrap_or(PRIOR_SAMPLER)
    }

    fn settled_prior_steps(&self, model: &Manifest) -> usize {
        let own = self.settled_prior_sampler() == PRIOR_SAMPLER;
        let studied = || sampler::default_steps(self.settled_prior_sampler(), Role::Prior, self.profile);
        self.prior_steps.or_else(|| if own { None } else { studied() }).unwrap_or(model.defaults.prior_steps)
    }

    fn check_exclusions(&self) -> Result<()> {
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
            (self.steps.is_some() && !self.timesteps.is_empty(), "a number of steps and a list of timesteps"),
        ];
        match both.iter().find(|(both, _)| *both) {
            Some((_, what)) => Err(bad(format!("{what} exclude each other"))),
            None => Ok(()),
        }
    }

    /// The size asked for, else that of the picture that it starts from, else the model's.
    fn settled_size(&self, model: &Manifest) -> Result<Size> {
        let own = Size { width: model.defaults.width, height: model.defaults.height };
        if let Start::Outpaint { picture, frame, .. } = &self.start {
            let framed = frame.size(picture.size()?)?;
            return match (self.size.unwrap_or(framed) == framed, &self.aspect) {
                (true, None) => Ok(framed),
                _ => Err(bad(format!("the size of an outpainting is its frame's, here {framed}"))),
            };
        }
        match (self.size, &self.aspect, self.start.picture()) {
            (Some(size), _, _) => Ok(size),
            (None, Some(name), _) => {
                aspect_size(name, own.width * own.height, model.latent.factor * model.latent.multiple)
            }
            (None, None, Some(picture)) => picture.size(),
            (None, None, None) => Ok(own),
        }
    }
}

impl Frame {
    /// The size of what is drawn around a picture.
    fn size(self, picture: Size) -> Result<Size> {
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
        limits::STEPS.check(self.steps)?;
        limits::PRIOR_STEPS.check(self.prior_steps)?;
        limits::COUNT.check(self.count)?;
        limits::DEEP_CACHE.check(self.deep_cache)?;
        limits::GUIDANCE.check(self.guidance)?;
        limits::PRIOR_GUIDANCE.check(self.prior_guidance)?;
        limits::check_size(self.size.width, self.size.height)?;
        if self.prompt.is_empty() {
            return Err(bad("no prompt was given; the empty one is \"\"".to_owned()));
        }
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
        limits::MIX_PARTS.check(self.mix.len())?;
        self.mix.iter().try_for_each(|part| limits::MIX_WEIGHT.check(part.weight))?;
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
            Start::Noise => Ok(()),
            Start::Edit { strength, .. } => {
                limits::STRENGTH.check(*strength)?;
                if *strength <= 0.0 || !self.timesteps.is_empty() {
                    let message = if *strength <= 0.0 {
                        "strength is 0; it is above 0 and at most 1"
                    } else {
                        "image to image takes a strength and no list of timesteps"
                    };
                    return Err(bad(message.to_owned()));
                }
                Ok(())
            }
            Start::Inpaint { seam, .. } | Start::Outpaint { seam, .. } => limits::FEATHER.check(seam.feather),
        }
    }
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadRequest, message)
}

/// A seed that people can retype: 32 bits from the process's random hash keys and the clock.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) & 0xffff_ffff
}
