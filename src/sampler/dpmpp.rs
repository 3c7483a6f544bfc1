//! DPM-Solver++(2M) (Lu et al., "DPM-Solver++", algorithm 2) and its stochastic form (appendix; diffusers
//! `DPMSolverMultistepScheduler` with `dpmsolver++` and `sde-dpmsolver++`): the exponential of the noise level
//! is integrated exactly, the predicted clean tensor as a line through its last two values.

use super::sigma_schedule::{Ends, SigmaSchedule, SigmaStep, extrapolate_x0};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// The last steps of fewer steps than this are of first order, since the line would overshoot.
const FEW: usize = 15;

struct Dpmpp {
    schedule: SigmaSchedule,
    stochastic: bool,
    lower_order_final: bool,
    euler_at_final: bool,
}

/// DPM-Solver++ of second order.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    config.only("solver_order", &2.into())?;
    config.only("solver_type", &"midpoint".into())?;
    config.only("lambda_min_clipped", &serde_json::Value::Null)?;
    Ok(Box::new(Dpmpp {
        schedule: SigmaSchedule::new(config, choice, Ends::Open)?,
        stochastic: config.choice("algorithm_type", &["dpmsolver++", "sde-dpmsolver++"])? == 1,
        lower_order_final: config.flag("lower_order_final", true)?,
        euler_at_final: config.flag("euler_at_final", false)?,
    }))
}

impl Dpmpp {
    fn is_first_order(&self, step: &SigmaStep) -> bool {
        let few = self.lower_order_final && step.all < FEW;
        step.left == 0 && (few || self.euler_at_final || step.next == 0.0)
    }
}

impl Sampler for Dpmpp {
    fn timesteps(&self) -> &[f32] {
        self.schedule.timesteps()
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.schedule.add_noise_scaled(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let mut before: Option<(Tensor, f64)> = None;
        for step in self.schedule.steps() {
            let x0 = self.schedule.clean(denoiser, &x, step.sigma, &step.call)?;
            let line = before.filter(|_| !self.is_first_order(step));
            let target = line.map(|(before, length)| extrapolate_x0(&x0, &before, step.h() / length));
            let decay = if self.stochastic { step.ratio() * step.ratio() } else { step.ratio() };
            x = step.exponential_step(&x, target.as_ref().unwrap_or(&x0), decay);
            if self.stochastic {
                x.scaled_add(step.sigma_up(), &noise.draw(x0.shape())?);
            }
            denoiser.done(&step.call, &x, &x0)?;
            before = Some((x0, step.h()));
        }
        Ok(x)
    }
}
