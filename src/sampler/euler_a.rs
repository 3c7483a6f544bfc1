//! Ancestral sampling with Euler's steps (Song et al., "Score-based generative modeling through stochastic
//! differential equations", appendix F; diffusers `EulerAncestralDiscreteScheduler`): each step goes below its
//! end and adds noise to come back up.

use super::sigma_schedule::{SigmaSchedule, Unscaled, derivative};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::math::narrow;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// Ancestral sampling with Euler's steps.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    Unscaled::boxed(config, choice, integrate)
}

fn integrate(
    schedule: &SigmaSchedule,
    denoiser: &mut dyn Denoiser,
    mut x: Tensor,
    noise: &mut dyn Noise,
) -> Result<Tensor> {
    for step in schedule.steps() {
        let x0 = schedule.clean_unscaled(denoiser, &x, step.sigma, &step.call)?;
        let ratio = step.ratio();
        let up = step.next * (1.0 - ratio * ratio).max(0.0).sqrt();
        let down = step.next * ratio; // sqrt(next² - up²)
        x = &x + derivative(&x, &x0, step.sigma) * narrow(down - step.sigma);
        x.scaled_add(narrow(up), &noise.draw(x0.shape())?);
        denoiser.done(&step.call, &x, &x0)?;
    }
    Ok(x)
}
