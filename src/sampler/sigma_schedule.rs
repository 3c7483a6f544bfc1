//! What the solvers of the probability-flow equation share: the noise levels that they stop at, and the clean
//! tensor that the network means there.
//!
//! A solver's x is either picture plus sigma noise, or that scaled to the variance that the network was
//! trained on, which is what the network sees in both cases.

use super::{Choice, Denoiser, Noise, Sampler, Step, mix};
use crate::error::{Error, Kind, Result};
use crate::math::{count, ln, narrow, nearest};
use crate::predict::{Clipping, Prediction};
use crate::schedule::{SchedulerConfig, Sigmas, Spacing, as_floats};
use crate::tensor::Tensor;
use ndarray::Zip;

/// Where evenly spread steps end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The last step starts at timestep 0.
    Closed,
    /// One more step would start at timestep 0.
    Open,
}

/// The noise levels from the first one to the clean picture, a step between each two.
pub(super) struct SigmaSchedule {
    steps: Vec<SigmaStep>,
    timesteps: Vec<f32>,
    /// The first step's noise level before any was skipped, and whether the spacing starts below all noise.
    top: (f64, bool),
    prediction: Prediction,
    clipping: Clipping,
}

/// A step from one noise level to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigmaStep {
    /// The network's call at its start, for solvers that call once a step.
    pub(super) call: Step,
    /// The noise level that it starts at.
    pub(super) sigma: f64,
    /// The noise level that it ends at.
    pub(super) next: f64,
    /// Steps that follow this one.
    pub(super) left: usize,
    /// Steps in all, the skipped ones included.
    pub(super) all: usize,
}

impl SigmaSchedule {
    /// The noise levels that settings and choice ask for.
    pub(super) fn new(config: &SchedulerConfig, choice: &Choice<'_>, ends: Ends) -> Result<Self> {
        let schedule = config.schedule()?;
        let levels = Sigmas::of(&schedule);
        let spacing = config.spacing(Spacing::Linspace)?;
        let mut timesteps = evenly(config, choice, (spacing, ends), schedule.len())?;
        let mut sigmas: Vec<f64> = timesteps.iter().map(|t| levels.at(*t)).collect();
        if config.flag("use_karras_sigmas", false)? {
            choice.equal_steps(1..=schedule.len(), schedule.len())?;
            sigmas = karras(&sigmas, &levels, ends);
            let whole = ends == Ends::Open && config.word("beta_schedule", "")? != "squaredcos_cap_v2";
            timesteps = sigmas.iter().map(|sigma| timestep(&levels, *sigma, whole)).collect();
        }
        check_falling(&sigmas)?;
        let last = match config.choice("final_sigmas_type", &["zero", "sigma_min"])? {
            0 => 0.0,
            _ => levels.ends().0,
        };
        let highest = narrow(count(schedule.len() - 1));
        timesteps.iter_mut().for_each(|t| *t = t.min(highest));
        Ok(Self {
            top: (sigmas.first().copied().unwrap_or(0.0), spacing == Spacing::Leading),
            steps: choice.visited(steps(&sigmas, &timesteps, last, choice.skip))?,
            timesteps: choice.visited(timesteps)?,
            prediction: Prediction::of(config)?,
            clipping: Clipping::of(config, false)?,
        })
    }

    /// The steps.
    pub(super) fn steps(&self) -> &[SigmaStep] {
        &self.steps
    }

    /// The timestep that each step starts at.
    pub(super) fn timesteps(&self) -> &[f32] {
        &self.timesteps
    }

    /// Standard deviation of the first x of a solver whose x is picture plus sigma noise.
    pub(super) fn init_sigma(&self) -> f32 {
        let (sigma, leading) = self.top;
        narrow(if leading { (sigma * sigma + 1.0).sqrt() } else { sigma })
    }

