//! Heun's method of second order (Karras et al., "Elucidating the design space of diffusion-based generative
//! models", algorithm 1; diffusers `HeunDiscreteScheduler`): Euler's step, then anew by the mean of the slopes
//! at both of its ends. Two calls a step, one for the last.

use super::sigma_schedule::{Ends, SigmaSchedule, derivative};
use super::{Choice, Denoiser, Noise, Sampler, Step};
use crate::error::Result;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;
use ndarray::Zip;

struct Heun {
    schedule: SigmaSchedule,
    timesteps: Vec<f32>,
}

/// Heun's method.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = SigmaSchedule::new(config, choice, Ends::Closed)?;
    let twice = schedule.timesteps().iter().skip(1).flat_map(|t| [*t, *t]);
    let timesteps = schedule.timesteps().iter().take(1).copied().chain(twice).collect();
    Ok(Box::new(Heun { schedule, timesteps }))
}

impl Heun {
    fn step(&self, index: usize) -> Step {
        let timestep = self.timesteps.get(index).copied().unwrap_or(0.0);
        Step { index, total: self.timesteps.len(), timestep }
    }
}

impl Sampler for Heun {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn init_sigma(&self) -> f32 {
        self.schedule.init_sigma()
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.schedule.add_noise(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, _: &mut dyn Noise) -> Result<Tensor> {
        for (index, step) in self.schedule.steps().iter().enumerate() {
            let (first, second) = (self.step(2 * index), self.step(2 * index + 1));
            let way = step.dsigma();
            let x0 = self.schedule.clean_unscaled(denoiser, &x, step.sigma, &first)?;
            let start = derivative(&x, &x0, step.sigma);
            let tried = &x + &(&start * way);
            denoiser.done(&first, &tried, &x0)?;
            if step.left == 0 {
                return Ok(tried);
            }
            let x0 = self.schedule.clean_unscaled(denoiser, &tried, step.next, &second)?;
            let end = derivative(&tried, &x0, step.next);
            x = Zip::from(&x).and(&start).and(&end).map_collect(|x, a, b| x + (a + b) / 2.0 * way);
            denoiser.done(&second, &x, &x0)?;
        }
        Ok(x)
    }
}
