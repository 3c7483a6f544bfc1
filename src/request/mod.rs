//! What a caller may ask, and how it becomes a [`ResolvedRequest`] whose every number is settled and checked.
//!
//! One request covers every regime of the paper. What conditions the picture ([`Request::mix`], else the
//! prompt through the prior) and what it starts from ([`Start`]) are chosen apart, so whatever makes sense
//! composes: a mix can condition an inpainting, a negative prompt goes with anything.

mod aspect;
mod input;
pub mod json;
pub mod keys;
mod resolved;
mod start;

pub use crate::guidance::Interval;
pub use crate::image::Size;
pub use crate::priors::PriorKind;
pub use crate::profile::Profile;
pub use crate::rng::Generator;
pub use aspect::{ASPECTS, aspect_size};
pub use input::Input;
pub use resolved::ResolvedRequest;
pub use start::{Blend, Frame, Part, Seam, Start, Subject};

use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to draw. What is not set comes from the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// What the pictures show, in English or Russian; `count` pictures of each prompt.
    #[serde(with = "one_or_many")]
    pub prompt: Vec<String>,
    /// What they shall not show: steers the prior and the decoder.
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
    /// What conditions the picture instead of the prompt through the prior; the prompt then conditions the
    /// UNet alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<Part>,
    /// How the parts of the mix become one.
    #[serde(skip_serializing_if = "is_default")]
    pub blend: Blend,
    /// What the latents start from.
    #[serde(skip_serializing_if = "is_default")]
    pub start: Start,
    /// Pictures of each prompt.
    pub count: usize,
    /// Seed of the first picture; picture i has seed + i. Drawn when it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A seed for each picture, instead of `seed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Whose generator turns seeds into noise.
    #[serde(skip_serializing_if = "is_default")]
    pub generator: Generator,
    /// Size of the pictures; excludes `aspect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Aspect ratio by name, at about the model's own area.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect: Option<String>,
    /// Return the size rounded up to the model's multiple, as diffusers does, instead of cropping.
    #[serde(skip_serializing_if = "is_default")]
    pub rounded: bool,
    /// Decoder steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Decoder guidance; 1 and less turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// The decoder's sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// The decoder's timesteps, instead of `steps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timesteps: Vec<i32>,
    /// Prior steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_steps: Option<usize>,
    /// Prior guidance; 1 and less turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_guidance: Option<f64>,
    /// The prior's sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_sampler: Option<String>,
    /// Where the image embedding of a text comes from.
    #[serde(skip_serializing_if = "is_default")]
    pub prior: PriorKind,
    /// The file of a fitted prior, for the kinds `linear` and `residual`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prior_file: Option<PathBuf>,
    /// Read `(word:1.3)` as a weight; texts are otherwise taken as they are.
    #[serde(skip_serializing_if = "is_default")]
    pub weighted: bool,
    /// Decode the nearest entries of MoVQ's codebook, as the paper says, instead of the latents as they are,
    /// as the released code does.
    #[serde(skip_serializing_if = "is_default")]
    pub quantize: bool,
    /// Whose behaviour is reproduced.
    #[serde(skip_serializing_if = "is_default")]
    pub profile: Profile,
    /// The part of the way from noise to picture where the decoder is guided; elsewhere it runs half the rows,
    /// which changes the picture.
    #[serde(skip_serializing_if = "is_default")]
    pub guidance_interval: Interval,
    /// Every how many calls the UNet's deep levels run, 1 being always; in between the outermost level runs on what
    /// they gave last, which changes the picture. The model has to be exported with `deep-cache`.
    #[serde(skip_serializing_if = "is_one")]
    pub deep_cache: usize,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            prompt: vec![String::new()],
            negative: None,
            negative_prior: None,
            negative_decoder: None,
            negative_picture: None,
            mix: Vec::new(),
            blend: Blend::Linear,
            start: Start::Noise,
            count: 1,
            seed: None,
            seeds: Vec::new(),
            generator: Generator::TorchCpu,
            size: None,
            aspect: None,
            rounded: false,
            steps: None,
            guidance: None,
            sampler: None,
            timesteps: Vec::new(),
            prior_steps: None,
            prior_guidance: None,
            prior_sampler: None,
            prior: PriorKind::Diffusion,
            prior_file: None,
            weighted: false,
            quantize: false,
            profile: Profile::Diffusers,
            guidance_interval: Interval::WHOLE,
            deep_cache: 1,
        }
    }
}

/// The regimes.
impl Request {
    /// A picture of `prompt`.
    pub fn text_to_image(prompt: impl Into<String>) -> Self {
        Self { prompt: vec![prompt.into()], ..Self::default() }
    }

    /// A variation of a picture.
    pub fn variation(picture: impl Into<Input>) -> Self {
        Self::mix([Part::picture(picture, 1.0)])
    }

    /// A mix of pictures and texts; a [`Request::prompt`] then conditions the UNet as well.
    pub fn mix(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { mix: parts.into_iter().collect(), ..Self::default() }
    }

