//! Samplers: from noise to a clean tensor in a few calls of a network.
//!
//! A sampler knows its timesteps and its formula and nothing else. Guidance, mask channels, progress,
//! previews and cancelling live in the [`Denoiser`] that it calls. A new sampler is one file and one line
//! in [`SAMPLERS`].

mod choice;
mod ddim;
mod ddpm;
mod dpmpp;
mod euler;
mod euler_a;
mod heun;
mod lms;
mod noise;
mod original;
mod pndm;
mod sigma_schedule;
mod unclip;
mod unipc;

pub use choice::{Choice, Steps};
pub use noise::{Noise, Shared};

use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::schedule::SchedulerConfig;
use crate::tensor::Tensor;
use noise::mix;
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

    /// A clean tensor f32\[B,…\] under noise of the same shape, as the first step expects it; where steps were
    /// skipped, what is left of them makes it clean again.
    ///
    /// # Errors
    /// When the shapes differ.
    fn add_noise(&self, x0: &Tensor, noise: &Tensor) -> Result<Tensor>;

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
    /// CallStatistics before this one.
    pub index: usize,
    /// CallStatistics in all.
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
    /// The name at every front end.
    pub name: &'static str,
    /// What it is, for help texts.
    pub doc: &'static str,
    /// What it samples.
    pub role: Role,
    /// Whose arithmetic it has.
    pub profile: Profile,
    /// Steps where the caller and the model say none: the fewest that come as close to the solution as DDIM does
    /// in 50 (`benches/results/solvers.md`).
    pub steps: usize,
    /// Which of the manifest's schedulers holds its settings.
    settings: &'static str,
    /// The class whose fields it reads; of another class's settings it takes what training fixed.
    class: &'static str,
    /// The settings that the name itself says.
    overrides: &'static [(&'static str, Override)],
    /// Makes one.
    build: Build,
}

