//! Noise schedules: how much of a picture is left at each of the training timesteps.
//!
//! Formulas run in `f64` and are rounded to `f32` where the reference rounds: golden parity asks for its
//! roundings, since 1 - abar loses digits where abar is close to 1.

mod config;
mod sigmas;
mod spacing;

pub use config::SchedulerConfig;
pub use sigmas::Sigmas;
pub use spacing::{Spacing, as_floats};

use crate::error::Result;
use crate::math::{count, narrow, sin_cos};
use crate::tensor::{Tensor, rows};
use ndarray::Axis;

/// A way to make betas: its name in `scheduler_config.json` and the formula over (first, last, timesteps).
pub struct BetaSchedule {
    /// The name in `scheduler_config.json`.
    pub name: &'static str,
    /// Betas, one a training timestep.
    pub betas: fn(f64, f64, usize) -> Vec<f32>,
}

/// Every beta schedule.
pub const SCHEDULES: &[BetaSchedule] = &[
    BetaSchedule { name: "linear", betas: linear },
    BetaSchedule { name: "scaled_linear", betas: scaled_linear },
    BetaSchedule { name: "squaredcos_cap_v2", betas: squared_cosine },
];

/// What training added at each timestep.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Variance that each timestep adds.
    pub betas: Vec<f32>,
    /// Product of all 1 - beta up to each timestep: the share of the picture's power.
    pub alphas_cumprod: Vec<f32>,
}

impl Schedule {
    /// The schedule of betas.
    pub fn new(betas: Vec<f32>) -> Self {
        let mut product = 1.0;
        let alphas_cumprod = betas.iter().map(|beta| {
            product *= f64::from(1.0 - beta);
            narrow(product)
        });
        Self { alphas_cumprod: alphas_cumprod.collect(), betas }
    }

    /// The one by which `KandinskyImg2ImgPipeline` noises its start, whatever the scheduler says.
    pub fn image_to_image() -> Self {
        Self::new(linear(0.0001, 0.02, 1000))
    }

    /// The shares of the picture's power without a rounding, as the original repository has them.
    pub fn exact(&self) -> Vec<f64> {
        let mut product = 1.0;
        let next = |beta: &f32| {
            product *= 1.0 - f64::from(*beta);
            product
        };
        self.betas.iter().map(next).collect()
    }

    /// How many training timesteps there are.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there is no timestep.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// The share of the picture's power at timestep `t`; `before` where `t` is negative, and that of the last
    /// timestep beyond it.
    pub fn alpha(&self, t: i32, before: f32) -> f32 {
        let Ok(index) = usize::try_from(t) else { return before };
        self.alphas_cumprod.get(index).or(self.alphas_cumprod.last()).copied().unwrap_or(before)
    }

    /// The share of the picture's power at timestep 0.
    pub fn first_alpha(&self) -> f32 {
        self.alpha(0, 1.0)
    }

    /// `x0` f32\[B,…\] noised to the timesteps of its rows: `sqrt(abar) x0 + sqrt(1 - abar) noise`. Of fewer
    /// timesteps than rows, the last holds for the rest.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn add_noise(&self, x0: &Tensor, noise: &Tensor, timesteps: &[i32]) -> Result<Tensor> {
        let mut noised = x0.clone();
        let mut times = timesteps.iter().copied();
        let mut t = 0;
        for (row, mut slot) in noised.axis_iter_mut(Axis(0)).enumerate() {
            t = times.next().unwrap_or(t);
            let abar = self.alpha(t, 1.0);
            let (alpha_t, sigma_t) = (abar.sqrt(), (1.0 - abar).sqrt());
            let noise = rows(noise, row, row + 1)?;
            slot.zip_mut_with(&noise.index_axis(Axis(0), 0), |x, n| *x = alpha_t * *x + sigma_t * n);
        }
        Ok(noised)
    }
}

/// `torch.linspace` in 32 bits: each half is counted from its own end, with one rounding a number.
fn linspace(first: f32, last: f32, n: usize) -> Vec<f32> {
    let step = if n > 1 { (last - first) / narrow(count(n - 1)) } else { 0.0 };
    let at = |i: usize| {
        let (end, distance) = if i < n / 2 { (first, count(i)) } else { (last, -count(n - 1 - i)) };
        narrow(f64::from(end) + f64::from(step) * distance)
    };
    (0..n).map(at).collect()
}

fn linear(first: f64, last: f64, n: usize) -> Vec<f32> {
    linspace(narrow(first), narrow(last), n)
}

fn scaled_linear(first: f64, last: f64, n: usize) -> Vec<f32> {
    let roots = linspace(narrow(first.sqrt()), narrow(last.sqrt()), n);
    roots.iter().map(|root| root * root).collect()
}

/// Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", section 3.2; no beta beyond 0.999.
fn squared_cosine(_first: f64, _last: f64, n: usize) -> Vec<f32> {
    let power = |time: f64| {
        let (_, cos) = sin_cos((time + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2);
        cos * cos
    };
    let beta = |i: usize| {
        let ratio = power(count(i + 1) / count(n)) / power(count(i) / count(n));
        narrow((1.0 - ratio).min(0.999))
    };
    (0..n).map(beta).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(betas: &[f32]) -> f64 {
        betas.iter().copied().map(f64::from).sum()
    }

    #[test]
    fn sums_of_betas_are_known() {
        assert!((sum(&linear(0.00085, 0.012, 1000)) - 6.425).abs() < 1e-5);
        let roots = (0.00085_f64.sqrt(), 0.012_f64.sqrt());
        let exact = 1000.0 * (roots.0 * roots.0 + roots.0 * roots.1 + roots.1 * roots.1) / 3.0;
        assert!((sum(&scaled_linear(0.00085, 0.012, 1000)) - exact).abs() < 3e-3);
        assert!((sum(&squared_cosine(0.0, 0.0, 1000)) - 12.44).abs() < 0.01);
    }

    #[test]
    fn both_ends_of_a_line_are_exact() {
        let line = linspace(0.1, 0.7, 7);
        assert_eq!((line.first(), line.last(), line.len()), (Some(&0.1), Some(&0.7), 7));
        assert_eq!(linspace(0.1, 0.7, 1), [0.7]);
    }

    #[test]
    fn power_falls_from_one() {
        for entry in SCHEDULES {
            let schedule = Schedule::new((entry.betas)(0.00085, 0.012, 1000));
            let falls = schedule.alphas_cumprod.windows(2).all(|pair| pair[0] > pair[1]);
            assert!(falls && schedule.first_alpha() < 1.0, "{}", entry.name);
            assert_eq!(schedule.alpha(-1, 0.5), 0.5);
            assert_eq!(schedule.alpha(5000, 0.5), schedule.alpha(999, 0.5));
        }
    }
}
