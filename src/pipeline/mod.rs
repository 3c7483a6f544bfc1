//! The regimes of the paper, all one way: texts to embeddings, to an image embedding, to latents, to pixels.
//!
//! They differ in two things alone: where the image embedding comes from ([`embeds`]: the prior, a mix of
//! pictures and texts) and what the latents start from ([`start`]: noise, a picture, a picture with a hole).
//! Any of the one goes with any of the other.

mod diffusion;
pub mod embeds;
mod fitted;
pub mod memory_estimate;
pub mod start;
mod text_prior;
mod texts;

use crate::component::Networks;
use crate::component::text::MultilingualText;
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::guidance::{Guidance, Interval};
use crate::image::{Picture, Size};
use crate::priors::FittedPrior;
use crate::profile::Profile;
use crate::progress::{Batch, Observer, Stage};
use crate::request::ResolvedRequest;
use crate::sampler::{self, Choice, Role, Steps};
use crate::schedule::SchedulerConfig;
use crate::stage::decode::{self, Decode};
use crate::stage::denoise::{self, Condition, DenoiseRun};
use crate::stage::encode::Encoder;
use crate::stage::noise::PictureNoise;
use crate::stage::preview::Previewer;
use crate::tensor::{Tensor, concat};
use crate::timing::Timings;
use embeds::Embeds;
use kandinsky_models::KANDINSKY_2_1;
use kandinsky_models::manifest::Latent;
use start::Begin;
use std::ops::Range;
use std::time::Instant;
use texts::Texts;

/// Latent numbers a side of a batch: what one call of the UNet may hold of pictures (a 512x512 one).
const BATCH_AREA: usize = 64 * 64;

/// What a regime works with.
pub struct RunContext<'a> {
    /// The graphs.
    pub networks: &'a mut Networks,
    /// Tokenisers and the constant encodings.
    pub encoder: Encoder<'a>,
    /// The model's constants.
    pub constants: &'a Constants,
    /// The fitted prior, for requests that use one.
    pub prior: Option<&'a FittedPrior>,
    /// How long stages took.
    pub timings: &'a mut Timings,
    /// How many graphs the request opens, where they are opened at their turn and not before the first stage.
    pub sequential: Option<usize>,
}

impl RunContext<'_> {
    /// Runs `work` and adds its time to a stage.
    fn timed<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (begin, before) = (Instant::now(), self.networks.load_time());
        let done = work(self);
        let loading = self.networks.load_time().saturating_sub(before);
        if !loading.is_zero() {
            self.timings.add(Stage::Load, loading);
        }
        self.timings.add(stage, begin.elapsed().saturating_sub(loading));
        done.map_err(|error| error.in_stage(stage.name()))
    }

    /// Opens what a stage begins with, where not all graphs were opened before the first, and tells of it.
    fn enter(&mut self, stage: Stage, observer: &mut Observer<'_>) -> Result<()> {
        let Some(total) = self.sequential else { return Ok(()) };
        let before = self.networks.load_time();
        let done = self.networks.open_stage(stage)?;
        self.timings.add(Stage::Load, self.networks.load_time().saturating_sub(before));
        observer.step(Stage::Load, done.min(total), total)
    }
}

/// What was drawn, a row a picture.
pub struct Drawn {
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Their latents f32\[B,4,h,w\].
    pub latents: Tensor,
    /// Their image embeddings f32\[B,D\].
    pub image_embeds: Tensor,
    /// What they were steered away from f32\[B,D\].
    pub negative_image_embeds: Tensor,
}

/// Draws all pictures of a request, in batches that fit.
///
/// # Errors
/// When a prompt or a picture cannot be used, a network fails or the caller cancels.
pub fn draw(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    observer: &mut Observer<'_>,
) -> Result<Drawn> {
    let sides = Sides::new(&cx.networks.folder().manifest().latent, resolved);
    cx.enter(Stage::EncodeImages, observer)?;
    let begin = start::begin(cx, resolved, &sides, observer)?;
    let seen = embeds::encode_images(cx, resolved, observer)?;
    cx.enter(Stage::Encode, observer)?;
    let texts = texts::encode(cx, resolved, observer)?;
    let seeds: Vec<u64> = (0..resolved.pictures()).map(|picture| resolved.seed_of(picture)).collect();
    let mut noise = PictureNoise::new(resolved.generator, &seeds);
    // Each stage comes whole before the next, so that each network is in memory in its turn.
    let parts = sides.parts(resolved);
    cx.enter(Stage::Prior, observer)?;
    let mut embeds = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        observer.batch = Batch { index, total: parts.len() };
        embeds.push(embeds::of(cx, resolved, (&texts, &seen), (part, &mut noise), observer)?);
    }
    let joined = |of: fn(&Embeds) -> &Tensor| {
        concat(&embeds.iter().map(|part| of(part).clone()).collect::<Vec<_>>(), 0)
    };
    let (image_embeds, negative_image_embeds) = (joined(|e| &e.positive)?, joined(|e| &e.negative)?);
    let (mut pictures, mut all_latents) =
        (Vec::with_capacity(resolved.pictures()), Vec::with_capacity(parts.len()));
    cx.enter(Stage::Denoise, observer)?;
    for (index, (part, embeds)) in parts.iter().zip(embeds).enumerate() {
        observer.batch = Batch { index, total: parts.len() };
        all_latents.push(latents(
            cx,
            resolved,
            (&texts, embeds),
            (part, &mut noise),
            (&begin, &sides, observer),
        )?);
    }
    cx.enter(Stage::Decode, observer)?;
    for (part, latents) in parts.iter().zip(&all_latents) {
        pictures.extend(pixels(cx, resolved, latents, part, (&begin, &sides, observer))?);
    }
    let latents = concat(&all_latents, 0)?;
    Ok(Drawn { pictures, latents, image_embeds, negative_image_embeds })
}

