//! What a caller may ask, and how it becomes a [`Job`] whose every number is settled and checked.

use crate::error::{Error, Kind, Result};
use crate::limits;
use kandinsky_models::Manifest;
use serde::{Deserialize, Serialize};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl std::str::FromStr for Size {
    type Err = Error;

    /// Reads `WIDTHxHEIGHT`, such as `512x768`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::new(Kind::BadRequest, format!("{text:?} is not a size; write 512x768"));
        let (width, height) = text.split_once(['x', 'X', '×']).ok_or_else(bad)?;
        let side = |s: &str| s.trim().parse().map_err(|_| bad());
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

/// Named aspect ratios (width to height) of the paper's editor.
pub const ASPECTS: [(&str, (usize, usize)); 5] =
    [("1:1", (1, 1)), ("2:3", (2, 3)), ("3:2", (3, 2)), ("9:16", (9, 16)), ("16:9", (16, 9))];

/// The size of about the model's own area with a named aspect ratio, in multiples of `multiple` pixels.
///
/// # Errors
/// When the name is not in [`ASPECTS`].
pub fn aspect_size(name: &str, area: usize, multiple: usize) -> Result<Size> {
    let Some((_, (w, h))) = ASPECTS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = ASPECTS.iter().map(|(name, _)| *name).collect();
        let message = format!("the aspect ratio {name:?} is unknown; {} are known", known.join(", "));
        return Err(Error::new(Kind::BadRequest, message));
    };
    let multiple = multiple.max(1);
    // Integer square root: width² = area·w/h, so both sides come out within half a multiple.
    let side = |num: usize, den: usize| {
        let exact = (area * num / den).isqrt();
        (exact + multiple / 2).div_euclid(multiple).max(1) * multiple
    };
    Ok(Size { width: side(*w, *h), height: side(*h, *w) })
}

/// What to draw. What is not set comes from the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// What the picture shows, in English or Russian.
    pub prompt: String,
    /// What it shall not show: steers the prior and the decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Seed of the first picture; picture i has seed + i. Drawn when it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Decoder steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Decoder guidance; 1 and less turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Prior steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_steps: Option<usize>,
    /// Prior guidance; 1 and less turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_guidance: Option<f64>,
    /// Size of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Aspect ratio by name, at about the model's own area; excludes `size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect: Option<String>,
    /// Pictures to draw.
    pub count: usize,
    /// The decoder's sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Return the size rounded up to the model's multiple, as diffusers does, instead of cropping.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rounded: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative: None,
            seed: None,
            steps: None,
            guidance: None,
            prior_steps: None,
            prior_guidance: None,
            size: None,
            aspect: None,
            count: 1,
            sampler: None,
            rounded: false,
        }
    }
}

impl Request {
    /// A picture of `prompt`.
    pub fn text_to_image(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// Steers away from `text`, in the prior and in the decoder.
    #[must_use]
    pub fn negative(mut self, text: impl Into<String>) -> Self {
        self.negative = Some(text.into());
        self
    }

    /// Sets the seed of the first picture.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the decoder's steps.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Sets the decoder's guidance.
    #[must_use]
    pub fn guidance(mut self, guidance: f64) -> Self {
        self.guidance = Some(guidance);
        self
    }

    /// Sets the prior's steps.
    #[must_use]
    pub fn prior_steps(mut self, steps: usize) -> Self {
        self.prior_steps = Some(steps);
        self
    }

    /// Sets the prior's guidance.
    #[must_use]
    pub fn prior_guidance(mut self, guidance: f64) -> Self {
        self.prior_guidance = Some(guidance);
        self
    }

    /// Sets the size in pixels.
    #[must_use]
    pub fn size(mut self, width: usize, height: usize) -> Self {
        self.size = Some(Size { width, height });
        self
    }

    /// Sets how many pictures are drawn.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Sets the decoder's sampler by name.
    #[must_use]
    pub fn sampler(mut self, name: impl Into<String>) -> Self {
        self.sampler = Some(name.into());
        self
    }

    /// Settles every number with the model's defaults and checks it.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names the value and the limit.
    pub fn resolve(&self, model: &Manifest) -> Result<Job> {
        let defaults = &model.defaults;
        let guidance = self.guidance.unwrap_or(defaults.guidance);
        let prior_guidance = self.prior_guidance.unwrap_or(defaults.prior_guidance);
        let job = Job {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            seed: self.seed.unwrap_or_else(drawn_seed),
            steps: self.steps.unwrap_or(defaults.steps),
            guidance,
            prior_steps: self.prior_steps.unwrap_or(defaults.prior_steps),
            prior_guidance,
            size: self.settled_size(model)?,
            count: self.count,
            sampler: self.sampler.clone().unwrap_or_else(|| defaults.sampler.clone()),
            rounded: self.rounded,
        };
        limits::STEPS.check(job.steps)?;
        limits::PRIOR_STEPS.check(job.prior_steps)?;
        limits::COUNT.check(job.count)?;
        limits::GUIDANCE.check(guidance)?;
        limits::PRIOR_GUIDANCE.check(prior_guidance)?;
        limits::check_size(job.size.width, job.size.height)?;
        Ok(job)
    }

    fn settled_size(&self, model: &Manifest) -> Result<Size> {
        let own = Size { width: model.defaults.width, height: model.defaults.height };
        match (self.size, &self.aspect) {
            (Some(_), Some(_)) => {
                Err(Error::new(Kind::BadRequest, "a size and an aspect ratio exclude each other"))
            }
            (Some(size), None) => Ok(size),
            (None, Some(name)) => {
                aspect_size(name, own.width * own.height, model.latent.factor * model.latent.multiple)
            }
            (None, None) => Ok(own),
        }
    }
}

/// A request with every number settled: equal jobs draw equal pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What the picture shows.
    pub prompt: String,
    /// What it shall not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<String>,
    /// Seed of the first picture.
    pub seed: u64,
    /// Decoder steps.
    pub steps: usize,
    /// Decoder guidance.
    pub guidance: f64,
    /// Prior steps.
    pub prior_steps: usize,
    /// Prior guidance.
    pub prior_guidance: f64,
    /// Size of the picture.
    pub size: Size,
    /// Pictures to draw.
    pub count: usize,
    /// The decoder's sampler.
    pub sampler: String,
    /// Whether the size is rounded up instead of cropped.
    pub rounded: bool,
}

impl Job {
    /// The same job for picture `index` alone.
    #[must_use]
    pub fn picture(&self, index: u64) -> Self {
        Self { seed: self.seed.wrapping_add(index), count: 1, ..self.clone() }
    }
}

/// A seed that people can retype: 32 bits from the process's random hash keys and the clock.
fn drawn_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) & 0xffff_ffff
}
