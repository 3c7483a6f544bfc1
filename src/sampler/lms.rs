//! Linear multistep of fourth order on the probability-flow equation (Adams and Bashforth's method with steps of
//! any length, as k-diffusion has it; diffusers `LMSDiscreteScheduler`): the slope is the polynomial through its
//! last values, integrated over the step.

use super::sigma_schedule::{SigmaSchedule, SigmaStep, Unscaled, derivative};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::math::narrow;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// Slopes that are kept.
const ORDER: usize = 4;
/// Gauss' two points, half of their distance in halves of an interval: exact for the cubics that four values make.
const GAUSS: f64 = 0.577_350_269_189_625_8;

/// Linear multistep of fourth order.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    Unscaled::boxed(config, choice, integrate)
}

/// What the slope at `sigmas[which]` counts for in the step: its Lagrange polynomial, integrated.
fn weight(step: &SigmaStep, sigmas: &[f64], which: f64) -> f32 {
    let (middle, half) = ((step.sigma + step.next) / 2.0, (step.next - step.sigma) / 2.0);
    let others = || sigmas.iter().filter(|other| **other != which);
    let polynomial = |at: f64| others().map(|other| (at - other) / (which - other)).product::<f64>();
    narrow(half * (polynomial(middle - GAUSS * half) + polynomial(middle + GAUSS * half)))
}

fn integrate(
    schedule: &SigmaSchedule,
    denoiser: &mut dyn Denoiser,
    mut x: Tensor,
    _: &mut dyn Noise,
) -> Result<Tensor> {
    let (mut slopes, mut sigmas): (Vec<Tensor>, Vec<f64>) = (Vec::new(), Vec::new());
    for step in schedule.steps() {
        let x0 = schedule.clean_unscaled(denoiser, &x, step.sigma, &step.call)?;
        let old = slopes.len().saturating_sub(ORDER - 1);
        slopes.drain(..old);
        sigmas.drain(..old);
        slopes.push(derivative(&x, &x0, step.sigma));
        sigmas.push(step.sigma);
        for (slope, which) in slopes.iter().zip(&sigmas) {
            x.scaled_add(weight(step, &sigmas, *which), slope);
        }
        denoiser.done(&step.call, &x, &x0)?;
    }
    Ok(x)
}