/// A setting that a sampler's name says.
#[derive(Debug, Clone, Copy)]
enum Override {
    Flag(bool),
    Word(&'static str),
}

type Build = fn(&SchedulerConfig, &Choice<'_>) -> Result<Box<dyn Sampler>>;

const DDIM: &str = "DDIMScheduler";
const DDPM: &str = "DDPMScheduler";
const PNDM: &str = "PNDMScheduler";
const DPM: &str = "DPMSolverMultistepScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";
const EULER: &str = "EulerDiscreteScheduler";
const EULER_A: &str = "EulerAncestralDiscreteScheduler";
const HEUN: &str = "HeunDiscreteScheduler";
const LMS: &str = "LMSDiscreteScheduler";
const UNCLIP: &str = "UnCLIPScheduler";

const KARRAS: &[(&str, Override)] = &[("use_karras_sigmas", Override::Flag(true))];
const SDE: &[(&str, Override)] = &[("algorithm_type", Override::Word("sde-dpmsolver++"))];
const RUNGE_KUTTA: &[(&str, Override)] = &[("skip_prk_steps", Override::Flag(false))];
const NO_RUNGE_KUTTA: &[(&str, Override)] = &[("skip_prk_steps", Override::Flag(true))];

/// Every sampler.
#[rustfmt::skip]
pub const SAMPLERS: &[Entry] = &[
    decoder("ddim", 50, "DDIM: deterministic, the released decoder's default", DDIM, &[], ddim::build),
    learned("ddpm", 50, "DDPM with learned variance: the original p_sampler, better from 50 steps up", ddpm::build),
    decoder("pndm", 50, "PNDM: fourth order, after three steps of four calls", PNDM, RUNGE_KUTTA, pndm::build),
    decoder("plms", 50, "PLMS: fourth order, a call a step after the first", PNDM, NO_RUNGE_KUTTA, pndm::build),
    decoder("dpmpp_2m", 50, "DPM-Solver++ of second order", DPM, &[], dpmpp::build),
    decoder("dpmpp_2m_karras", 16, "DPM-Solver++ at Karras' noise levels", DPM, KARRAS, dpmpp::build),
    decoder("dpmpp_2m_sde", 25, "DPM-Solver++ with fresh noise each step", DPM, SDE, dpmpp::build),
    decoder("unipc", 50, "UniPC: DPM-Solver++ with a correction that costs no call", UNIPC, &[], unipc::build),
    decoder("euler", 50, "Euler's method", EULER, &[], euler::build),
    decoder("euler_karras", 25, "Euler's method at Karras' noise levels", EULER, KARRAS, euler::build),
    decoder("euler_a", 25, "Euler's method with fresh noise each step", EULER_A, &[], euler_a::build),
    decoder("heun", 50, "Heun's method: second order, two calls a step", HEUN, &[], heun::build),
    decoder("heun_karras", 16, "Heun's method at Karras' noise levels", HEUN, KARRAS, heun::build),
    decoder("lms", 50, "linear multistep of fourth order", LMS, &[], lms::build),
    decoder("lms_karras", 16, "linear multistep at Karras' noise levels", LMS, KARRAS, lms::build),
    prior("unclip", 25, "UnCLIP: the prior's own sampler", UNCLIP, unclip::build),
    prior("ddim", 50, "DDIM on the image embedding", DDIM, ddim::prior),
    prior("dpmpp_2m", 50, "DPM-Solver++ on the image embedding", DPM, dpmpp::build),
    prior("unipc", 50, "UniPC on the image embedding", UNIPC, unipc::build),
    prior("euler", 20, "Euler's method on the image embedding", EULER, euler::build),
    prior("heun", 100, "Heun's method on the image embedding", HEUN, heun::build),
    original(decoder("ddim", 50, "ddim_sampler of the original repository", DDIM, &[], original::ddim)),
    original(learned("ddpm", 100, "p_sampler of the original repository", original::ddpm)),
    original(decoder("plms", 50, "plms_sampler of the original repository", DDIM, &[], original::plms)),
    original(prior("unclip", 25, "the prior's sampler of the original repository", UNCLIP, original::prior)),
];

const fn decoder(
    name: &'static str,
    steps: usize,
    doc: &'static str,
    class: &'static str,
    overrides: &'static [(&'static str, Override)],
    build: Build,
) -> Entry {
    let (role, profile) = (Role::Decoder, Profile::Diffusers);
    Entry { name, doc, role, profile, steps, settings: "ddim", class, overrides, build }
}

const fn learned(name: &'static str, steps: usize, doc: &'static str, build: Build) -> Entry {
    Entry { settings: "ddpm", ..decoder(name, steps, doc, DDPM, &[], build) }
}

const fn prior(
    name: &'static str,
    steps: usize,
    doc: &'static str,
    class: &'static str,
    build: Build,
) -> Entry {
    Entry { role: Role::Prior, settings: "prior", ..decoder(name, steps, doc, class, &[], build) }
}

const fn original(entry: Entry) -> Entry {
    Entry { profile: Profile::Original, ..entry }
}

/// Names of the samplers of a role in a profile.
pub fn names(role: Role, profile: Profile) -> impl Iterator<Item = &'static str> {
    let own = move |entry: &&Entry| entry.role == role && entry.profile == profile;
    SAMPLERS.iter().filter(own).map(|entry| entry.name)
}

/// Steps of a sampler where the caller and the model say none.
pub fn default_steps(name: &str, role: Role, profile: Profile) -> Option<usize> {
    find(name, role, profile).map(|entry| entry.steps)
}

fn find(name: &str, role: Role, profile: Profile) -> Option<&'static Entry> {
    SAMPLERS.iter().find(|entry| entry.name == name && entry.role == role && entry.profile == profile)
}

