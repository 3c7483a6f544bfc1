//! Noise to latents: the denoising loop (diffusers `KandinskyPipeline` and `KandinskyInpaintPipeline`).
//!
//! The loop itself is the sampler's; guidance, the mask channels, progress and cancelling live in the
//! denoiser that it calls, so that every sampler has them without knowing.

use crate::component::Networks;
use crate::component::text::MultilingualText;
use crate::component::unet::{self, Context, StepInputs, UnetVariant};
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::progress::{Observer, Stage};
use crate::sampler::{Denoiser, Noise, Sampler, Step};
use crate::stage::deep_cache::DeepCache;
use crate::stage::preview::Previewer;
use crate::tensor::{Tensor, TensorView, concat, concat_views, side, slice, tensor, view_rows};
use ndarray::{Axis, IxDyn};
use std::borrow::Cow;
use std::time::SystemTime;

/// Numbers of FiLM that are kept at once; the table of all steps of a long run would not fit.
pub const FILM_NUMBERS: usize = 16 << 20;

/// What conditions the UNet, a row each; the unconditional half first where guidance is on.
pub struct Condition {
    /// Texts.
    pub text: MultilingualText,
    /// Image embeddings f32\[B,D\].
    pub image: Tensor,
}

/// What an inpainting UNet sees of the picture: f32\[B,4,h,w\] masked latents and f32\[B,1,h,w\] mask, where
/// 1 is known.
#[derive(Debug, Clone)]
pub struct Known {
    /// Latents of the known part, 0 elsewhere.
    pub latents: Tensor,
    /// 1 where the picture is known.
    pub mask: Tensor,
}

impl Known {
    /// Nothing is known: an inpainting UNet then draws freely.
    pub fn nothing(rows: usize, height: usize, width: usize, channels: usize) -> Self {
        Self {
            latents: Tensor::zeros(IxDyn(&[rows, channels, height, width])),
            mask: Tensor::zeros(IxDyn(&[rows, 1, height, width])),
        }
    }
}

/// How latents are sampled.
pub struct DenoiseRun<'a> {
    /// The sampler.
    pub sampler: &'a dyn Sampler,
    /// Guidance.
    pub guidance: Guidance,
    /// Where noise comes from.
    pub noise: &'a mut dyn Noise,
    /// The latents to start from f32\[B,4,h,w\].
    pub start: Tensor,
    /// UnetVariant UNet runs.
    pub unet: UnetVariant,
    /// What is known of the picture, for a UNet of 9 channels.
    pub known: Option<Known>,
    /// Every how many calls of the UNet its deep levels run.
    pub deep_cache: usize,
    /// Makes the previews that the observer wants; without it there are none.
    pub preview: Option<Previewer<'a>>,
}

/// Latents f32\[B,4,h,w\] for a condition.
///
/// # Errors
/// When a network fails or the caller cancels.
pub fn sample(
    networks: &mut Networks,
    condition: Condition,
    run: DenoiseRun<'_>,
    observer: &mut Observer<'_>,
) -> Result<Tensor> {
    let context = unet::context(networks, run.unet, &condition.text, &condition.image)?;
    let learned_variance = run.sampler.uses_variance();
    let known = run.known.map(|known| concat(&[known.latents, known.mask], 1)).transpose()?;
    let films = Films { unet: run.unet, timesteps: run.sampler.timesteps().to_vec(), first: 0, table: None };
    let (guidance, preview) = (run.guidance, run.preview);
    let mut denoiser = UnetDenoiser {
        networks,
        context,
        films,
        deep: DeepCache::new(run.deep_cache),
        known,
        guidance,
        learned_variance,
        preview,
        observer,
    };
    run.sampler.sample(&mut denoiser, run.start, run.noise)
}

struct UnetDenoiser<'a, 'w> {
    networks: &'a mut Networks,
    context: Context,
    films: Films,
    deep: DeepCache,
    /// What is known of the pictures, a row each: f32\[B,5,h,w\].
    known: Option<Tensor>,
    guidance: Guidance,
    learned_variance: bool,
    preview: Option<Previewer<'a>>,
    observer: &'a mut Observer<'w>,
}

