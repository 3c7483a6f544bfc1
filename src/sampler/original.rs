//! The samplers of the original repository (ai-forever/Kandinsky-2, `kandinsky2/model`): `p_sampler` and the
//! prior's (`gaussian_diffusion.py`, `respace.py`), `ddim_sampler` and `plms_sampler` (`samplers.py`).
//!
//! The arithmetic is that of the classes of the same names; timesteps, bounds and roundings differ.

use super::choice::{calls, spans};
use super::ddim::Ddim;
use super::ddpm::{Ancestral, Posterior, Variance};
use super::pndm::{self, Pndm};
use super::{Choice, Sampler};
use crate::error::Result;
use crate::math::{count, nearest};
use crate::predict::{Clipping, Prediction};
use crate::schedule::{Schedule, SchedulerConfig};

/// What the prior keeps predictions in.
const PRIOR: Clipping = Clipping::Clip(10.0);

/// `p_sampler`: DDPM with learned variance.
pub fn ddpm(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    ancestral(config, choice, Clipping::of_original(config)?, Variance::LearnedRange)
}

/// The prior's sampler.
pub fn prior(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    ancestral(config, choice, PRIOR, Variance::FixedSmall)
}

fn ancestral(
    config: &SchedulerConfig,
    choice: &Choice<'_>,
    clipping: Clipping,
    variance: Variance,
) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let times = match choice.count(2..=schedule.len(), schedule.len())? {
        None => choice.given().to_vec(),
        Some(steps) => respaced(schedule.len(), steps),
    };
    let spans = choice.visited(spans(&times))?;
    let powers = schedule.exact();
    let power = |t: i32| usize::try_from(t).ok().and_then(|t| powers.get(t)).copied().unwrap_or(1.0);
    let posterior = |(t, next): &(i32, i32)| Posterior::exact((power(*t), power(*next)), *next >= 0);
    Ok(Box::new(Ancestral {
        posteriors: spans.iter().map(posterior).collect(),
        timesteps: calls(&spans, schedule.len()),
        prediction: Prediction::of(config)?,
        clipping,
        variance,
        always_draws: true,
    }))
}

/// `space_timesteps` of one section, falling. The stride is added up, so ties fall as the original's do.
fn respaced(train: usize, steps: usize) -> Vec<i32> {
    let stride = count(train - 1) / count(steps.max(2) - 1);
    let places = std::iter::successors(Some(0.0), |place| Some(place + stride));
    let mut times: Vec<i32> = places.take(steps).map(nearest).collect();
    times.reverse();
    times
}

/// `ddim_sampler`, always deterministic.
pub fn ddim(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let spans = choice.visited(spans(&strided(&schedule, choice)?))?;
    Ok(Box::new(Ddim {
        prediction: Prediction::of(config)?,
        clipping: Clipping::None,
        eta: 0.0,
        last_alpha: schedule.first_alpha(),
        timesteps: calls(&spans, schedule.len()),
        spans,
        schedule,
    }))
}

/// `plms_sampler`.
pub fn plms(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    choice.equal_steps(1..=schedule.len(), schedule.len())?;
    let spans = choice.visited(spans(&strided(&schedule, choice)?))?;
    let last_alpha = schedule.first_alpha();
    let calls = pndm::calls(&spans, None);
    Ok(Box::new(Pndm::new(schedule, Prediction::of(config)?, Clipping::None, last_alpha, calls)))
}

/// `make_ddim_timesteps`, falling: whole strides from 1 up to the end, so more steps than were asked where
/// their number does not divide the timesteps'.
fn strided(schedule: &Schedule, choice: &Choice<'_>) -> Result<Vec<i32>> {
    let train = schedule.len();
    let Some(steps) = choice.count(1..=train, train)? else { return Ok(choice.given().to_vec()) };
    let last = i32::try_from(train).unwrap_or(i32::MAX);
    let mut times: Vec<i32> = (1..=last).step_by((train / steps).max(1)).collect();
    times.reverse();
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use crate::sampler::{Role, Steps};

    #[test]
    fn timesteps_are_the_originals() {
        assert_eq!(respaced(1000, 5), [999, 749, 500, 250, 0]);
        let schedule = Schedule::image_to_image();
        let choice = |steps| Choice {
            profile: Profile::Original,
            steps: Steps::Count(steps),
            ..Choice::new("ddim", Role::Decoder, steps)
        };
        assert_eq!(strided(&schedule, &choice(4)).unwrap(), [751, 501, 251, 1]);
        let many = strided(&schedule, &choice(150)).unwrap();
        assert_eq!((many.len(), many[0]), (167, 997)); // 150 does not divide 1000
    }
}
