//! PNDM (Liu et al., "Pseudo numerical methods for diffusion models on manifolds", formulas 9 and 12 and
//! algorithm 2; diffusers `PNDMScheduler`): the noise is extrapolated from earlier calls by Adams' and
//! Bashforth's weights, after a start by Runge and Kutta (`pndm`) or by one improved step (`plms`).

use super::ddim::strides;
use super::plan::calls;
use super::{Choice, Denoiser, Noise, Sampler, Step, mix};
use crate::error::Result;
use crate::math::narrow;
use crate::predict::{Bound, Prediction};
use crate::schedule::{Schedule, SchedulerConfig, Spacing, as_floats};
use crate::tensor::Tensor;
use ndarray::Zip;

/// Most steps by Runge and Kutta: they make the history that the weights of four calls need.
const STARTS: usize = 3;

pub(super) struct Pndm {
    schedule: Schedule,
    prediction: Prediction,
    bound: Bound,
    last_alpha: f32,
    spans: Vec<(i32, i32)>,
    /// Half a step, and how many steps Runge and Kutta take; None for an improved first step.
    half: Option<(i32, usize)>,
    timesteps: Vec<f32>,
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
    let (prediction, bound) = (Prediction::of(config)?, Bound::of(config, false)?);
    Ok(Box::new(Pndm::new(schedule, prediction, bound, last, spans, half)))
}

impl Pndm {
    /// Over `spans`; `half` a step where Runge and Kutta start.
    pub(super) fn new(
        schedule: Schedule,
        prediction: Prediction,
        bound: Bound,
        last_alpha: f32,
        spans: Vec<(i32, i32)>,
        half: Option<i32>,
    ) -> Self {
        let half = half.map(|half| (half, STARTS.min(spans.len().saturating_sub(1))));
        let own = calls(&spans, schedule.len());
        let mut timesteps = Vec::new();
        for (index, (t, next)) in own.iter().zip(own.iter().skip(1).map(Some).chain([None])).enumerate() {
            timesteps.push(*t);
            match (half, spans.get(index + 1), next) {
                (Some((half, starts)), Some((end, _)), Some(next)) if index < starts => {
                    timesteps.extend(as_floats(&[end + half; 2]));
                    timesteps.push(*next);
                }
                (None, _, Some(next)) if index == 0 => timesteps.push(*next),
                _ => {}
            }
        }
        Self { schedule, prediction, bound, last_alpha, spans, half, timesteps }
    }

    /// x moved along `eps` from one timestep to another (formula 9).
    fn moved(&self, x: &Tensor, eps: &Tensor, from: i32, to: i32) -> Tensor {
        let now = f64::from(self.schedule.alpha(from, self.last_alpha));
        let then = f64::from(self.schedule.alpha(to, self.last_alpha));
        let keep = narrow((then / now).sqrt());
        let slope = (then - now) / (now * (1.0 - then).sqrt() + (now * (1.0 - now) * then).sqrt());
        let slope = narrow(slope);
        Zip::from(x).and(eps).map_collect(|x, eps| keep * x - slope * eps)
    }
}

/// The calls of one run, in their order.
struct Calls<'a> {
    sampler: &'a Pndm,
    denoiser: &'a mut dyn Denoiser,
    index: usize,
}

impl Calls<'_> {
    /// Calls the network at x and takes `next` of the noise that it predicts.
    fn call(&mut self, x: &Tensor, next: impl FnOnce(Tensor) -> Tensor) -> Result<Tensor> {
        let Pndm { schedule, prediction, bound, timesteps, .. } = self.sampler;
        let timestep = timesteps.get(self.index).copied().unwrap_or(0.0);
        let step = Step { index: self.index, total: timesteps.len(), timestep };
        self.index += 1;
        let now = schedule.alpha(crate::math::nearest(f64::from(timestep)), 1.0);
        let (keep, add) = (now.sqrt(), (1.0 - now).sqrt());
        let out = self.denoiser.predict(x, &step)?;
        let x0 = bound.apply(prediction.clean(&out, x, keep, add));
        let eps = match bound {
            Bound::None => prediction.noise(&out, x, keep, add),
            _ => Prediction::Sample.noise(&x0, x, keep, add),
        };
        let moved = next(eps);
        self.denoiser.done(&step, &moved, &x0)?;
        Ok(moved)
    }

    /// Runge and Kutta's step of four calls; also the first call's noise.
    fn runge_kutta(&mut self, x: &Tensor, from: i32, to: i32, half: i32) -> Result<(Tensor, Tensor)> {
        let (pndm, mut first, mut sum) =
            (self.sampler, Tensor::default(x.raw_dim()), Tensor::default(x.raw_dim()));
        let mut at = x.clone();
        for (weight, end) in [(1.0, from - half), (2.0, to + half), (2.0, to)] {
            at = self.call(&at, |eps| {
                sum.scaled_add(weight / 6.0, &eps);
                let moved = pndm.moved(x, &eps, from, end);
                if weight < 2.0 {
                    first = eps;
                }
                moved
            })?;
        }
        let moved = self.call(&at, |eps| pndm.moved(x, &(&sum + &(eps / 6.0)), from, to))?;
        Ok((moved, first))
    }

    /// A step of two calls: as far as the first points, then anew by the mean of both.
    fn improved(&mut self, x: &Tensor, from: i32, to: (i32, i32)) -> Result<(Tensor, Tensor)> {
        let pndm = self.sampler;
        let mut first = Tensor::default(x.raw_dim());
        let tried = self.call(x, |eps| {
            let moved = pndm.moved(x, &eps, from, to.0);
            first = eps;
            moved
        })?;
        let moved = self.call(&tried, |eps| pndm.moved(x, &((eps + &first) / 2.0), from, to.1))?;
        Ok((moved, first))
    }
}

/// The noise extrapolated from up to four calls, the newest last (formula 12).
fn extrapolated(past: &[Tensor]) -> Option<Tensor> {
    let weights: &[f32] = match past.len() {
        0 | 1 => &[1.0],
        2 => &[1.5, -0.5],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    };
    past.iter().rev().zip(weights).map(|(eps, weight)| eps * *weight).reduce(|sum, part| sum + part)
}

impl Sampler for Pndm {
    fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    fn noised(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let now = self.spans.first().map_or(1.0, |(t, _)| self.schedule.alpha(*t, 1.0));
        mix(x0, noise, now.sqrt(), (1.0 - now).sqrt())
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, mut x: Tensor, _: &mut dyn Noise) -> Result<Tensor> {
        let mut calls = Calls { sampler: self, denoiser, index: 0 };
        let mut past: Vec<Tensor> = Vec::new();
        for (index, (t, next)) in self.spans.iter().enumerate() {
            let following = self.spans.get(index + 1).map(|(t, _)| *t);
            let started = match (self.half, following) {
                (Some((half, starts)), Some(to)) if index < starts => {
                    Some(calls.runge_kutta(&x, *t, to, half)?)
                }
                (None, Some(to)) if index == 0 => Some(calls.improved(&x, *t, (*next, to))?),
                _ => None,
            };
            if let Some((moved, eps)) = started {
                x = moved;
                past.push(eps);
                continue;
            }
            let history = past.len().saturating_sub(3);
            x = calls.call(&x, |eps| {
                past.drain(..history);
                past.push(eps);
                extrapolated(&past).map_or_else(|| x.clone(), |eps| self.moved(&x, &eps, *t, *next))
            })?;
        }
        Ok(x)
    }
}
