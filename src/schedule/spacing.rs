//! Which of the training timesteps a picture visits ("Common diffusion noise schedules and sample steps are
//! flawed", table 2, names the three ways).

use crate::math::{count, narrow, nearest};

/// A way to spread steps over the training timesteps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// From 0 (plus an offset) in whole strides; never reaches the last timestep.
    Leading,
    /// From the last timestep down in fractional strides; never reaches 0.
    Trailing,
    /// From the last timestep to 0, both ends included.
    Linspace,
}

impl Spacing {
    /// Every spacing.
    pub const ALL: [Self; 3] = [Self::Leading, Self::Trailing, Self::Linspace];

    /// The name in `scheduler_config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Linspace => "linspace",
        }
    }

    /// `steps` timesteps of `train`, descending; `offset` moves leading ones. One may lie at `train` or beyond
    /// when the offset pushes it there.
    pub fn timesteps(self, train: usize, steps: usize, offset: i32) -> Vec<i32> {
        match self {
            Self::Leading => {
                let stride = i32::try_from(train / steps.max(1)).unwrap_or(0);
                (0..i32::try_from(steps).unwrap_or(0)).rev().map(|i| i * stride + offset).collect()
            }
            Self::Trailing => {
                let stride = count(train) / count(steps);
                (0..steps).map(|i| nearest(count(train) - count(i) * stride) - 1).collect()
            }
            Self::Linspace => {
                let stride = count(train - 1) / count(steps.max(2) - 1);
                (0..steps).rev().map(|i| nearest(count(i) * stride)).collect()
            }
        }
    }

    /// As [`Spacing::timesteps`], but evenly spread ones are not rounded to whole timesteps.
    pub fn fractional(self, train: usize, steps: usize, offset: i32) -> Vec<f32> {
        match self {
            Self::Leading | Self::Trailing => as_floats(&self.timesteps(train, steps, offset)),
            Self::Linspace => {
                let stride = count(train - 1) / count(steps.max(2) - 1);
                (0..steps).rev().map(|i| narrow(count(i) * stride)).collect()
            }
        }
    }

    /// As [`Spacing::timesteps`], but spread so that one more step would end at 0, which is left to the clean
    /// picture.
    pub fn open(self, train: usize, steps: usize, offset: i32) -> Vec<i32> {
        let mut timesteps = match self {
            Self::Leading => self.timesteps(train, steps + 1, offset),
            Self::Trailing => return self.timesteps(train, steps, offset),
            Self::Linspace => self.timesteps(train, steps + 1, 0),
        };
        timesteps.pop();
        timesteps
    }

    /// The fewest steps that can be spread: both ends need two.
    pub const fn fewest(self) -> usize {
        if matches!(self, Self::Linspace) { 2 } else { 1 }
    }
}

/// Timesteps as networks take them.
pub fn as_floats(timesteps: &[i32]) -> Vec<f32> {
    timesteps.iter().map(|t| narrow(f64::from(*t))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timesteps_are_the_references() {
        assert_eq!(Spacing::Leading.timesteps(1000, 4, 1), [751, 501, 251, 1]);
        let many = Spacing::Leading.timesteps(1000, 150, 1);
        assert_eq!((many.len(), many.first()), (150, Some(&895)));
        assert_eq!(Spacing::Trailing.timesteps(1000, 3, 1), [999, 666, 332]);
        assert_eq!(Spacing::Linspace.timesteps(1000, 3, 1), [999, 500, 0]);
        assert_eq!(Spacing::Linspace.fractional(1000, 3, 1), [999.0, 499.5, 0.0]);
        assert_eq!(Spacing::Linspace.open(1000, 4, 1), [999, 749, 500, 250]);
        assert_eq!(Spacing::Leading.open(1000, 4, 1), [801, 601, 401, 201]);
        assert_eq!(Spacing::Trailing.open(1000, 4, 1), [999, 749, 499, 249]);
    }
}
