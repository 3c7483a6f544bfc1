//! DDIM (Song, Meng and Ermon, "Denoising diffusion implicit models", formula 12; diffusers
//! `DDIMScheduler`).

use super::choice::{calls, spans};
use super::{Choice, Denoiser, Noise, Sampler, Step, mix};
use crate::error::Result;
use crate::math::narrow;
use crate::predict::{Clipping, Prediction};
use crate::schedule::{Schedule, SchedulerConfig, Spacing};
use crate::tensor::Tensor;
use ndarray::Zip;

pub(super) struct Ddim {
    pub(super) schedule: Schedule,
    pub(super) prediction: Prediction,
    pub(super) clipping: Clipping,
    /// The share of noise that is drawn anew: 0 is deterministic, 1 is DDPM's.
    pub(super) eta: f32,
    /// The picture's share of power after the last step.
    pub(super) last_alpha: f32,
    /// Where each step starts and ends; neither is limited to the schedule's timesteps.
    pub(super) spans: Vec<(i32, i32)>,
    pub(super) timesteps: Vec<f32>,
}

/// The decoder's DDIM. `eta` is a setting here, since the reference's pipelines never set it.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    spaced(config, choice, Spacing::Leading, false)
}

/// The prior's DDIM. Where the settings do not say how timesteps are spread, they start at pure noise, and each
/// step ends where the next begins.
pub fn prior(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let unsaid = config.word("timestep_spacing", "")?.is_empty();
    spaced(config, choice, Spacing::Trailing, unsaid)
}

/// With the spacing that the settings say, else `default`. The reference's steps all have one length, wherever
/// the next one begins; `joined` ones end there.
fn spaced(
    config: &SchedulerConfig,
    choice: &Choice<'_>,
    default: Spacing,
    joined: bool,
) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let (train, spacing) = (schedule.len(), config.spacing(default)?);
    let spans = match choice.count(spacing.fewest()..=train, train)? {
        None => spans(choice.given()),
        Some(steps) if joined => spans(&spacing.timesteps(train, steps, config.steps_offset()?)),
        Some(steps) => strides(spacing, train, steps, config.steps_offset()?),
    };
    let spans = choice.visited(spans)?;
    Ok(Box::new(Ddim {
        prediction: Prediction::of(config)?,
        clipping: Clipping::of(config, true)?,
        eta: narrow(config.number("eta", 0.0)?),
        last_alpha: if config.flag("set_alpha_to_one", true)? { 1.0 } else { schedule.first_alpha() },
        timesteps: calls(&spans, schedule.len()),
        spans,
        schedule,
    }))
}

/// Steps that all have the same length, wherever the spacing lets them start.
pub(super) fn strides(spacing: Spacing, train: usize, steps: usize, offset: i32) -> Vec<(i32, i32)> {
    let stride = i32::try_from(train / steps.max(1)).unwrap_or(0);
    spacing.timesteps(train, steps, offset).into_iter().map(|t| (t, t - stride)).collect()
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let now = self.spans.first().map_or(1.0, |(t, _)| self.schedule.alpha(*t, 1.0));
        mix(x0, noise, now.sqrt(), (1.0 - now).sqrt())
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let total = self.spans.len();
        for (index, ((t, next), timestep)) in self.spans.iter().zip(&self.timesteps).enumerate() {
            let step = Step { index, total, timestep: *timestep };
            let (now, then) = (self.schedule.alpha(*t, 1.0), self.schedule.alpha(*next, self.last_alpha));
            let (alpha_t, sigma_t) = (now.sqrt(), (1.0 - now).sqrt());
            let out = denoiser.predict(&x, &step)?;
            let x0 = self.clipping.apply(self.prediction.clean(&out, &x, alpha_t, sigma_t));
            let eps = self.prediction.noise(&out, &x, alpha_t, sigma_t);
            let variance = (1.0 - then) / (1.0 - now) * (1.0 - now / then);
            let fresh = self.eta * variance.sqrt();
            let (root, turn) = (then.sqrt(), (1.0 - then - fresh * fresh).sqrt());
            x = Zip::from(&x0).and(&eps).map_collect(|x0, eps| root * x0 + turn * eps);
            if self.eta > 0.0 {
                let drawn = noise.draw(x.shape())?;
                x.scaled_add(fresh, &drawn);
            }
            denoiser.done(&step, &x, &x0)?;
        }
        Ok(x)
    }
}
