//! DDPM (Ho, Jain and Abbeel, "Denoising diffusion probabilistic models", formula 7) with the variance
//! that the network learned (Nichol and Dhariwal, formula 15; diffusers `DDPMScheduler`).

use super::choice::{calls, spans};
use super::{Choice, Denoiser, Noise, Sampler, Step, mix};
use crate::error::Result;
use crate::math::narrow;
use crate::predict::{Clipping, Prediction, split_variance};
use crate::schedule::{Schedule, SchedulerConfig, Spacing};
use crate::tensor::Tensor;
use ndarray::Zip;

/// The least variance whose logarithm is taken.
const LEAST_VARIANCE: f32 = 1e-20;

/// What the step's noise is scaled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variance {
    /// The posterior's.
    FixedSmall,
    /// The step's beta.
    FixedLarge,
    /// Between the two, each element's place in `[-1, 1]` told by the network.
    LearnedRange,
}

impl Variance {
    /// The scheduler's `variance_type`.
    pub(super) fn of(config: &SchedulerConfig, known: &[&str]) -> Result<Self> {
        let place = config.choice("variance_type", known)?;
        Ok(match known.get(place).copied() {
            Some("fixed_large" | "fixed_large_log") => Self::FixedLarge,
            Some("learned_range") => Self::LearnedRange,
            _ => Self::FixedSmall,
        })
    }
}

/// The numbers of a step from timestep `t` to `next`; a negative `next` is the clean picture.
pub(super) struct Posterior {
    alpha_t: f32,
    sigma_t: f32,
    of_x0: f32,
    of_x: f32,
    beta: f32,
    small: f32,
    /// Whether noise is added: not at timestep 0.
    pub(super) noisy: bool,
}

impl Posterior {
    /// Roundings are the reference's: beta is a small difference of numbers near 1.
    pub(super) fn new(schedule: &Schedule, t: i32, next: i32) -> Self {
        let (now, then) = (schedule.alpha(t, 1.0), schedule.alpha(next, 1.0));
        let alpha = now / then;
        Self::of((now, then), alpha, 1.0 - alpha, t > 0)
    }

    /// As [`Posterior::new`] in the roundings of `UnCLIPScheduler`: beta is training's own between neighbours,
    /// and alpha the rest of it.
    pub(super) fn unclip(schedule: &Schedule, t: i32, next: i32) -> Self {
        let (now, then) = (schedule.alpha(t, 1.0), schedule.alpha(next, 1.0));
        let own = usize::try_from(t).ok().filter(|_| next == t - 1).and_then(|t| schedule.betas.get(t));
        let beta = own.copied().unwrap_or(1.0 - now / then);
        Self::of((now, then), 1.0 - beta, beta, t > 0)
    }

    /// As [`Posterior::new`], from shares of power in 64 bits, which lose nothing to differences.
    pub(super) fn exact((now, then): (f64, f64), noisy: bool) -> Self {
        let (alpha, beta) = (now / then, 1.0 - now / then);
        Self {
            alpha_t: narrow(now.sqrt()),
            sigma_t: narrow((1.0 - now).sqrt()),
            of_x0: narrow(then.sqrt() * beta / (1.0 - now)),
            of_x: narrow(alpha.sqrt() * (1.0 - then) / (1.0 - now)),
            beta: narrow(beta),
            small: narrow((1.0 - then) / (1.0 - now) * beta),
            noisy,
        }
    }

    fn of((now, then): (f32, f32), alpha: f32, beta: f32, noisy: bool) -> Self {
        Self {
            alpha_t: now.sqrt(),
            sigma_t: (1.0 - now).sqrt(),
            of_x0: then.sqrt() * beta / (1.0 - now),
            of_x: alpha.sqrt() * (1.0 - then) / (1.0 - now),
            beta,
            small: (1.0 - then) / (1.0 - now) * beta,
            noisy,
        }
    }

    /// The clean picture that the network's prediction means at x.
    pub(super) fn clean(&self, prediction: Prediction, out: &Tensor, x: &Tensor) -> Tensor {
        prediction.clean(out, x, self.alpha_t, self.sigma_t)
    }

