//! Ancestral sampling with Euler's steps (Song et al., "Score-based generative modeling through stochastic
//! differential equations", appendix F; diffusers `EulerAncestralDiscreteScheduler`): each step goes below its
//! end and adds noise to come back up.

use super::walk::{Unscaled, Walk, slope};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::math::narrow;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// Ancestral sampling with Euler's steps.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    Unscaled::boxed(config, choice, march)
}

fn march(walk: &Walk, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
    for leg in walk.legs() {
        let x0 = walk.clean_unscaled(denoiser, &x, leg.sigma, &leg.step)?;
        let ratio = leg.ratio();
        let up = leg.next * (1.0 - ratio * ratio).max(0.0).sqrt();
        let down = leg.next * ratio; // sqrt(next² - up²)
        x = &x + slope(&x, &x0, leg.sigma) * narrow(down - leg.sigma);
        x.scaled_add(narrow(up), &noise.draw(x0.shape())?);
        denoiser.done(&leg.step, &x, &x0)?;
    }
    Ok(x)
}