    /// A clean tensor noised to the first level.
    pub(super) fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        mix(x0, noise, 1.0, narrow(self.steps.first().map_or(0.0, |step| step.sigma)))
    }

    /// As [`SigmaSchedule::add_noise`], scaled to the network's variance.
    pub(super) fn add_noise_scaled(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        let (alpha_t, sigma_t) = scales(self.steps.first().map_or(0.0, |step| step.sigma));
        mix(x0, noise, narrow(alpha_t), narrow(sigma_t))
    }

    /// The clean tensor that the network means at the scaled x.
    pub(super) fn clean(
        &self,
        denoiser: &mut dyn Denoiser,
        x: &Tensor,
        sigma: f64,
        step: &Step,
    ) -> Result<Tensor> {
        let (alpha_t, sigma_t) = scales(sigma);
        let out = denoiser.predict(x, step)?;
        Ok(self.clipping.apply(self.prediction.clean(&out, x, narrow(alpha_t), narrow(sigma_t))))
    }

    /// As [`SigmaSchedule::clean`], for x that is picture plus sigma noise.
    pub(super) fn clean_unscaled(
        &self,
        denoiser: &mut dyn Denoiser,
        x: &Tensor,
        sigma: f64,
        step: &Step,
    ) -> Result<Tensor> {
        let scaled = x * narrow(scales(sigma).0);
        if self.prediction == Prediction::Velocity {
            return self.clean(denoiser, &scaled, sigma, step);
        }
        // Unscaled as in the reference: slopes at small sigmas magnify a rounding.
        let out = denoiser.predict(&scaled, step)?;
        Ok(self.clipping.apply(self.prediction.clean(&out, x, 1.0, narrow(sigma))))
    }
}

/// A solver whose x is picture plus sigma noise, and that calls the network once where each step starts.
pub(super) struct Unscaled {
    schedule: SigmaSchedule,
    integrate: Integrator,
}

/// How a solver goes from the first noise level to the clean picture.
pub(super) type Integrator = fn(&SigmaSchedule, &mut dyn Denoiser, Tensor, &mut dyn Noise) -> Result<Tensor>;

impl Unscaled {
    /// The solver `integrate` on the noise levels that settings and choice ask for.
    pub(super) fn boxed(
        config: &SchedulerConfig,
        choice: &Choice<'_>,
        integrate: Integrator,
    ) -> Result<Box<dyn Sampler>> {
        Ok(Box::new(Self { schedule: SigmaSchedule::new(config, choice, Ends::Closed)?, integrate }))
    }
}

impl Sampler for Unscaled {
    fn timesteps(&self) -> &[f32] {
        self.schedule.timesteps()
    }

    fn init_sigma(&self) -> f32 {
        self.schedule.init_sigma()
    }

    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.schedule.add_noise(x0, noise)
    }

    fn sample(&self, denoiser: &mut dyn Denoiser, x: Tensor, noise: &mut dyn Noise) -> Result<Tensor> {
        (self.integrate)(&self.schedule, denoiser, x, noise)
    }
}

/// The derivative of x, picture plus sigma noise, by the noise level.
pub(super) fn derivative(x: &Tensor, x0: &Tensor, sigma: f64) -> Tensor {
    let sigma = narrow(sigma);
    Zip::from(x).and(x0).map_collect(|x, x0| (x - x0) / sigma)
}

/// The timesteps of evenly spread steps, or those that are given.
fn evenly(
    config: &SchedulerConfig,
    choice: &Choice<'_>,
    (spacing, ends): (Spacing, Ends),
    train: usize,
) -> Result<Vec<f32>> {
    let limits = match ends {
        Ends::Closed => spacing.fewest()..=train,
        // One timestep is the end's.
        Ends::Open if spacing != Spacing::Trailing => 1..=train - 1,
        Ends::Open => 1..=train,
    };
    let offset = config.steps_offset()?;
    Ok(match (choice.count(limits, train)?, ends) {
        (None, _) => as_floats(choice.given()),
        (Some(steps), Ends::Closed) => spacing.fractional(train, steps, offset),
        (Some(steps), Ends::Open) => as_floats(&spacing.open(train, steps, offset)),
    })
}

