//! DDIM (Song, Meng and Ermon, "Denoising diffusion implicit models", formula 12; diffusers
//! `DDIMScheduler`).

use super::{Denoiser, Noise, Sampler, Step, check_steps};
use crate::error::Result;
use crate::math::narrow;
use crate::predict::{Bound, Prediction};
use crate::schedule::{Schedule, SchedulerConfig, Spacing, as_floats};
use crate::tensor::Tensor;
use ndarray::Zip;

struct Ddim {
    schedule: Schedule,
    prediction: Prediction,
    bound: Bound,
    /// The share of noise that is drawn anew: 0 is deterministic, 1 is DDPM's.
    eta: f32,
    /// The picture's share of power after the last step.
    last_alpha: f32,
    /// Where each step starts and ends; neither is limited to the schedule's timesteps.
    spans: Vec<(i32, i32)>,
    timesteps: Vec<f32>,
}

/// DDIM of `steps` steps. `eta` is a setting here, since the reference's pipelines never set it.
pub fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule("linear", (0.0001, 0.02))?;
    check_steps(steps, 1, schedule.len())?;
    let spacing = config.spacing(Spacing::Leading)?;
    let stride = i32::try_from(schedule.len() / steps).unwrap_or(0);
    let starts = spacing.timesteps(schedule.len(), steps, config.steps_offset()?);
    // With as many steps as timesteps the offset reaches one beyond the last, where the reference fails.
    let last = i32::try_from(schedule.len()).unwrap_or(i32::MAX) - 1;
    let timesteps: Vec<i32> = starts.iter().map(|t| *t.min(&last)).collect();
    Ok(Box::new(Ddim {
        prediction: Prediction::of(config)?,
        bound: Bound::of(config, true)?,
        eta: narrow(config.number("eta", 0.0)?),
        last_alpha: if config.flag("set_alpha_to_one", true)? { 1.0 } else { schedule.first_alpha() },
        spans: starts.iter().map(|t| (*t, t - stride)).collect(),
        timesteps: as_floats(&timesteps),
        schedule,
    }))
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let total = self.spans.len();
        for (index, ((t, next), timestep)) in self.spans.iter().zip(&self.timesteps).enumerate() {
            let step = Step { index, total, timestep: *timestep };
            let (now, then) = (self.schedule.alpha(*t, 1.0), self.schedule.alpha(*next, self.last_alpha));
            let (keep, add) = (now.sqrt(), (1.0 - now).sqrt());
            let out = denoiser.predict(&x, &step)?;
            let x0 = self.bound.apply(self.prediction.clean(&out, &x, keep, add));
            let eps = self.prediction.noise(&out, &x, keep, add);
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
