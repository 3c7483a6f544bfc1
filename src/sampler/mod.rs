//! Samplers: from noise to a clean tensor in a few calls of a network.
//!
//! A sampler knows its timesteps and its formula and nothing else. Guidance, mask channels, progress,
//! previews and cancelling live in the [`Denoiser`] that it calls. A new sampler is one file and one line
//! in [`SAMPLERS`].

mod ddim;
mod ddpm;
mod noise;
mod unclip;

pub use noise::{Noise, Replay, Shared};

use crate::error::{Error, Kind, Result};
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;

/// A way from noise to a clean tensor.
pub trait Sampler: Send + Sync {
    /// The timestep of each network call, in order.
    fn timesteps(&self) -> &[f32];

    /// Denoises `x` f32\[B,…\], which is noise times [`Sampler::init_sigma`].
    ///
    /// # Errors
    /// When the denoiser or the noise fails.
    fn sample(&self, denoiser: &mut dyn Denoiser, x: Tensor, noise: &mut dyn Noise) -> Result<Tensor>;

    /// Standard deviation of the noise to start from.
    fn init_sigma(&self) -> f32 {
        1.0
    }

    /// Whether the network's prediction f32\[B,2C,…\] shall carry its variance; f32\[B,C,…\] otherwise.
    fn uses_variance(&self) -> bool {
        false
    }
}

/// The network as a sampler sees it.
pub trait Denoiser {
    /// The network's output for x f32\[B,…\], after guidance.
    ///
    /// # Errors
    /// When the network fails or the caller cancels.
    fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor>;

    /// Told after each network call is used up: `x` is what the next call starts from, `x0` the clean tensor
    /// as predicted now, for previews.
    ///
    /// # Errors
    /// When the caller cancels.
    fn done(&mut self, step: &Step, x: &Tensor, x0: &Tensor) -> Result<()>;
}

/// A call of the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Calls before this one.
    pub index: usize,
    /// Calls in all.
    pub total: usize,
    /// The training timestep.
    pub timestep: f32,
}

/// Whose sampler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Text to image embedding.
    Prior,
    /// Noise to latents.
    Decoder,
}

/// An entry of [`SAMPLERS`].
pub struct Entry {
    /// The name at every door.
    pub name: &'static str,
    /// What it is, for help texts.
    pub doc: &'static str,
    /// What it samples.
    pub role: Role,
    /// Which of the manifest's schedulers holds its settings.
    pub settings: &'static str,
    /// Makes one of a number of steps.
    pub build: fn(&SchedulerConfig, usize) -> Result<Box<dyn Sampler>>,
}

/// Every sampler.
pub const SAMPLERS: &[Entry] = &[
    Entry {
        name: "ddim",
        doc: "DDIM: deterministic, the released decoder's default",
        role: Role::Decoder,
        settings: "ddim",
        build: ddim::build,
    },
    Entry {
        name: "ddpm",
        doc: "DDPM with learned variance: the original p_sampler, better from 50 steps up",
        role: Role::Decoder,
        settings: "ddpm",
        build: ddpm::build,
    },
    Entry {
        name: "unclip",
        doc: "UnCLIP: the prior's own sampler",
        role: Role::Prior,
        settings: "prior",
        build: unclip::build,
    },
];

/// Names of the samplers of a role.
pub fn names(role: Role) -> impl Iterator<Item = &'static str> {
    SAMPLERS.iter().filter(move |entry| entry.role == role).map(|entry| entry.name)
}

/// Makes the sampler `name` of `role` from the manifest's schedulers.
///
/// # Errors
/// [`Kind::BadRequest`] for a name or a number of steps that it cannot have, [`Kind::BadModel`] for settings
/// that are missing or not understood.
pub fn build(
    name: &str,
    schedulers: &BTreeMap<String, Value>,
    role: Role,
    steps: usize,
) -> Result<Box<dyn Sampler>> {
    let Some(entry) = SAMPLERS.iter().find(|entry| entry.name == name && entry.role == role) else {
        let known: Vec<_> = names(role).collect();
        let message = format!("the sampler {name:?} is unknown; known are {}", known.join(", "));
        return Err(Error::new(Kind::BadRequest, message));
    };
    let Some(settings) = schedulers.get(entry.settings) else {
        let message =
            format!("the model has no scheduler {:?}, which the sampler {name:?} reads", entry.settings);
        return Err(Error::new(Kind::BadModel, message));
    };
    (entry.build)(&SchedulerConfig::parse(settings)?, steps)
}