/// Makes the sampler of a choice from the manifest's schedulers.
///
/// # Errors
/// [`Kind::BadRequest`] for a name or for steps that it cannot have, [`Kind::BadModel`] for settings that are
/// missing or not understood.
pub fn build(choice: &Choice<'_>, schedulers: &BTreeMap<String, Value>) -> Result<Box<dyn Sampler>> {
    let Choice { name, role, profile, .. } = choice;
    let Some(entry) = find(name, *role, *profile) else {
        let known: Vec<_> = names(*role, *profile).collect();
        let message = format!(
            "the sampler {name:?} is unknown to the profile {}; known are {}",
            profile.name(),
            known.join(", ")
        );
        return Err(Error::new(Kind::BadRequest, message));
    };
    let Some(settings) = schedulers.get(entry.settings) else {
        let message =
            format!("the model has no scheduler {:?}, which the sampler {name:?} reads", entry.settings);
        return Err(Error::new(Kind::BadModel, message));
    };
    let mut config = SchedulerConfig::parse(settings)?.for_class(entry.class)?;
    for (field, value) in entry.overrides {
        config = config.with(
            field,
            match value {
                Override::Flag(on) => (*on).into(),
                Override::Word(word) => (*word).into(),
            },
        );
    }
    (entry.build)(&config, choice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::narrow;
    use crate::rng::TorchCpu;
    use crate::schedule::Sigmas;
    use crate::tensor::{concat, tensor};
    use ndarray::Zip;
    use serde_json::json;

    /// A network that answers 0 everywhere and counts.
    struct Nothing {
        channels: usize,
        steps: Vec<Step>,
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
        let linear = |class: &str| {
            json!({
                "_class_name": class, "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": false,
                "set_alpha_to_one": false, "steps_offset": 1
            })
        };
        let mut ddpm = linear("DDPMScheduler");
        ddpm["variance_type"] = json!("learned_range");
        let prior = json!({
            "_class_name": "UnCLIPScheduler", "prediction_type": "sample", "clip_sample_range": 10.0
        });
        BTreeMap::from([
            ("prior".to_owned(), prior),
            ("ddim".to_owned(), linear("DDIMScheduler")),
            ("ddpm".to_owned(), ddpm),
        ])
    }

    fn choice(entry: &Entry, steps: usize) -> Choice<'_> {
        Choice { profile: entry.profile, ..Choice::new(entry.name, entry.role, steps) }
    }

    /// Samples with a network that answers 0; the steps that called it.
    fn called(entry: &Entry, choice: &Choice<'_>) -> Vec<Step> {
        let sampler = build(choice, &schedulers()).unwrap();
        let channels = if sampler.uses_variance() { 2 } else { 1 };
        let mut network = Nothing { channels, steps: Vec::new() };
        let x = tensor(&[2, 3], vec![0.5; 6]).unwrap();
        let mut noise = Shared::new(TorchCpu::new(0));
        let start = sampler.add_noise(&x, &x).unwrap();
        let x0 = sampler.sample(&mut network, start, &mut noise).unwrap();
        assert!(x0.iter().all(|x| x.is_finite()), "{} of {choice:?}", entry.name);
        let times: Vec<f32> = network.steps.iter().map(|step| step.timestep).collect();
        assert_eq!(times, sampler.timesteps(), "{} of {choice:?}", entry.name);
        assert!(times.iter().all(|t| (0.0..1000.0).contains(t)), "{} of {choice:?}", entry.name);
        network.steps
    }

    #[test]
    fn every_sampler_calls_the_network_at_its_timesteps() {
        for entry in SAMPLERS {
            for steps in [2, 3, 4, 5, 17, 50, 333, 999] {
                let steps = called(entry, &choice(entry, steps));
                assert!(steps.iter().enumerate().all(|(i, s)| s.index == i && s.total == steps.len()));
            }
        }
    }

    #[test]
    fn what_is_skipped_is_the_beginning() {
        for entry in SAMPLERS {
            let whole = build(&choice(entry, 10), &schedulers()).unwrap();
            for skip in [1, 4, 9] {
                let steps = called(entry, &Choice { skip, ..choice(entry, 10) });
                let first = steps[0].timestep;
                assert!(first < whole.timesteps()[0], "{} skips {skip}", entry.name);
                assert!(whole.timesteps().contains(&first), "{} skips {skip}", entry.name);
                assert_eq!(steps.last().map(|s| s.timestep), whole.timesteps().last().copied());
                assert!(steps.iter().enumerate().all(|(i, s)| s.index == i && s.total == steps.len()));
            }
            let error = build(&Choice { skip: 10, ..choice(entry, 10) }, &schedulers()).err().unwrap();
            assert!(error.to_string().contains("10 first steps"), "{error}");
        }
    }

    #[test]
    fn timesteps_can_be_given_except_where_steps_are_equal() {
        let given = vec![990, 700, 420, 60, 3];
        for entry in SAMPLERS {
            let at = |times: Vec<i32>| Choice { steps: Steps::At(times), ..choice(entry, 0) };
            let equal = ["pndm", "plms"].contains(&entry.name) || entry.name.ends_with("karras");
            if equal {
                let error = build(&at(given.clone()), &schedulers()).err().unwrap();
                assert!(
                    error.kind() == Kind::BadRequest && error.to_string().contains(entry.name),
                    "{error}"
                );
                continue;
            }
            let mut times: Vec<i32> = called(entry, &at(given.clone()))
                .iter()
                .map(|s| crate::math::nearest(s.timestep.into()))
                .collect();
            times.dedup();
            assert_eq!(times, given, "{}", entry.name);
            for wrong in [vec![], vec![1000, 1], vec![5, 5], vec![3, 7], vec![4, -1]] {
                let error = build(&at(wrong.clone()), &schedulers()).err().unwrap();
                assert_eq!(error.kind(), Kind::BadRequest, "{} {wrong:?}", entry.name);
            }
        }
    }

    #[test]
    fn runge_kutta_takes_all_but_the_last_of_few_steps() {
        let times = |steps| {
            let choice = Choice::new("pndm", Role::Decoder, steps);
            build(&choice, &schedulers()).unwrap().timesteps().to_vec()
        };
        assert_eq!(times(1), [1.0]);
        assert_eq!(times(2), [501.0, 251.0, 251.0, 1.0, 1.0]);
        assert_eq!(times(3), [667.0, 500.0, 500.0, 334.0, 334.0, 167.0, 167.0, 1.0, 1.0]);
        for steps in [2, 3] {
            let [pndm, ddim] = ["pndm", "ddim"].map(|name| drift(&Choice::new(name, Role::Decoder, steps)));
            assert!(pndm < ddim / 2.0, "PNDM drifts by {pndm} in {steps} steps, DDIM by {ddim}");
        }
    }

    #[test]
    fn impossible_requests_are_refused_by_name() {
        let refusal = |name: &str, role, steps| {
            let error = build(&Choice::new(name, role, steps), &schedulers()).err().expect("a refusal");
            (error.kind(), error.to_string())
        };
        let (kind, message) = refusal("magic", Role::Decoder, 10);
        assert!(kind == Kind::BadRequest && message.contains("magic") && message.contains("ddim, ddpm"));
        assert_eq!(refusal("unclip", Role::Decoder, 10).0, Kind::BadRequest);
        for (name, role) in
            [("unclip", Role::Prior), ("euler", Role::Decoder), ("heun_karras", Role::Decoder)]
        {
            let (kind, message) = refusal(name, role, 1);
            assert!(kind == Kind::BadRequest && message.contains("limit is 2 to 1000"), "{message}");
        }
        for entry in SAMPLERS {
            for steps in [0, 1001] {
                let error = build(&choice(entry, steps), &schedulers()).err().unwrap();
                let message = error.to_string();
                assert!(message.contains(&format!("{steps} sampling steps")), "{}: {message}", entry.name);
            }
        }
        let original = Choice { profile: Profile::Original, ..Choice::new("euler", Role::Decoder, 9) };
        let message = build(&original, &schedulers()).err().unwrap().to_string();
        assert!(message.contains("profile original") && message.contains("ddim, ddpm, plms"), "{message}");
        let missing = build(&Choice::new("ddim", Role::Decoder, 5), &BTreeMap::new()).err().unwrap();
        assert_eq!(missing.kind(), Kind::BadModel);
    }

    #[test]
    fn settings_that_are_not_obeyed_are_refused_by_name() {
        for (name, class, field, value) in [
            ("dpmpp_2m", DPM, "solver_order", json!(3)),
            ("dpmpp_2m", DPM, "algorithm_type", json!("dpmsolver")),
            ("unipc", UNIPC, "solver_type", json!("bh1")),
            ("euler", EULER, "timestep_type", json!("continuous")),
        ] {
            let settings = SchedulerConfig::parse(&schedulers()["ddim"]).unwrap().for_class(class).unwrap();
            let settings = settings.with(field, value);
            let entry = SAMPLERS.iter().find(|entry| entry.name == name).unwrap();
            let error = (entry.build)(&settings, &choice(entry, 5)).err().unwrap();
            assert!(error.kind() == Kind::BadModel && error.to_string().contains(field), "{error}");
        }
    }

    /// The exact network of a single picture, whose noise at the first call it keeps.
    struct Point {
        sigmas: Sigmas,
        picture: Tensor,
        channels: usize,
        first: Option<Tensor>,
    }

    impl Denoiser for Point {
        fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor> {
            let sigma = self.sigmas.at(step.timestep);
            let alpha_t = 1.0 / (1.0 + sigma * sigma).sqrt();
            let eps = (x - &self.picture * narrow(alpha_t)) / narrow(sigma * alpha_t);
            self.first.get_or_insert(eps.clone());
            match self.channels {
                1 => Ok(eps),
                _ => concat(&[eps.clone(), Tensor::zeros(eps.raw_dim())], 1),
            }
        }

        fn done(&mut self, _: &Step, _: &Tensor, _: &Tensor) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_noised_is_made_clean_again() {
        let picture = tensor(&[1, 4], vec![0.9, -0.2, 0.0, -0.7]).unwrap();
        let drawn = tensor(&[1, 4], vec![-1.0, 0.4, 1.9, 0.1]).unwrap();
        let near =
            |ours: &Tensor, theirs: &Tensor| ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 0.08);
        for entry in SAMPLERS.iter().filter(|entry| entry.role == Role::Decoder) {
            let key = entry.settings;
            let schedule = SchedulerConfig::parse(&schedulers()[key]).unwrap().schedule().unwrap();
            for skip in [0, 5, 19] {
                let sampler = build(&Choice { skip, ..choice(entry, 20) }, &schedulers()).unwrap();
                let channels = if sampler.uses_variance() { 2 } else { 1 };
                let sigmas = Sigmas::of(&schedule);
                let mut network = Point { sigmas, picture: picture.clone(), channels, first: None };
                let start = sampler.add_noise(&picture, &drawn).unwrap();
                let clean = sampler.sample(&mut network, start, &mut Shared::new(TorchCpu::new(0))).unwrap();
                let found = network.first.unwrap();
                assert!(near(&found, &drawn), "{} skips {skip}: {found} is not {drawn}", entry.name);
                assert!(near(&clean, &picture), "{} skips {skip}: {clean} is not {picture}", entry.name);
            }
            let sampler = build(&choice(entry, 20), &schedulers()).unwrap();
            assert!(sampler.add_noise(&picture, &tensor(&[4], vec![0.0; 4]).unwrap()).is_err());
        }
    }

    /// The exact network of pictures that are normal with mean `MEAN` and deviation `DEVIATION`. At any noise
    /// level the probability-flow equation then keeps the place of x in its distribution.
    struct Gaussian {
        sigmas: Sigmas,
        predicts_x0: bool,
        /// Where x was at each call, in deviations from the mean.
        places: Vec<Tensor>,
    }

    const MEAN: f64 = 0.7;
    const DEVIATION: f64 = 0.4;

    impl Denoiser for Gaussian {
        fn predict(&mut self, x: &Tensor, step: &Step) -> Result<Tensor> {
            let sigma = self.sigmas.at(step.timestep);
            let alpha_t = 1.0 / (1.0 + sigma * sigma).sqrt();
            let deviation = alpha_t * (DEVIATION * DEVIATION + sigma * sigma).sqrt();
            let place = x.mapv(|x| (f64::from(x) - alpha_t * MEAN) / deviation);
            self.places.push(place.mapv(narrow));
            let eps = place.mapv(|place| sigma * alpha_t * place / deviation);
            Ok(match self.predicts_x0 {
                true => {
                    Zip::from(x).and(&eps).map_collect(|x, e| narrow(f64::from(*x) / alpha_t - sigma * e))
                }
                false => eps.mapv(narrow),
            })
        }

        fn done(&mut self, _: &Step, _: &Tensor, _: &Tensor) -> Result<()> {
            Ok(())
        }
    }

    /// No noise: what a deterministic sampler asks for.
    struct Silence;

    impl Noise for Silence {
        fn draw(&mut self, shape: &[usize]) -> Result<Tensor> {
            panic!("noise of shape {shape:?} was asked of a sampler that draws none")
        }
    }

    /// How far x has drifted from its place by the last call, in deviations. (The last step is to the clean
    /// picture, at once and of first order for all.)
    fn drift(choice: &Choice<'_>) -> f64 {
        let settings = schedulers();
        let sampler = build(choice, &settings).unwrap();
        let predicts_x0 = choice.role == Role::Prior;
        let key = if predicts_x0 { "prior" } else { "ddim" };
        let schedule = SchedulerConfig::parse(&settings[key]).unwrap().schedule().unwrap();
        let mut network = Gaussian { sigmas: Sigmas::of(&schedule), predicts_x0, places: Vec::new() };
        let noise = tensor(&[1, 3], vec![-1.0, 0.3, 1.7]).unwrap();
        sampler.sample(&mut network, &noise * sampler.init_sigma(), &mut Silence).unwrap();
        let (first, last) = (network.places.first().unwrap(), network.places.last().unwrap());
        first.iter().zip(last).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
    }

    #[test]
    fn second_order_beats_ddim_on_an_exact_score() {
        let second = ["pndm", "plms", "dpmpp_2m", "dpmpp_2m_karras", "unipc", "heun", "lms", "lms_karras"];
        for steps in [20, 40, 80] {
            let ddim = drift(&Choice::new("ddim", Role::Decoder, steps));
            for name in second {
                let off = drift(&Choice::new(name, Role::Decoder, steps));
                assert!(off < ddim / 3.0, "{name} drifts by {off} in {steps} steps, DDIM by {ddim}");
            }
            let ddim = drift(&Choice::new("ddim", Role::Prior, steps));
            for name in ["dpmpp_2m", "unipc"] {
                let off = drift(&Choice::new(name, Role::Prior, steps));
                assert!(off < ddim / 2.0, "{name} drifts by {off} in {steps} prior steps, DDIM by {ddim}");
            }
        }
    }

    #[test]
    fn drift_falls_as_the_order_says() {
        // From timestep 999 to 199 in steps of 20 and of 10.
        let at = |name, role, stride: usize| {
            let times = (199..=999).rev().step_by(stride).collect();
            drift(&Choice { steps: Steps::At(times), ..Choice::new(name, role, 0) })
        };
        let orders = [
            ("ddim", Role::Decoder, 0.9..1.2),
            ("euler", Role::Decoder, 0.9..1.2),
            ("dpmpp_2m", Role::Decoder, 1.8..2.2),
            ("unipc", Role::Decoder, 2.5..3.5),
            ("heun", Role::Decoder, 1.8..2.2),
            ("lms", Role::Decoder, 3.0..5.0),
            ("ddim", Role::Prior, 0.9..1.2),
            ("euler", Role::Prior, 0.9..1.2),
        ];
        for (name, role, expected) in orders {
            let (coarse, fine) = (at(name, role, 20), at(name, role, 10));
            let order = (coarse / fine).log2();
            assert!(expected.contains(&order), "{role:?} {name} is of order {order}: {coarse:e} to {fine:e}");
        }
    }
}
