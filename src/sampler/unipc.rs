//! UniPC of second order (Zhao et al., "UniPC: a unified predictor-corrector framework", algorithms 5 and 6 with
//! B2; diffusers `UniPCMultistepScheduler` with `bh2`): DPM-Solver++'s step, done again once the network has
//! told the clean tensor at its end, which costs no call.

use super::sigma_schedule::{Ends, SigmaSchedule, SigmaStep, extrapolate_x0};
use super::{Choice, Denoiser, Noise, Sampler};
use crate::error::Result;
use crate::math::narrow;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;

struct UniPc {
    schedule: SigmaSchedule,
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
    Ok(Box::new(UniPc { schedule: SigmaSchedule::new(config, choice, Ends::Open)?, lower_order_final }))
}

/// A step that was predicted and waits for its correction.
struct Predicted {
    step: SigmaStep,
    /// x at its start.
    x: Tensor,
    /// The clean tensor there.
    x0: Tensor,
    /// The clean tensor a step earlier, and that step's share of this one, where the prediction used them.
    before: Option<(Tensor, f64)>,
}

impl Predicted {
    fn end(&self) -> Tensor {
        let target =
            self.before.as_ref().map(|(before, share)| extrapolate_x0(&self.x0, before, 1.0 / share));
        self.step.exponential_step(&self.x, target.as_ref().unwrap_or(&self.x0), self.step.ratio())
    }

    /// The end anew, now that `x0` is the clean tensor there.
    fn corrected(&self, x0: &Tensor) -> Tensor {
        let mut target = self.x0.clone();
        let mut weight = 0.5;
        if let Some((before, share)) = &self.before {
            let (own, earlier) = weights(&self.step, *share);
            weight = own;
            target.scaled_add(narrow(earlier / share), &(&self.x0 - before));
        }
        target.scaled_add(narrow(weight), &(x0 - &self.x0));
        self.step.exponential_step(&self.x, &target, self.step.ratio())
    }
}

/// The corrector's weights of the differences to the end and from a step earlier (formula 12 of the paper for
/// two differences, solved).
fn weights(step: &SigmaStep, share: f64) -> (f64, f64) {
    let (h, fall) = (step.h(), step.ratio() - 1.0);
    let first = -fall / h - 1.0;
    let (one, two) = (first / fall, 2.0 * (-first / h - 0.5) / fall);
    let earlier = (one - two) / (1.0 + share);
    (one - earlier, earlier)
}

impl Sampler for UniPc {
    fn timesteps(&self) -> &[f32] {
        self.schedule.timesteps()
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.schedule.add_noise_scaled(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, _: &mut dyn Noise) -> Result<Tensor> {
        let mut last: Option<Predicted> = None;
        for step in self.schedule.steps() {
            let x0 = self.schedule.clean(denoiser, &x, step.sigma, &step.call)?;
            if let Some(last) = &last {
                x = last.corrected(&x0);
            }
            let first_order = step.left == 0 && (self.lower_order_final || step.next == 0.0);
            let before = last.filter(|_| !first_order);
            let before = before.map(|last| (last.x0, last.step.h() / step.h()));
            let predicted = Predicted { step: *step, x, x0, before };
            x = predicted.end();
            denoiser.done(&step.call, &x, &predicted.x0)?;
            last = Some(predicted);
        }
        Ok(x)
    }
}