/// Refuses no step at all, and more steps than training had.
fn check_steps(steps: usize, least: usize, train: usize) -> Result<()> {
    if (least..=train).contains(&steps) {
        return Ok(());
    }
    let message = format!("{steps} sampling steps were asked; the limit is {least} to {train}");
    Err(Error::new(Kind::BadRequest, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::TorchCpu;
    use crate::tensor::tensor;
    use serde_json::json;

    /// A network that answers 0 everywhere and counts.
    pub struct Nothing {
        pub channels: usize,
        pub steps: Vec<Step>,
    }

    impl Denoiser for Nothing {
        fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor> {
            self.steps.push(*step);
            let mut shape = x.shape().to_vec();
            shape[1] *= self.channels;
            Ok(Tensor::zeros(shape))
        }

        fn done(&mut self, step: &Step, x: &Tensor, x0: &Tensor) -> Result<()> {
            assert_eq!((self.steps.last(), x.shape()), (Some(step), x0.shape()));
            Ok(())
        }
    }

    fn schedulers() -> BTreeMap<String, Value> {
        let linear = |class: &str| json!({"_class_name": class, "beta_start": 0.00085, "beta_end": 0.012});
        let mut ddpm = linear("DDPMScheduler");
        ddpm["variance_type"] = json!("learned_range");
        BTreeMap::from([
            ("prior".to_owned(), json!({"_class_name": "UnCLIPScheduler", "prediction_type": "sample"})),
            ("ddim".to_owned(), linear("DDIMScheduler")),
            ("ddpm".to_owned(), ddpm),
        ])
    }

    #[test]
    fn every_sampler_calls_the_network_once_a_timestep() {
        for entry in SAMPLERS {
            for steps in [2, 3, 17, 1000] {
                let sampler = build(entry.name, &schedulers(), entry.role, steps).unwrap();
                let channels = if sampler.uses_variance() { 2 } else { 1 };
                let mut network = Nothing { channels, steps: Vec::new() };
                let x = tensor(&[2, 3], vec![0.5; 6]).unwrap();
                let mut noise = Shared::new(TorchCpu::new(0));
                let x0 = sampler.sample(&mut network, x, &mut noise).unwrap();
                assert!(x0.iter().all(|x| x.is_finite()), "{} of {steps} steps", entry.name);
                let called: Vec<f32> = network.steps.iter().map(|step| step.timestep).collect();
                assert_eq!(called, sampler.timesteps(), "{}", entry.name);
                assert!(called.iter().all(|t| (0.0..1000.0).contains(t)), "{} of {steps} steps", entry.name);
                assert!(
                    network.steps.iter().enumerate().all(|(i, s)| s.index == i && s.total == called.len())
                );
            }
        }
    }

    #[test]
    fn impossible_requests_are_refused_by_name() {
        let refusal = |name: &str, role, steps| {
            let error = build(name, &schedulers(), role, steps).err().expect("a refusal");
            (error.kind(), error.to_string())
        };
        let (kind, message) = refusal("magic", Role::Decoder, 10);
        assert!(kind == Kind::BadRequest && message.contains("magic") && message.contains("ddim, ddpm"));
        assert_eq!(refusal("unclip", Role::Decoder, 10).0, Kind::BadRequest);
        let (kind, message) = refusal("unclip", Role::Prior, 1);
        assert!(
            kind == Kind::BadRequest && message.contains("1 sampling steps") && message.contains("2 to 1000")
        );
        assert_eq!(refusal("ddim", Role::Decoder, 0).0, Kind::BadRequest);
        assert_eq!(refusal("ddpm", Role::Decoder, 1001).0, Kind::BadRequest);
        let missing = build("ddim", &BTreeMap::new(), Role::Decoder, 5).err().expect("a refusal");
        assert_eq!(missing.kind(), Kind::BadModel);
    }
}
