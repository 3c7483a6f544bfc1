//! Text to image (paper, section 3): the prior turns text into an image embedding, the UNet turns
//! noise into latents under text and image embedding, MoVQ turns latents into pixels.

use crate::component::Networks;
use crate::component::text::MultilingualText;
use crate::component::unet::Which;
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::image::Picture;
use crate::progress::{Stage, Watch};
use crate::request::{Job, Size};
use crate::rng::Generator;
use crate::sampler::{self, Choice, Noise, Role};
use crate::stage::decode::{self, Place};
use crate::stage::denoise::{self, Condition, DenoiseRun, Known};
use crate::stage::encode::Encoder;
use crate::stage::noise::{PictureNoise, seeds_from};
use crate::stage::prior::{self, PriorRun, PriorText};
use crate::tensor::{Tensor, concat, repeat, rows};
use crate::timing::Timings;
use std::ops::Range;

/// Latent numbers a side of a batch: what one call of the UNet may hold of pictures (a 512x512 one).
const BATCH_AREA: usize = 64 * 64;
/// Calls of the text encoders that the encode stage reports.
const ENCODE_STEPS: usize = 2;

/// What the mode works with.
pub struct Tools<'a> {
    /// The graphs.
    pub networks: &'a mut Networks,
    /// Tokenisers and the constant encodings.
    pub encoder: Encoder<'a>,
    /// The model's constants.
    pub constants: &'a Constants,
    /// How long stages took.
    pub timings: &'a mut Timings,
}

/// What was drawn, a row a picture.
pub struct Drawn {
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Their latents f32\[B,4,h,w\].
    pub latents: Tensor,
    /// Their image embeddings f32\[B,D\].
    pub image_embeds: Tensor,
}

/// Draws all pictures of a job, in batches that fit.
///
/// # Errors
/// When a prompt cannot be used, a network fails or the caller cancels.
pub fn run(tools: &mut Tools<'_>, job: &Job, watch: &mut Watch<'_>) -> Result<Drawn> {
    let sides = Sides::new(tools.networks, job)?;
    let mut noise = PictureNoise::new(Generator::TorchCpu, &seeds_from(job.seed, job.count));
    let texts = encode(tools, job, watch)?;
    let batch = (BATCH_AREA / (sides.height * sides.width).max(1)).clamp(1, job.count);
    let mut embeds = Vec::new();
    // The whole prior comes before the whole decoder, so that each network is in memory in its turn.
    let parts: Vec<Range<usize>> =
        (0..job.count).step_by(batch).map(|start| start..(start + batch).min(job.count)).collect();
    for part in &parts {
        embeds.push(image_embeds(tools, job, &texts, (part, &mut noise), watch)?);
    }
    let image_embeds: Vec<Tensor> = embeds.iter().map(|part| part.positive.clone()).collect();
    let mut pictures = Vec::with_capacity(job.count);
    let mut all_latents = Vec::with_capacity(parts.len());
    for (part, embeds) in parts.iter().zip(embeds) {
        let latents = latents(tools, job, (&texts, embeds), (part, &mut noise), (&sides, watch))?;
        let place = Place { done: part.start, total: job.count };
        let start = std::time::Instant::now();
        pictures.extend(decode::pictures(tools.networks, &latents, sides.output, watch, place)?);
        tools.timings.add(Stage::Decode, start.elapsed());
        all_latents.push(latents);
    }
    Ok(Drawn { pictures, latents: concat(&all_latents, 0)?, image_embeds: concat(&image_embeds, 0)? })
}

/// Sides of latents and of what comes out.
struct Sides {
    height: usize,
    width: usize,
    channels: usize,
    output: Size,
    unet_channels: usize,
}

impl Sides {
    fn new(networks: &Networks, job: &Job) -> Result<Self> {
        let latent = &networks.folder().manifest().latent;
        let multiple = latent.multiple.max(1);
        let pixels = latent.factor.max(1) * multiple;
        let side = |length: usize| length.div_ceil(pixels) * multiple;
        let (height, width) = (side(job.size.height), side(job.size.width));
        let rounded = Size { width: width * latent.factor, height: height * latent.factor };
        let output = if job.rounded { rounded } else { job.size };
        let unet_channels = latent.unet_channels;
        if unet_channels != latent.channels && unet_channels != 2 * latent.channels + 1 {
            let message = format!("a UNet with {unet_channels} input channels cannot draw");
            return Err(Error::new(Kind::BadModel, message));
        }
        Ok(Self { height, width, channels: latent.channels, output, unet_channels })
    }
}

/// One row of every text that the job's pictures share.
struct Texts {
    prior: PriorText,
    unet: MultilingualText,
    unet_negative: MultilingualText,
}

