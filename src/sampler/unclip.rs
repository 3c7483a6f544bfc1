//! The prior's sampler (Ramesh et al., "Hierarchical text-conditional image generation with CLIP latents",
//! section 2.2; diffusers `UnCLIPScheduler`): DDPM on timesteps that include both ends.

use super::choice::{calls, spans};
use super::ddpm::{Ancestral, Posterior, Variance};
use super::{Choice, Sampler};
use crate::error::Result;
use crate::predict::{Clipping, Prediction};
use crate::schedule::{SchedulerConfig, Spacing};

/// UnCLIP of at least 2 steps: the reference divides by their number less 1.
pub fn build(config: &SchedulerConfig, choice: &Choice<'_>) -> Result<Box<dyn Sampler>> {
    let schedule = config.schedule()?;
    let times = match choice.count(Spacing::Linspace.fewest()..=schedule.len(), schedule.len())? {
        None => choice.given().to_vec(),
        Some(steps) => Spacing::Linspace.timesteps(schedule.len(), steps, 0),
    };
    let spans = choice.visited(spans(&times))?;
    Variance::of(config, &["fixed_small_log"])?;
    Ok(Box::new(Ancestral {
        posteriors: spans.iter().map(|(t, next)| Posterior::unclip(&schedule, *t, *next)).collect(),
        timesteps: calls(&spans, schedule.len()),
        prediction: Prediction::of(config)?,
        clipping: Clipping::of(config, true)?,
        variance: Variance::FixedSmall,
        always_draws: false,
    }))
}