/// As many of Karras' noise levels, between the same ends, or from end to end of training's.
fn karras(sigmas: &[f64], levels: &Sigmas, ends: Ends) -> Vec<f64> {
    let (least, most) = match (ends, sigmas.last(), sigmas.first()) {
        (Ends::Closed, Some(least), Some(most)) => (*least, *most),
        _ => levels.ends(),
    };
    Sigmas::karras(most, least, sigmas.len())
}

/// The timestep that the network is told at a noise level.
fn timestep(levels: &Sigmas, sigma: f64, whole: bool) -> f32 {
    let timestep = levels.timestep(sigma);
    narrow(if whole { f64::from(nearest(timestep)) } else { timestep })
}

/// Refuses noise levels that stand still, of which no slope can be taken.
fn check_falling(sigmas: &[f64]) -> Result<()> {
    if sigmas.iter().zip(sigmas.iter().skip(1)).all(|(sigma, next)| sigma > next) {
        return Ok(());
    }
    let message = format!("{} sampling steps repeat a noise level with this timestep_spacing", sigmas.len());
    Err(Error::new(Kind::BadRequest, message))
}

fn steps(sigmas: &[f64], timesteps: &[f32], last: f64, skip: usize) -> Vec<SigmaStep> {
    // The reference keeps noise levels in 32 bits.
    let stored = |sigma: f64| f64::from(narrow(sigma));
    let all = sigmas.len();
    let nexts = sigmas.iter().skip(1).copied().chain([last]);
    let step = |(place, ((sigma, next), timestep)): (usize, ((&f64, f64), &f32))| SigmaStep {
        call: Step {
            index: place.saturating_sub(skip),
            total: all.saturating_sub(skip),
            timestep: *timestep,
        },
        sigma: stored(*sigma),
        next: stored(next),
        left: all - 1 - place,
        all,
    };
    sigmas.iter().zip(nexts).zip(timesteps).enumerate().map(step).collect()
}

/// What scales picture and noise at a noise level, so that their variances sum to 1.
fn scales(sigma: f64) -> (f64, f64) {
    let alpha_t = 1.0 / (sigma * sigma + 1.0).sqrt();
    (alpha_t, sigma * alpha_t)
}

impl SigmaStep {
    /// What is left of the noise level: 0 at the clean picture.
    pub(super) fn ratio(&self) -> f64 {
        self.next / self.sigma
    }

    /// The change of the noise level, below 0.
    pub(super) fn dsigma(&self) -> f32 {
        narrow(self.next - self.sigma)
    }

    /// The h of the papers: how far the logarithm of the noise level falls.
    pub(super) fn h(&self) -> f64 {
        ln(self.sigma / self.next)
    }

    /// One exponential-integrator step of the scaled x with constant `x0` (DPM-Solver++, formula 9, first order);
    /// `decay` is the share of x that remains, relative to the picture's scale.
    pub(super) fn exponential_step(&self, x: &Tensor, x0: &Tensor, decay: f64) -> Tensor {
        let ((now, _), (then, _)) = (scales(self.sigma), scales(self.next));
        let (alpha_t, pull) = (narrow(then / now * decay), narrow(then * (1.0 - decay)));
        Zip::from(x).and(x0).map_collect(|x, x0| alpha_t * x + pull * x0)
    }

    /// The deviation of fresh noise that makes up for noise that decayed by more than the ratio.
    pub(super) fn sigma_up(&self) -> f32 {
        let ratio = self.ratio();
        narrow(scales(self.next).1 * (1.0 - ratio * ratio).max(0.0).sqrt())
    }
}

/// The clean tensor extrapolate_x0 on half a step beyond its newest prediction: `length` steps of `before`.
pub(super) fn extrapolate_x0(x0: &Tensor, before: &Tensor, steps: f64) -> Tensor {
    let half = narrow(steps / 2.0);
    Zip::from(x0).and(before).map_collect(|x0, before| x0 + half * (x0 - before))
}