    /// Sets the prompt.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = vec![prompt.into()];
        self
    }

    /// Sets several prompts.
    #[must_use]
    pub fn prompts<P: Into<String>>(mut self, prompts: impl IntoIterator<Item = P>) -> Self {
        self.prompt = prompts.into_iter().map(Into::into).collect();
        self
    }

    /// Conditions the picture by a mix instead of the prompt through the prior.
    #[must_use]
    pub fn mixed(mut self, parts: impl IntoIterator<Item = Part>, blend: Blend) -> Self {
        self.mix = parts.into_iter().collect();
        self.blend = blend;
        self
    }

    /// Starts from a picture, noised: image to image. `strength` is above 0 and at most 1.
    #[must_use]
    pub fn edit(mut self, picture: impl Into<Input>, strength: f64) -> Self {
        self.start = Start::Edit { picture: picture.into(), strength };
        self
    }

    /// Paints the white part of `mask` anew.
    #[must_use]
    pub fn inpaint(mut self, picture: impl Into<Input>, mask: impl Into<Input>) -> Self {
        let (picture, mask) = (picture.into(), Some(mask.into()));
        self.start = Start::Inpaint { picture, mask, invert: false, seam: Seam::default() };
        self
    }

    /// Paints the transparent part of the picture.
    #[must_use]
    pub fn inpaint_transparent(mut self, picture: impl Into<Input>) -> Self {
        let picture = picture.into();
        self.start = Start::Inpaint { picture, mask: None, invert: false, seam: Seam::default() };
        self
    }

    /// Paints what lies around a picture.
    #[must_use]
    pub fn outpaint(mut self, picture: impl Into<Input>, frame: Frame) -> Self {
        self.start = Start::Outpaint { picture: picture.into(), frame, seam: Seam::default() };
        self
    }

    /// Sets how an inpainting or outpainting joins the picture.
    #[must_use]
    pub fn seam(mut self, joined: Seam) -> Self {
        if let Start::Inpaint { seam, .. } | Start::Outpaint { seam, .. } = &mut self.start {
            *seam = joined;
        }
        self
    }
}

/// The settings.
impl Request {
    /// Steers away from `text`, in the prior and in the decoder.
    #[must_use]
    pub fn negative(mut self, text: impl Into<String>) -> Self {
        self.negative = Some(text.into());
        self
    }

    /// Steers the prior away from `text`.
    #[must_use]
    pub fn negative_prior(mut self, text: impl Into<String>) -> Self {
        self.negative_prior = Some(text.into());
        self
    }

    /// Steers the decoder away from `text`.
    #[must_use]
    pub fn negative_decoder(mut self, text: impl Into<String>) -> Self {
        self.negative_decoder = Some(text.into());
        self
    }

    /// Steers the decoder away from a picture.
    #[must_use]
    pub fn negative_picture(mut self, picture: impl Into<Input>) -> Self {
        self.negative_picture = Some(picture.into());
        self
    }

    /// Sets the seed of the first picture.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets a seed for each picture.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.seeds = seeds.into_iter().collect();
        self
    }

    /// Sets whose generator turns seeds into noise.
    #[must_use]
    pub fn generator(mut self, generator: Generator) -> Self {
        self.generator = generator;
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

    /// Sets the decoder's timesteps, instead of steps.
    #[must_use]
    pub fn timesteps(mut self, timesteps: impl IntoIterator<Item = i32>) -> Self {
        self.timesteps = timesteps.into_iter().collect();
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

    /// Sets the prior's sampler by name.
    #[must_use]
    pub fn prior_sampler(mut self, name: impl Into<String>) -> Self {
        self.prior_sampler = Some(name.into());
        self
    }

    /// Takes image embeddings of texts from a fitted prior, or from none.
    #[must_use]
    pub fn prior(mut self, kind: PriorKind, file: Option<PathBuf>) -> Self {
        (self.prior, self.prior_file) = (kind, file);
        self
    }

    /// Reads `(word:1.3)` in texts as a weight.
    #[must_use]
    pub fn weighted(mut self, on: bool) -> Self {
        self.weighted = on;
        self
    }

    /// Sets the size in pixels.
    #[must_use]
    pub fn size(mut self, width: usize, height: usize) -> Self {
        self.size = Some(Size { width, height });
        self
    }

    /// Sets how many pictures of each prompt are drawn.
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

    /// Decodes the nearest entries of MoVQ's codebook.
    #[must_use]
    pub fn quantize(mut self, on: bool) -> Self {
        self.quantize = on;
        self
    }

    /// Sets whose behaviour is reproduced.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Guides the decoder in a part of the way from noise to picture alone.
    #[must_use]
    pub fn guidance_interval(mut self, interval: Interval) -> Self {
        self.guidance_interval = interval;
        self
    }

    /// Runs the UNet's deep levels at every `every`-th call alone.
    #[must_use]
    pub const fn deep_cache(mut self, every: usize) -> Self {
        self.deep_cache = every;
        self
    }

    /// The same request with the pixels of every picture that it names.
    ///
    /// # Errors
    /// When a file cannot be used, or holds another picture than the request was made with.
    pub fn loaded(mut self) -> Result<Self> {
        self.inputs_mut().try_for_each(Input::load)?;
        Ok(self)
    }

    /// The same request, where pictures that it names by their hash alone are taken from `pictures`.
    #[must_use]
    pub fn with_pictures(mut self, pictures: &[Input]) -> Self {
        for input in self.inputs_mut().filter(|input| input.is_missing()) {
            if let Some(held) = pictures.iter().rfind(|held| held.sha256() == input.sha256()) {
                *input = held.clone();
            }
        }
        self
    }

    fn inputs_mut(&mut self) -> impl Iterator<Item = &mut Input> {
        let parts = self.mix.iter_mut().filter_map(|part| match &mut part.what {
            Subject::Picture(picture) => Some(picture),
            Subject::Text(_) => None,
        });
        parts.chain(&mut self.negative_picture).chain(self.start.inputs_mut())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One text as itself, several as a list.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }

    pub fn serialize<S: Serializer>(texts: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match texts {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        })
    }
}
