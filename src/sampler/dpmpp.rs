//! DPM-Solver++(2M) (Lu et al., "DPM-Solver++", algorithm 2) and its stochastic form (appendix; diffusers
//! `DPMSolverMultistepScheduler` with `dpmsolver++` and `sde-dpmsolver++`): the exponential of the noise level
//! is integrated exactly, the predicted clean tensor as a line through its last two values.

use super::walk::{Ends, Leg, Walk, carried};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

/// The last steps of fewer steps than this are of first order, since the line would overshoot.
const FEW: usize = 15;

struct Dpmpp {
    walk: Walk,
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
        walk: Walk::new(config, choice, Ends::Open)?,
        stochastic: config.choice("algorithm_type", &["dpmsolver++", "sde-dpmsolver++"])? == 1,
        lower_order_final: config.flag("lower_order_final", true)?,
        euler_at_final: config.flag("euler_at_final", false)?,
    }))
}

impl Dpmpp {
    fn is_first_order(&self, leg: &Leg) -> bool {
        let few = self.lower_order_final && leg.all < FEW;
        leg.left == 0 && (few || self.euler_at_final || leg.next == 0.0)
    }
}

impl Sampler for Dpmpp {
    fn timesteps(&self) -> &[f32] {
        self.walk.timesteps()
    }

    fn noised(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.walk.noised_scaled(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        let mut before: Option<(Tensor, f64)> = None;
        for leg in self.walk.legs() {
            let x0 = self.walk.clean(denoiser, &x, leg.sigma, &leg.step)?;
            let line = before.filter(|_| !self.is_first_order(leg));
            let target = line.map(|(before, length)| carried(&x0, &before, leg.length() / length));
            let decay = if self.stochastic { leg.ratio() * leg.ratio() } else { leg.ratio() };
            x = leg.advanced(&x, target.as_ref().unwrap_or(&x0), decay);
            if self.stochastic {
                x.scaled_add(leg.fresh(), &noise.draw(x0.shape())?);
            }
            denoiser.done(&leg.step, &x, &x0)?;
            before = Some((x0, leg.length()));
        }
        Ok(x)
    }
}
