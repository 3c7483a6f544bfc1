//! PNDM (Liu et al., "Pseudo numerical methods for diffusion models on manifolds", formulas 9 and 12 and
//! algorithm 2; diffusers `PNDMScheduler`): x moves along the noise extrapolated from earlier calls by Adams'
//! and Bashforth's weights, after a start by Runge and Kutta (`pndm`) or by one improved step (`plms`).

use super::choice;
use super::ddim::strides;
use super::{Choice, Denoiser, Noise, Sampler, Step, mix};
use crate::error::Result;
use crate::math::narrow;
use crate::predict::{Clipping, Prediction};
use crate::schedule::{Schedule, SchedulerConfig, Spacing};
use crate::tensor::Tensor;
use ndarray::Zip;

/// Most steps by Runge and Kutta: they make the history that four weights need.
const STARTS: usize = 3;
/// Adams' and Bashforth's weights for one to four calls, the newest first (formula 12).
const ADAMS: [&[f32]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];
/// CallStatistics whose noise may still count: three steps of four, and the newest.
const KEPT: usize = 4 * STARTS + 1;

pub(super) struct Pndm {
    schedule: Schedule,
    prediction: Prediction,
    clipping: Clipping,
    last_alpha: f32,
    calls: Vec<Call>,
    timesteps: Vec<f32>,
}

/// A call of the network, and how x moves on it.
pub(super) struct Call {
    at: i32,
    /// Whether a step begins here; else x moves anew from where the step began.
    begins: bool,
    from: i32,
    to: i32,
    /// What the noise of which call counts, as calls back from this one.
    weights: Vec<(usize, f32)>,
}

/// PNDM, or PLMS where the setting `skip_prk_steps` is on. Of fewer than four steps, where the reference's
/// PNDM fails, Runge and Kutta take all but the last.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let spacing = config.spacing(Spacing::Leading)?;
    let steps = choice.equal_steps(spacing.fewest()..=schedule.len(), schedule.len())?;
    let spans = choice.visited(strides(spacing, schedule.len(), steps, config.steps_offset()?))?;
    let half = i32::try_from(schedule.len() / steps / 2).unwrap_or(0);
    let half = (!config.flag("skip_prk_steps", false)?).then_some(half);
    let last = if config.flag("set_alpha_to_one", false)? { 1.0 } else { schedule.first_alpha() };
    let (prediction, clipping) = (Prediction::of(config)?, Clipping::of(config, false)?);
    Ok(Box::new(Pndm::new(schedule, prediction, clipping, last, calls(&spans, half))))
}

/// The calls of `plms` over `spans`, or of `pndm` where `half` a step is given.
pub(super) fn calls(spans: &[(i32, i32)], half: Option<i32>) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut begun: Vec<usize> = Vec::new();
    for (index, (t, next)) in spans.iter().copied().enumerate() {
        begun.insert(0, calls.len());
        begun.truncate(ADAMS.len());
        let step = match (half, spans.get(index + 1)) {
            (Some(half), Some((to, _))) if index < STARTS => runge_kutta(t, *to, half),
            (None, Some((to, _))) if index == 0 => improved(t, next, *to),
            _ => {
                let weights = ADAMS.get(begun.len() - 1).copied().unwrap_or_default();
                let back = begun.iter().map(|begun| calls.len() - begun);
                vec![(t, next, back.zip(weights.iter().copied()).collect())]
            }
        };
        let call = |(place, (at, to, weights))| Call { at, begins: place == 0, from: t, to, weights };
        calls.extend(step.into_iter().enumerate().map(call));
    }
    calls
}

/// Where the network is called, where x moves then, and on which noise.
type Try = (i32, i32, Vec<(usize, f32)>);

/// Runge and Kutta's step of four calls.
fn runge_kutta(from: i32, to: i32, half: i32) -> Vec<Try> {
    let sum = vec![(3, 1.0 / 6.0), (2, 1.0 / 3.0), (1, 1.0 / 3.0), (0, 1.0 / 6.0)];
    let own = || vec![(0, 1.0)];
    vec![(from, from - half, own()), (to + half, to + half, own()), (to + half, to, own()), (to, to, sum)]
}

/// A step of two calls: as far as the first points, then anew by the mean of both.
fn improved(from: i32, next: i32, to: i32) -> Vec<Try> {
    vec![(from, next, vec![(0, 1.0)]), (to, to, vec![(1, 0.5), (0, 0.5)])]
}

impl Pndm {
    pub(super) fn new(
        schedule: Schedule,
        prediction: Prediction,
        clipping: Clipping,
        last_alpha: f32,
        calls: Vec<Call>,
    ) -> Self {
        let places: Vec<(i32, i32)> = calls.iter().map(|call| (call.at, call.to)).collect();
        let timesteps = choice::calls(&places, schedule.len());
        Self { schedule, prediction, clipping, last_alpha, calls, timesteps }
    }

    /// x moved along `eps` from one timestep to another (formula 9).
    fn moved(&self, x: &Tensor, eps: &Tensor, from: i32, to: i32) -> Tensor {
        let alpha = |t: i32| f64::from(self.schedule.alpha(t, self.last_alpha));
        let (now, then) = (alpha(from), alpha(to));
        let alpha_t = narrow((then / now).sqrt());
        let scale = now * (1.0 - then).sqrt() + (now * (1.0 - now) * then).sqrt();
        let slope = narrow((then - now) / scale);
        Zip::from(x).and(eps).map_collect(|x, eps| alpha_t * x - slope * eps)
    }

    /// The clean tensor and the noise that the network means at x.
    fn meant(&self, out: &Tensor, x: &Tensor, at: i32) -> (Tensor, Tensor) {
        let now = self.schedule.alpha(at, 1.0);
        let (alpha_t, sigma_t) = (now.sqrt(), (1.0 - now).sqrt());
        let x0 = self.clipping.apply(self.prediction.clean(out, x, alpha_t, sigma_t));
        let eps = match self.clipping {
            Clipping::None => self.prediction.noise(out, x, alpha_t, sigma_t),
            _ => Prediction::Sample.noise(&x0, x, alpha_t, sigma_t),
        };
        (x0, eps)
    }
}

impl Sampler for Pndm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let now = self.calls.first().map_or(1.0, |call| self.schedule.alpha(call.at, 1.0));
        mix(x0, noise, now.sqrt(), (1.0 - now).sqrt())
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, _: &mut dyn Noise) -> Result<Tensor> {
        let mut start = x.clone();
        let mut noises: Vec<Tensor> = Vec::new();
        let total = self.calls.len();
        for (index, (call, timestep)) in self.calls.iter().zip(&self.timesteps).enumerate() {
            let step = Step { index, total, timestep: *timestep };
            let out = denoiser.predict(&x, &step)?;
            let (x0, eps) = self.meant(&out, &x, call.at);
            noises.drain(..noises.len().saturating_sub(KEPT - 1));
            noises.push(eps);
            let mut eps = Tensor::zeros(x.raw_dim());
            for (back, weight) in &call.weights {
                noises.iter().rev().nth(*back).into_iter().for_each(|noise| eps.scaled_add(*weight, noise));
            }
            if call.begins {
                start = x;
            }
            x = self.moved(&start, &eps, call.from, call.to);
            denoiser.done(&step, &x, &x0)?;
        }
        Ok(x)
    }
}
