//! The settings of a request, each spelt once. Everything else that knows a setting is derived from this list: the
//! Rust builder, JSON and its schema, the keys of the C library, the options of the command line, the docs.

mod settle;

use super::declare::settings;
use super::shape::{Shape, Words};
use super::{Field, Setting};
use crate::error::Result;
use crate::guidance::Interval;
use crate::image::Size;
use crate::limits;
use crate::priors::PriorKind;
use crate::profile::Profile;
use crate::request::{ASPECTS, Blend, Input, Part, Start};
use crate::rng::Generator;
use crate::sampler::{Role, SAMPLERS};
use crate::text::Prompt;
use kandinsky_models::Manifest;
use std::path::PathBuf;

const AWAY: &str = "What to move away from";
const CONDITION: &str = "What to condition on";

settings! {
    /// What the picture shows, in English or Russian.
    ///
    /// Several prompts draw `count` pictures each.
    prompt: Vec<String> = vec![String::new()], Shape::Prompts,
        |prompt: impl Into<String>| vec![prompt.into()];

    /// What it shall not show.
    ///
    /// Reaches both stages: the prior (its unconditional half, and an image embedding to move away from) and the
    /// decoder (its unconditional half).
    negative: Option<String> = None, Shape::Text(Prompt::Negative), under AWAY, |text: impl Into<String>| Some(text.into());

    /// The same for the prior alone.
    negative_prior: Option<String> = None, Shape::Text(Prompt::Negative), under AWAY, |text: impl Into<String>| Some(text.into());

    /// The same for the decoder alone.
    negative_decoder: Option<String> = None, Shape::Text(Prompt::Negative), under AWAY, |text: impl Into<String>| Some(text.into());

    /// A picture whose look the decoder moves away from.
    negative_picture: Option<Input> = None, Shape::Picture, under AWAY, |picture: impl Into<Input>| Some(picture.into());

    /// A part of a mix, which conditions the picture instead of the prompt through the prior.
    ///
    /// A part is `[WEIGHT=]TEXT` or `[WEIGHT=]@FILE`; there may be several. The prompt then conditions the UNet
    /// alone.
    mix: Vec<Part> = Vec::new(), Shape::Mix, under CONDITION;

    /// How a mix becomes one.
    ///
    /// Linear is the weighted sum; spherical goes along the sphere from one part to the next.
    blend: Blend = Blend::Linear, Shape::Word(Words::of(|| Blend::ALL.map(Blend::name).into()).switched("spherical")), under CONDITION;

    /// What the latents start from.
    start: Start = Start::Noise, Shape::Start;

    /// Pictures of each prompt.
    ///
    /// The limit is for all prompts together; several are named picture-1.png, picture-2.png, …
    count: usize = 1, Shape::Whole(limits::COUNT), |count: usize| count;

    /// Seed of the first picture; picture i has seed + i.
    ///
    /// It is drawn and reported when it is not given.
    seed: Option<u64> => u64 = None, Shape::Seed, |seed: u64| Some(seed);

    /// A seed for each picture.
    seeds: Vec<u64> = Vec::new(), Shape::Seeds, |seeds: impl IntoIterator<Item = u64>| seeds.into_iter().collect();

    /// Whose generator turns seeds into noise.
    ///
    /// Torch's on the processor, or torch's on a GPU.
    generator: Generator = Generator::TorchCpu, Shape::Word(Words::of(|| Generator::ALL.map(Generator::name).into())),
        |generator: Generator| generator;

    /// Size of the pictures.
    ///
    /// It is the model's own when it is not given.
    size: Option<Size> => Size = None, Shape::Size, |width: usize, height: usize| Some(Size { width, height });

    /// Aspect ratio at the model's own area.
    aspect: Option<String> => Option<String> = None,
        Shape::Word(Words::of(|| ASPECTS.map(|(name, _)| name).into()).named("W:H"));

    /// Keep the size that was computed instead of cropping.
    ///
    /// That size is a multiple of the model's, as diffusers returns it.
    rounded: bool = false, Shape::Switch;

    /// Decoder steps.
    steps: Option<usize> => usize = None, Shape::Whole(limits::STEPS), |steps: usize| Some(steps);

    /// Decoder guidance; 1 and less turns it off.
    guidance: Option<f64> => f64 = None, Shape::Real(limits::GUIDANCE), |guidance: f64| Some(guidance);

    /// The part of the way where the decoder is guided, such as 0.2..0.8.
    ///
    /// The way goes from noise (0) to picture (1). Elsewhere it runs half the rows: faster, and another picture.
    guidance_interval: Interval = Interval::WHOLE, Shape::Interval, |interval: Interval| interval;

    /// Run the UNet's deep levels at every n-th step alone.
    ///
    /// In between the outermost level runs on what they gave last: faster, and another picture. The model has to
    /// be exported --with deep-cache.
    deep_cache: usize = 1, Shape::Whole(limits::DEEP_CACHE), |every: usize| every;

    /// The decoder's sampler.
    ///
    /// Such as ddim or dpmpp_2m_karras; `kandinsky samplers` lists them.
    sampler: Option<String> => String = None, Shape::Word(Words::of(|| samplers(Role::Decoder)).unlisted()),
        |name: impl Into<String>| Some(name.into());

    /// The decoder's timesteps, instead of steps.
    ///
    /// They fall, such as 999,500,1.
    timesteps: Vec<i32> = Vec::new(), Shape::Timesteps, |timesteps: impl IntoIterator<Item = i32>| timesteps.into_iter().collect();

    /// Prior steps.
    prior_steps: Option<usize> => usize = None, Shape::Whole(limits::PRIOR_STEPS), |steps: usize| Some(steps);

    /// Prior guidance; 1 and less turns it off.
    prior_guidance: Option<f64> => f64 = None, Shape::Real(limits::PRIOR_GUIDANCE), |guidance: f64| Some(guidance);

    /// The prior's sampler.
    prior_sampler: Option<String> => String = None, Shape::Word(Words::of(|| samplers(Role::Prior)).unlisted()),
        |name: impl Into<String>| Some(name.into());

    /// Where image embeddings of texts come from.
    ///
    /// The diffusion prior, a fitted one, or none, where the text embedding stands in.
    prior: PriorKind = PriorKind::Diffusion, Shape::Word(Words::of(|| PriorKind::ALL.map(PriorKind::name).into()).named("KIND"));

    /// The file of a fitted prior.
    ///
    /// `kandinsky fit-prior` writes one.
    prior_file: Option<PathBuf> = None, Shape::Path;

    /// Read (word:1.3) in texts as a weight.
    ///
    /// Weights are 0 to 2; a \ before a parenthesis makes it text.
    weighted: bool = false, Shape::Switch, |on: bool| on;

    /// Decode the nearest entries of MoVQ's codebook.
    ///
    /// On is what the paper says it does, off (the default) is what the released code does.
    quantize: bool = false, Shape::Switch, |on: bool| on;

    /// Whose behaviour is reproduced.
    ///
    /// Timesteps, clamps and rounding are diffusers' or the original repository's.
    profile: Profile = Profile::Diffusers, Shape::Word(Words::of(|| Profile::ALL.map(Profile::name).into())),
        |profile: Profile| profile;
}

/// Names of the samplers of a role, in any profile.
fn samplers(role: Role) -> Vec<&'static str> {
    let mut names = Vec::new();
    for entry in SAMPLERS.iter().filter(|entry| entry.role == role) {
        if !names.contains(&entry.name) {
            names.push(entry.name);
        }
    }
    names
}