fn encode(tools: &mut Tools<'_>, job: &Job, watch: &mut Watch<'_>) -> Result<Texts> {
    let start = std::time::Instant::now();
    let negative = job.negative.as_deref().unwrap_or("");
    let prior = PriorText {
        prompts: tools.encoder.prior_text(tools.networks, &[job.prompt.as_str()])?,
        unconditional: tools.encoder.prior_text(tools.networks, &[negative])?,
    };
    watch.step(Stage::Encode, 1, ENCODE_STEPS)?;
    let unet = tools.encoder.unet_text(tools.networks, &[job.prompt.as_str()])?;
    let unet_negative = tools.encoder.unet_text(tools.networks, &[negative])?;
    watch.step(Stage::Encode, ENCODE_STEPS, ENCODE_STEPS)?;
    tools.timings.add(Stage::Encode, start.elapsed());
    Ok(Texts { prior, unet, unet_negative })
}

/// Image embeddings of the pictures of a part, and of what they shall not be.
struct Embeds {
    positive: Tensor,
    negative: Tensor,
}

/// The prior for some of the pictures. With a negative prompt it also draws that prompt's embedding,
/// in the same batch, as diffusers does; without one the negative is the embedding of a zero picture.
fn image_embeds(
    tools: &mut Tools<'_>,
    job: &Job,
    texts: &Texts,
    (part, noise): (&Range<usize>, &mut PictureNoise),
    watch: &mut Watch<'_>,
) -> Result<Embeds> {
    let start = std::time::Instant::now();
    let count = part.len();
    let prompts = texts.prior.prompts.repeated(count)?;
    let unconditional = &texts.prior.unconditional;
    let text = if job.negative.is_some() {
        let negatives = unconditional.repeated(count)?;
        PriorText { prompts: prompts.joined(&negatives)?, unconditional: unconditional.repeated(2 * count)? }
    } else {
        PriorText { prompts, unconditional: unconditional.repeated(count)? }
    };
    let manifest = tools.networks.folder().manifest();
    let sampler = sampler::build(&Choice::new("unclip", Role::Prior, job.prior_steps), &manifest.schedulers)?;
    let mut noise = noise.part(part.start, part.end);
    let run = PriorRun {
        sampler: sampler.as_ref(),
        guidance: Guidance::new(job.prior_guidance),
        noise: &mut noise,
        start: None,
    };
    let drawn = prior::sample(tools.networks, &text, tools.constants, run, watch)?;
    let embeds = match job.negative {
        Some(_) => Embeds { positive: rows(&drawn, 0, count)?, negative: rows(&drawn, count, 2 * count)? },
        None => Embeds { positive: drawn, negative: repeat(&zero_image(tools)?, count)? },
    };
    tools.timings.add(Stage::Prior, start.elapsed());
    Ok(embeds)
}

/// The embedding of a picture of zeros: a constant of the folder, else computed.
fn zero_image(tools: &mut Tools<'_>) -> Result<Tensor> {
    match &tools.constants.zero_image {
        Some(embed) => Ok(embed.clone()),
        None => zero_image_embed(tools.networks),
    }
}

/// Computes the embedding of a picture whose prepared pixels are all 0.
///
/// # Errors
/// When the image encoder fails.
pub fn zero_image_embed(networks: &mut Networks) -> Result<Tensor> {
    let size = networks.folder().manifest().clip_image.size;
    let pixels = Tensor::zeros(ndarray::IxDyn(&[1, 3, size, size]));
    crate::component::image_encoder::encode(networks, pixels)
}

fn latents(
    tools: &mut Tools<'_>,
    job: &Job,
    (texts, embeds): (&Texts, Embeds),
    (part, noise): (&Range<usize>, &mut PictureNoise),
    (sides, watch): (&Sides, &mut Watch<'_>),
) -> Result<Tensor> {
    let begin = std::time::Instant::now();
    let count = part.len();
    let guidance = Guidance::new(job.guidance);
    let condition = if guidance.is_on() {
        Condition {
            text: MultilingualText::concat(&[
                texts.unet_negative.repeated(count)?,
                texts.unet.repeated(count)?,
            ])?,
            image: concat(&[embeds.negative, embeds.positive], 0)?,
        }
    } else {
        Condition { text: texts.unet.repeated(count)?, image: embeds.positive }
    };
    let manifest = tools.networks.folder().manifest();
    let choice = Choice::new(&job.sampler, Role::Decoder, job.steps);
    let sampler = sampler::build(&choice, &manifest.schedulers)?;
    let mut noise = noise.part(part.start, part.end);
    let start = noise.draw(&[count, sides.channels, sides.height, sides.width])? * sampler.init_sigma();
    let known = (sides.unet_channels != sides.channels)
        .then(|| Known::nothing(count, sides.height, sides.width, sides.channels));
    let run = DenoiseRun {
        sampler: sampler.as_ref(),
        guidance,
        noise: &mut noise,
        start,
        unet: Which::Draw,
        known,
    };
    let latents = denoise::sample(tools.networks, condition, run, watch)?;
    tools.timings.add(Stage::Denoise, begin.elapsed());
    Ok(latents)
}
