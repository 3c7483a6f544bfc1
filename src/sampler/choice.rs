//! Which sampler is wanted, and at which timesteps.

use super::Role;
use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::schedule::as_floats;
use std::ops::RangeInclusive;

/// What a sampler is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// Its name in [`SAMPLERS`](super::SAMPLERS).
    pub name: &'a str,
    /// Whose sampler it is.
    pub role: Role,
    /// How many steps, or where.
    pub steps: Steps,
    /// How many of the first steps are left out, to start from a picture that is only partly noise.
    pub skip: usize,
    /// Whose arithmetic it has.
    pub profile: Profile,
}

impl<'a> Choice<'a> {
    /// The whole way in `steps` steps, as diffusers does it.
    pub const fn new(name: &'a str, role: Role, steps: usize) -> Self {
        Self { name, role, steps: Steps::Count(steps), skip: 0, profile: Profile::Diffusers }
    }

    /// The number of steps, or None where timesteps are given, for `train` training timesteps.
    pub(super) fn count(&self, limits: RangeInclusive<usize>, train: usize) -> Result<Option<usize>> {
        match &self.steps {
            Steps::Count(steps) => check_steps(*steps, &limits).map(|()| Some(*steps)),
            Steps::At(times) => check_times(times, train).map(|()| None),
        }
    }

    /// The number of steps for a sampler whose formula asks for equal ones.
    pub(super) fn equal_steps(&self, limits: RangeInclusive<usize>, train: usize) -> Result<usize> {
        let message =
            || format!("the sampler {:?} takes equal steps, so no timesteps can be given to it", self.name);
        self.count(limits, train)?.ok_or_else(|| Error::new(Kind::BadRequest, message()))
    }

    /// Timesteps that are given; empty where a number of steps is.
    pub(super) fn given(&self) -> &[i32] {
        match &self.steps {
            Steps::Count(_) => &[],
            Steps::At(times) => times,
        }
    }

    /// What is left of one item a step.
    pub(super) fn visited<T>(&self, all: Vec<T>) -> Result<Vec<T>> {
        let steps = all.len();
        let left: Vec<T> = all.into_iter().skip(self.skip).collect();
        if left.is_empty() {
            let message = format!("{} first steps were to be left out of {steps}", self.skip);
            return Err(Error::new(Kind::BadRequest, message));
        }
        Ok(left)
    }
}

/// Where a sampler stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steps {
    /// So many steps, spread by the scheduler's settings.
    Count(usize),
    /// These timesteps, falling.
    At(Vec<i32>),
}

/// Where each step starts and ends; the last ends below timestep 0, at the clean picture.
pub(super) fn spans(times: &[i32]) -> Vec<(i32, i32)> {
    times.iter().copied().zip(times.iter().skip(1).copied().chain([-1])).collect()
}

/// What the network is called with where each step starts. With as many steps as timesteps an offset reaches
/// one beyond the last, where the reference fails.
pub(super) fn calls(spans: &[(i32, i32)], train: usize) -> Vec<f32> {
    let last = i32::try_from(train).unwrap_or(i32::MAX) - 1;
    as_floats(&spans.iter().map(|(t, _)| *t.min(&last)).collect::<Vec<_>>())
}

/// Refuses no step at all, and more steps than there are timesteps for.
fn check_steps(steps: usize, limits: &RangeInclusive<usize>) -> Result<()> {
    if limits.contains(&steps) {
        return Ok(());
    }
    let (least, most) = (limits.start(), limits.end());
    let message = format!("{steps} sampling steps were asked; the limit is {least} to {most}");
    Err(Error::new(Kind::BadRequest, message))
}

/// Refuses timesteps that training had not or that do not fall.
fn check_times(times: &[i32], train: usize) -> Result<()> {
    let known = |t: &i32| usize::try_from(*t).is_ok_and(|t| t < train);
    let falls = times.iter().zip(times.iter().skip(1)).all(|(t, next)| t > next);
    if !times.is_empty() && falls && times.iter().all(known) {
        return Ok(());
    }
    let last = train.saturating_sub(1);
    let message = format!("the timesteps {times:?} do not fall from at most {last} to at least 0");
    Err(Error::new(Kind::BadRequest, message))
}
