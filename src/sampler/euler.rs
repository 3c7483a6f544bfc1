//! Euler's method on the probability-flow equation (Karras et al., "Elucidating the design space of
//! diffusion-based generative models", algorithm 1 without its correction; diffusers
//! `EulerDiscreteScheduler`): x moves along the line to the clean tensor.

use super::sigma_schedule::{SigmaSchedule, Unscaled, derivative};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// Euler's method.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    config.only("interpolation_type", &"linear".into())?;
    config.only("timestep_type", &"discrete".into())?;
    config.only("sigma_min", &serde_json::Value::Null)?;
    config.only("sigma_max", &serde_json::Value::Null)?;
    Unscaled::boxed(config, choice, integrate)
}

fn integrate(
    schedule: &SigmaSchedule,
    denoiser: &mut dyn Denoiser,
    mut x: Tensor,
    _: &mut dyn Noise,
) -> Result<Tensor> {
    for step in schedule.steps() {
        let x0 = schedule.clean_unscaled(denoiser, &x, step.sigma, &step.call)?;
        x = &x + derivative(&x, &x0, step.sigma) * step.dsigma();
        denoiser.done(&step.call, &x, &x0)?;
    }
    Ok(x)
}
