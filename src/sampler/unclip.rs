//! The prior's sampler (Ramesh et al., "Hierarchical text-conditional image generation with CLIP latents",
//! section 2.2; diffusers `UnCLIPScheduler`): DDPM on timesteps that include both ends.

use super::ddpm::{Posterior, Variance};
use super::{Denoiser, Noise, Sampler, Step, check_steps};
use crate::error::Result;
use crate::predict::{Bound, Prediction};
use crate::schedule::{Schedule, SchedulerConfig, Spacing, as_floats};
use crate::tensor::Tensor;

struct Unclip {
    schedule: Schedule,
    prediction: Prediction,
    bound: Bound,
    times: Vec<i32>,
    timesteps: Vec<f32>,
}

/// UnCLIP of `steps` steps, at least 2: the reference divides by `steps - 1`.
pub fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule("squaredcos_cap_v2", (0.0001, 0.02))?;
    check_steps(steps, 2, schedule.len())?;
    Variance::of(config, &["fixed_small_log"])?;
    let times = Spacing::Linspace.timesteps(schedule.len(), steps, 0);
    Ok(Box::new(Unclip {
        prediction: Prediction::of(config)?,
        bound: Bound::of(config, true)?,
        timesteps: as_floats(&times),
        times,
        schedule,
    }))
}

impl Sampler for Unclip {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let total = self.times.len();
        let nexts = self.times.iter().skip(1).chain(&[-1]);
        for (index, ((t, next), timestep)) in self.times.iter().zip(nexts).zip(&self.timesteps).enumerate() {
            let step = Step { index, total, timestep: *timestep };
            let posterior = Posterior::unclip(&self.schedule, *t, *next);
            let out = denoiser.predict(&x, &step)?;
            let x0 = self.bound.apply(posterior.clean(self.prediction, &out, &x));
            x = posterior.mean(&x0, &x);
            if *t > 0 {
                posterior.add_noise(&mut x, &noise.draw(x0.shape())?, None, Variance::FixedSmall);
            }
            denoiser.done(&step, &x, &x0)?;
        }
        Ok(x)
    }
}