impl Denoiser for UnetDenoiser<'_, '_> {
    fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor> {
        self.observer.check()?;
        self.observer.denoising_began.get_or_insert_with(SystemTime::now);
        let channels = side(x.shape(), 1)?;
        let guidance = self.guidance.at(step.timestep);
        let sample = match &self.known {
            Some(known) => Cow::Owned(concat_views(&[x.view(), known.view()], 1)?), // (B, 9, h, w)
            None => Cow::Borrowed(x),
        };
        let sample = guidance.duplicate_for_cfg(&sample)?; // (2B, 9, h, w)
        let out = self.run(sample.view(), guidance, step)?; // (2B, 8, h, w)
        if self.learned_variance {
            guidance.combine_with_variance(out, channels) // (B, 8, h, w)
        } else {
            guidance.combine(slice(&out, 1, 0, channels)?) // (B, 4, h, w)
        }
    }

    fn done(&mut self, step: &Step, _x: &Tensor, x0: &Tensor) -> Result<()> {
        self.observer.batch_step(Stage::Denoise, step.index + 1, step.total)?;
        self.preview.map_or(Ok(()), |preview| preview.show(self.networks, x0, step, self.observer))
    }
}

impl UnetDenoiser<'_, '_> {
    /// The UNet on a sample of both halves, or of the text's alone where a step is not guided and others are.
    fn run(&mut self, sample: TensorView<'_>, guidance: Guidance, step: &Step) -> Result<Tensor> {
        self.films.compute(self.networks, &self.context, step.timestep)?;
        let film = self.films.at(step.timestep)?; // (2B, C)
        let given = if guidance.is_on() == self.guidance.is_on() {
            StepInputs { sample, film, context: self.context.rows() }
        } else {
            let total = side(film.shape(), 0)?;
            let film = view_rows(&film, total / 2, total)?; // (B, C)
            StepInputs { sample, film, context: self.context.text_half()? }
        };
        self.deep.step(self.networks, self.films.unet, step.index, &given)
    }
}

/// Scale and shift of every residual block, computed for many steps at once.
struct Films {
    unet: UnetVariant,
    timesteps: Vec<f32>,
    first: usize,
    table: Option<Tensor>,
}

impl Films {
    /// Computes the table that holds timestep `t`, unless it is the one that is there.
    fn compute(&mut self, networks: &mut Networks, context: &Context, t: f32) -> Result<()> {
        if self.known(t).is_some() {
            return Ok(());
        }
        // A sampler may ask for a time that is not on its list; it then gets a table of that one.
        let place = self.timesteps.iter().position(|known| known.to_bits() == t.to_bits());
        let (first, times) = match place {
            Some(first) => {
                let chunk = self.timesteps.iter().skip(first).take(self.chunk(context)?);
                (first, chunk.copied().collect())
            }
            None => {
                self.timesteps.push(t);
                (self.timesteps.len() - 1, vec![t])
            }
        };
        self.table = Some(unet::film(networks, self.unet, &tensor(&[times.len()], times)?, &context.aug)?);
        self.first = first;
        Ok(())
    }

    /// The rows f32\[B,C\] of timestep `t`.
    fn at(&self, t: f32) -> Result<TensorView<'_>> {
        self.known(t).ok_or_else(|| Error::new(Kind::Internal, format!("no FiLM was computed for time {t}")))
    }

    fn known(&self, t: f32) -> Option<TensorView<'_>> {
        let table = self.table.as_ref()?;
        let times = self.timesteps.iter().skip(self.first).take(table.len_of(Axis(0)));
        let row = times.into_iter().position(|known| known.to_bits() == t.to_bits())?;
        Some(table.index_axis(Axis(0), row))
    }

    /// Steps a table, so that it stays within [`FILM_NUMBERS`].
    fn chunk(&self, context: &Context) -> Result<usize> {
        let (rows, embedding) = (side(context.aug.shape(), 0)?, side(context.aug.shape(), 1)?);
        let width = match &self.table {
            Some(table) => side(table.shape(), 2)?,
            None => embedding * 48,
        };
        Ok((FILM_NUMBERS / (rows * width).max(1)).clamp(1, self.timesteps.len().max(1)))
    }
}