/// Sides of latents and of what comes out.
pub struct Sides {
    /// Latent rows.
    pub height: usize,
    /// Latent columns.
    pub width: usize,
    /// Latent channels.
    pub channels: usize,
    /// Size in pixels at which everything is computed: the request's, rounded up to the model's multiple.
    pub rounded: Size,
    /// Size of the pictures.
    pub output: Size,
}

impl Sides {
    /// The sides of a request's pictures on a model.
    pub fn new(latent: &Latent, resolved: &ResolvedRequest) -> Self {
        let (multiple, factor) = (latent.multiple.max(1), latent.factor.max(1));
        let side = |length: usize| length.div_ceil(factor * multiple) * multiple;
        let (height, width) = (side(resolved.size.height), side(resolved.size.width));
        let rounded = Size { width: width * factor, height: height * factor };
        let output = if resolved.rounded { rounded } else { resolved.size };
        Self { height, width, channels: latent.channels, rounded, output }
    }

    /// Which pictures are denoised together: as many as fit, and one in the profile `original`, whose sampler
    /// bounds a whole batch by its first picture.
    pub fn parts(&self, resolved: &ResolvedRequest) -> Vec<Range<usize>> {
        let pictures = resolved.pictures();
        let fit = match resolved.profile {
            Profile::Diffusers => BATCH_AREA / (self.height * self.width).max(1),
            Profile::Original => 1,
        };
        let batch = fit.clamp(1, pictures.max(1));
        (0..pictures).step_by(batch).map(|start| start..(start + batch).min(pictures)).collect()
    }
}

/// The latents of the pictures of a part.
fn latents(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    (texts, embeds): (&Texts, Embeds),
    (part, noise): (&Range<usize>, &mut PictureNoise),
    (begin, sides, observer): (&Begin, &Sides, &mut Observer<'_>),
) -> Result<Tensor> {
    cx.timed(Stage::Denoise, |cx| {
        let guidance = guidance(cx, resolved)?;
        let condition = condition(guidance, texts, embeds, part)?;
        let manifest = cx.networks.folder().manifest();
        let sampler = sampler::build(&decoder_choice(resolved)?, &manifest.schedulers)?;
        let mut noise = noise.part(part.start, part.end);
        let start = begin.latents(resolved, sides, sampler.as_ref(), (part.len(), &mut noise))?;
        let known = begin.known(part.len())?;
        let (sampler, noise, unet) = (sampler.as_ref(), &mut noise, begin.unet);
        let preview = Some(Previewer {
            constants: cx.constants,
            first: part.start,
            size: sides.output,
            profile: resolved.profile,
        });
        let run = DenoiseRun {
            sampler,
            guidance,
            noise,
            start,
            unet,
            known,
            deep_cache: resolved.deep_cache,
            preview,
        };
        denoise::sample(cx.networks, condition, run, observer)
    })
}

/// The decoder's guidance.
fn guidance(cx: &RunContext<'_>, resolved: &ResolvedRequest) -> Result<Guidance> {
    let guidance = Guidance::new(resolved.guidance);
    if resolved.guidance_interval == Interval::WHOLE {
        return Ok(guidance);
    }
    let schedulers = &cx.networks.folder().manifest().schedulers;
    let role = KANDINSKY_2_1.schedulers.ddim;
    let missing = || Error::new(Kind::BadModel, format!("the model has no scheduler {role:?}"));
    let config = SchedulerConfig::parse(schedulers.get(role).ok_or_else(missing)?)?;
    Ok(guidance.within(resolved.guidance_interval, config.schedule()?.len()))
}

/// The decoder's sampler; image to image leaves out its first steps.
///
/// # Errors
/// When a strength leaves no step to run.
pub fn decoder_choice(resolved: &ResolvedRequest) -> Result<Choice<'_>> {
    let steps = match resolved.timesteps.as_slice() {
        [] => Steps::Count(resolved.steps),
        times => Steps::At(times.to_vec()),
    };
    let skip = start::skipped(resolved)?;
    Ok(Choice { name: &resolved.sampler, role: Role::Decoder, steps, skip, profile: resolved.profile })
}

/// What conditions the UNet; the unconditional half first where guidance is on.
fn condition(guidance: Guidance, texts: &Texts, embeds: Embeds, part: &Range<usize>) -> Result<Condition> {
    let text = texts.unet(part)?;
    if !guidance.is_on() {
        return Ok(Condition { text, image: embeds.positive });
    }
    let negative = texts.unet_negative.repeated(part.len())?;
    let text = MultilingualText::concat(&[negative, text])?;
    Ok(Condition { text, image: concat(&[embeds.negative, embeds.positive], 0)? })
}

/// The pictures of a part's latents.
fn pixels(
    cx: &mut RunContext<'_>,
    resolved: &ResolvedRequest,
    latents: &Tensor,
    part: &Range<usize>,
    (begin, sides, observer): (&Begin, &Sides, &mut Observer<'_>),
) -> Result<Vec<Picture>> {
    cx.timed(Stage::Decode, |cx| {
        let how = Decode {
            size: sides.output,
            quantize: resolved.quantize,
            profile: resolved.profile,
            done: part.start,
            total: resolved.pictures(),
        };
        let drawn = decode::pictures(cx.networks, latents, &how, observer)?;
        drawn.into_iter().map(|picture| begin.joined(picture)).collect()
    })
}
