//! UniPC of second order (Zhao et al., "UniPC: a unified predictor-corrector framework", algorithms 5 and 6 with
//! B2; diffusers `UniPCMultistepScheduler` with `bh2`): DPM-Solver++'s step, done again once the network has
//! told the clean tensor at its end, which costs no call.

use super::walk::{Ends, Leg, Walk, carried};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::math::narrow;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

struct UniPc {
    walk: Walk,
    lower_order_final: bool,
}

/// UniPC of second order.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let obeyed = [
        ("solver_order", 2.into()),
        ("solver_type", "bh2".into()),
        ("predict_x0", true.into()),
        ("disable_corrector", serde_json::json!([])),
        ("solver_p", serde_json::Value::Null),
        ("sigma_min", serde_json::Value::Null),
        ("sigma_max", serde_json::Value::Null),
        ("shift_terminal", serde_json::Value::Null),
    ];
    obeyed.iter().try_for_each(|(name, value)| config.only(name, value))?;
    let lower_order_final = config.flag("lower_order_final", true)?;
    Ok(Box::new(UniPc { walk: Walk::new(config, choice, Ends::Open)?, lower_order_final }))
}

/// A step that was predicted and waits for its correction.
struct Predicted {
    leg: Leg,
    /// x at its start.
    x: Tensor,
    /// The clean tensor there.
    x0: Tensor,
    /// The clean tensor a step earlier, and that step's share of this one, where the prediction used them.
    before: Option<(Tensor, f64)>,
}

impl Predicted {
    fn end(&self) -> Tensor {
        let target = self.before.as_ref().map(|(before, share)| carried(&self.x0, before, 1.0 / share));
        self.leg.advanced(&self.x, target.as_ref().unwrap_or(&self.x0), self.leg.ratio())
    }

    /// The end anew, now that `x0` is the clean tensor there.
    fn corrected(&self, x0: &Tensor) -> Tensor {
        let mut target = self.x0.clone();
        let mut weight = 0.5;
        if let Some((before, share)) = &self.before {
            let (own, earlier) = weights(&self.leg, *share);
            weight = own;
            target.scaled_add(narrow(earlier / share), &(&self.x0 - before));
        }
        target.scaled_add(narrow(weight), &(x0 - &self.x0));
        self.leg.advanced(&self.x, &target, self.leg.ratio())
    }
}

/// The corrector's weights of the differences to the end and from a step earlier (formula 12 of the paper for
/// two differences, solved).
fn weights(leg: &Leg, share: f64) -> (f64, f64) {
    let (h, fall) = (leg.length(), leg.ratio() - 1.0);
    let first = -fall / h - 1.0;
    let (one, two) = (first / fall, 2.0 * (-first / h - 0.5) / fall);
    let earlier = (one - two) / (1.0 + share);
    (one - earlier, earlier)
}

impl Sampler for UniPc {
    fn timesteps(&self) -> &[f32] {
        self.walk.timesteps()
    }

    fn noised(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.walk.noised_scaled(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, _: &mut dyn Noise) -> Result<Tensor> {
        let mut last: Option<Predicted> = None;
        for leg in self.walk.legs() {
            let x0 = self.walk.clean(denoiser, &x, leg.sigma, &leg.step)?;
            if let Some(last) = &last {
                x = last.corrected(&x0);
            }
            let first_order = leg.left == 0 && (self.lower_order_final || leg.next == 0.0);
            let before = last.filter(|_| !first_order);
            let before = before.map(|last| (last.x0, last.leg.length() / leg.length()));
            let step = Predicted { leg: *leg, x, x0, before };
            x = step.end();
            denoiser.done(&leg.step, &x, &step.x0)?;
            last = Some(step);
        }
        Ok(x)
    }
}
