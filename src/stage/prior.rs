//! Text to image embedding: the diffusion prior (paper, section 3; diffusers `KandinskyPriorPipeline`).

use crate::component::Networks;
use crate::component::prior::{self, Prefix};
use crate::constants::Constants;
use crate::error::Result;
use crate::guidance::Guidance;
use crate::progress::{Observer, Stage};
use crate::sampler::{Denoiser, Noise, Sampler, Step};
use crate::tensor::{Tensor, side, tensor};

/// What conditions the prior: a row a picture and, where a negative prompt wants its own embedding, a
/// row for that as well.
pub struct PriorText {
    /// The prompts' prefix.
    pub prompts: Prefix,
    /// The unconditional half's prefix, row by row.
    pub unconditional: Prefix,
}

/// Image embeddings f32\[B,D\] for `text`, from noise.
///
/// `start` replaces the first draw where it is given.
///
/// # Errors
/// When a network fails or the caller cancels.
pub fn sample(
    networks: &mut Networks,
    text: &PriorText,
    constants: &Constants,
    run: PriorRun<'_>,
    observer: &mut Observer<'_>,
) -> Result<Tensor> {
    let rows = side(text.prompts.mask.shape(), 0)?;
    let width = networks.folder().manifest().latent.embed;
    let x = match run.start {
        Some(start) => start,
        None => run.noise.draw(&[rows, width])? * run.sampler.init_sigma(),
    };
    // The unconditional half first, as diffusers orders it.
    let prefix = match run.guidance.is_on() {
        true => text.unconditional.joined(&text.prompts)?,
        false => text.prompts.clone(),
    };
    let mut denoiser = PriorDenoiser { networks, prefix, guidance: run.guidance, observer };
    let normalised = run.sampler.sample(&mut denoiser, x, run.noise)?;
    Ok(normalised * &constants.clip_std + &constants.clip_mean)
}

/// How the prior is sampled.
pub struct PriorRun<'a> {
    /// The sampler.
    pub sampler: &'a dyn Sampler,
    /// Guidance.
    pub guidance: Guidance,
    /// Where noise comes from.
    pub noise: &'a mut dyn Noise,
    /// The first x, instead of a draw.
    pub start: Option<Tensor>,
}

struct PriorDenoiser<'a, 'w> {
    networks: &'a mut Networks,
    prefix: Prefix,
    guidance: Guidance,
    observer: &'a mut Observer<'w>,
}

impl Denoiser for PriorDenoiser<'_, '_> {
    fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor> {
        self.observer.check()?;
        let x = self.guidance.duplicate_for_cfg(x)?;
        let rows = side(x.shape(), 0)?;
        let t = tensor(&[rows], vec![step.timestep; rows])?;
        let x0 = prior::step(self.networks, &x, &t, &self.prefix)?;
        self.guidance.combine(x0)
    }

    fn done(&mut self, step: &Step, _x: &Tensor, _x0: &Tensor) -> Result<()> {
        self.observer.batch_step(Stage::Prior, step.index + 1, step.total)
    }
}
