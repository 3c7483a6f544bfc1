//! Noise levels, sigma = sqrt((1 - abar) / abar): the noise's deviation beside a picture that keeps its own
//! (Karras et al., "Elucidating the design space of diffusion-based generative models").

use super::Schedule;
use crate::math::{count, exp, ln, narrow};

/// How evenly Karras' levels are spread: the exponent's inverse in formula 5 of the paper.
const RHO: f64 = 7.0;

/// Levels beyond these come from schedules that add nothing or leave nothing; no logarithm of 0 is taken.
const LEAST: f32 = 1e-10;
const MOST: f32 = 1e10;

/// The noise level of every training timestep, rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Sigmas {
    levels: Vec<f32>,
    /// Their logarithms, in the reference's 32 bits.
    logs: Vec<f32>,
}

impl Sigmas {
    /// The levels of a schedule.
    pub fn of(schedule: &Schedule) -> Self {
        let levels: Vec<f32> = schedule
            .alphas_cumprod
            .iter()
            .map(|abar| ((1.0 - abar) / abar).sqrt().clamp(LEAST, MOST))
            .collect();
        let logs = levels.iter().map(|sigma| narrow(ln(f64::from(*sigma)))).collect();
        Self { levels, logs }
    }

    /// The least and the greatest.
    pub fn ends(&self) -> (f64, f64) {
        let end = |level: Option<&f32>| level.copied().map_or(0.0, f64::from);
        (end(self.levels.first()), end(self.levels.last()))
    }

    /// The level at a timestep, which may lie between two of training's.
    pub fn at(&self, timestep: f32) -> f64 {
        let last = self.levels.len().saturating_sub(1);
        let place = f64::from(timestep).clamp(0.0, count(last));
        let below = floor(place).min(last.saturating_sub(1));
        let level = |index: usize| self.levels.get(index).copied().map_or(0.0, f64::from);
        let (low, high) = (level(below), level((below + 1).min(last)));
        low + (high - low) * (place - count(below))
    }

    /// The timestep of a level, linear in the level's logarithm between training's.
    pub fn timestep(&self, sigma: f64) -> f64 {
        let log = ln(sigma.max(1e-10));
        let below = self.logs.partition_point(|known| f64::from(*known) <= log).saturating_sub(1);
        let below = below.min(self.logs.len().saturating_sub(2));
        let known = |index: usize| self.logs.get(index).copied().map_or(0.0, f64::from);
        let (low, high) = (known(below), known(below + 1));
        count(below) + ((low - log) / (low - high)).clamp(0.0, 1.0)
    }

    /// `steps` levels from `most` down to `least`, evenly spread in their 7th roots (formula 5 of the paper).
    pub fn karras(most: f64, least: f64, steps: usize) -> Vec<f64> {
        let (first, last) = (power(most, 1.0 / RHO), power(least, 1.0 / RHO));
        let stride = 1.0 / count(steps.max(2) - 1);
        (0..steps).map(|i| power(first + count(i) * stride * (last - first), RHO)).collect()
    }
}

fn power(base: f64, exponent: f64) -> f64 {
    exp(exponent * ln(base))
}

/// The whole part of a place in a schedule.
fn floor(place: f64) -> usize {
    usize::try_from(crate::math::nearest(place.floor())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::SCHEDULES;

    #[test]
    fn timesteps_and_levels_are_each_others_inverse() {
        for entry in SCHEDULES {
            let sigmas = Sigmas::of(&Schedule::new((entry.betas)(0.00085, 0.012, 1000)));
            for t in [0.0, 1.0, 499.0, 998.0, 999.0] {
                assert!((sigmas.timestep(sigmas.at(t)) - f64::from(t)).abs() < 1e-3, "{} {t}", entry.name);
            }
            let (between, low, high) = (sigmas.at(10.25), sigmas.at(10.0), sigmas.at(11.0));
            assert!((between - (0.75 * low + 0.25 * high)).abs() < 1e-12);
            assert_eq!((sigmas.at(-3.0), sigmas.at(5000.0)), sigmas.ends());
        }
    }

    #[test]
    fn karras_levels_fall_from_end_to_end() {
        let levels = Sigmas::karras(14.6, 0.03, 9);
        assert!((levels[0] - 14.6).abs() < 1e-12 && (levels[8] - 0.03).abs() < 1e-12);
        assert!(levels.windows(2).all(|pair| pair[0] > pair[1]));
        let middle = (14.6_f64.powf(1.0 / 7.0) + 0.03_f64.powf(1.0 / 7.0)) / 2.0;
        assert!((levels[4] - middle.powi(7)).abs() < 1e-12);
        assert!((Sigmas::karras(14.6, 0.03, 1)[0] - 14.6).abs() < 1e-12);
    }
}