    /// The posterior's mean.
    pub(super) fn mean(&self, x0: &Tensor, x: &Tensor) -> Tensor {
        Zip::from(x0).and(x).map_collect(|x0, x| self.of_x0 * x0 + self.of_x * x)
    }

    /// Adds `noise` to `x`, scaled by the variance; `learned` is the network's.
    pub(super) fn add_noise(&self, x: &mut Tensor, noise: &Tensor, learned: Option<&Tensor>, kind: Variance) {
        let small = self.small.max(LEAST_VARIANCE);
        let Some(learned) = learned else {
            let variance = if kind == Variance::FixedLarge { self.beta } else { small };
            x.scaled_add(variance.sqrt(), noise);
            return;
        };
        let (low, high) = (ln(small), ln(self.beta.max(LEAST_VARIANCE)));
        Zip::from(x).and(noise).and(learned).for_each(|x, noise, place| {
            let share = (place + 1.0) / 2.0;
            *x += exp(0.5 * (share * high + (1.0 - share) * low)) * noise;
        });
    }
}

fn ln(x: f32) -> f32 {
    narrow(crate::math::ln(f64::from(x)))
}

fn exp(x: f32) -> f32 {
    narrow(crate::math::exp(f64::from(x)))
}

/// Ancestral sampling: the posterior's mean and fresh noise, step by step.
pub(super) struct Ancestral {
    pub(super) posteriors: Vec<Posterior>,
    pub(super) timesteps: Vec<f32>,
    pub(super) prediction: Prediction,
    pub(super) clipping: Clipping,
    pub(super) variance: Variance,
    /// Whether noise is drawn even where none is added, as the original repository does.
    pub(super) always_draws: bool,
}

/// The decoder's DDPM.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let spacing = config.spacing(Spacing::Leading)?;
    let last = i32::try_from(schedule.len()).unwrap_or(i32::MAX) - 1;
    let times: Vec<i32> = match choice.count(spacing.fewest()..=schedule.len(), schedule.len())? {
        None => choice.given().to_vec(),
        Some(steps) => spacing.timesteps(schedule.len(), steps, config.steps_offset()?),
    };
    let spans = choice.visited(spans(&times.into_iter().map(|t| t.min(last)).collect::<Vec<_>>()))?;
    Ok(Box::new(Ancestral {
        posteriors: spans.iter().map(|(t, next)| Posterior::new(&schedule, *t, *next)).collect(),
        timesteps: calls(&spans, schedule.len()),
        prediction: Prediction::of(config)?,
        clipping: Clipping::of(config, true)?,
        variance: Variance::of(config, &["fixed_small", "fixed_small_log", "fixed_large", "learned_range"])?,
        always_draws: false,
    }))
}

impl Sampler for Ancestral {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn uses_variance(&self) -> bool {
        self.variance == Variance::LearnedRange
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (alpha_t, sigma_t) =
            self.posteriors.first().map_or((1.0, 0.0), |first| (first.alpha_t, first.sigma_t));
        mix(x0, noise, alpha_t, sigma_t)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let total = self.posteriors.len();
        for (index, (posterior, timestep)) in self.posteriors.iter().zip(&self.timesteps).enumerate() {
            let step = Step { index, total, timestep: *timestep };
            let mut out = denoiser.predict(&x, &step)?;
            let mut learned = None;
            if self.uses_variance() {
                let (prediction, variance) = split_variance(&out, x.shape().get(1).copied().unwrap_or(0))?;
                (out, learned) = (prediction, Some(variance));
            }
            let x0 = self.clipping.apply(posterior.clean(self.prediction, &out, &x));
            x = posterior.mean(&x0, &x);
            let drawn = (posterior.noisy || self.always_draws).then(|| noise.draw(x0.shape())).transpose()?;
            if let Some(drawn) = drawn.filter(|_| posterior.noisy) {
                posterior.add_noise(&mut x, &drawn, learned.as_ref(), self.variance);
            }
            denoiser.done(&step, &x, &x0)?;
        }
        Ok(x)
    }
}
