//! A checkpoint's `scheduler_config.json`, read field by field.
//!
//! Every sampler reads the fields that it obeys, with the defaults of the diffusers class of its name; a
//! field whose value it cannot obey is refused by name, never ignored.

use super::{SCHEDULES, Schedule, Spacing};
use crate::error::{Error, Kind, Result};
use crate::math::narrow;
use serde_json::{Map, Value};

/// The classes whose files are understood, since they share their fields; each with its own defaults of
/// `beta_schedule`, `beta_start` and `beta_end`.
const CLASSES: &[(&str, &str, f64, f64)] = &[
    ("UnCLIPScheduler", "squaredcos_cap_v2", 0.0001, 0.02),
    ("DDIMScheduler", "linear", 0.0001, 0.02),
    ("DDPMScheduler", "linear", 0.0001, 0.02),
    ("PNDMScheduler", "linear", 0.0001, 0.02),
    ("DPMSolverMultistepScheduler", "linear", 0.0001, 0.02),
    ("UniPCMultistepScheduler", "linear", 0.0001, 0.02),
    ("EulerDiscreteScheduler", "linear", 0.0001, 0.02),
    ("EulerAncestralDiscreteScheduler", "linear", 0.0001, 0.02),
    ("HeunDiscreteScheduler", "linear", 0.00085, 0.012),
    ("LMSDiscreteScheduler", "linear", 0.0001, 0.02),
];

/// What holds for a model whatever samples it: its training, its range and its end.
const TRAINING: &[&str] = &[
    "num_train_timesteps",
    "trained_betas",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "prediction_type",
    "clip_sample",
    "clip_sample_range",
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "set_alpha_to_one",
    "steps_offset",
];

/// Fields that ask for arithmetic that no sampler here has, where they are on.
const UNKNOWN_ARITHMETIC: &[&str] = &[
    "rescale_betas_zero_snr",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "use_flow_sigmas",
    "use_lu_lambdas",
    "use_dynamic_shifting",
];

/// Most training timesteps: ten times what any released model has.
const MOST_TIMESTEPS: usize = 10_000;

/// A scheduler's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    fields: Map<String, Value>,
}

impl SchedulerConfig {
    /// Reads settings.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names a class or a setting that is not understood.
    pub fn parse(value: &Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            return Err(bad("a scheduler's settings are not an object".to_owned()));
        };
        let config = Self { fields: fields.clone() };
        config.beta_defaults()?;
        for name in UNKNOWN_ARITHMETIC {
            if config.flag(name, false)? {
                return Err(bad(format!("the scheduler's {name} is true, which no sampler here can obey")));
            }
        }
        Ok(config)
    }

    /// The same model's settings for the class `class`. Those of another class keep what holds for the model
    /// whatever samples it; for the rest the class has its own defaults.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names a setting.
    pub fn for_class(&self, class: &str) -> Result<Self> {
        if self.word("_class_name", "")? == class {
            return Ok(self.clone());
        }
        let (_, name, start, end) = self.beta_defaults()?;
        let mut fields = Map::new();
        fields.insert("beta_schedule".to_owned(), (*name).into());
        fields.insert("beta_start".to_owned(), (*start).into());
        fields.insert("beta_end".to_owned(), (*end).into());
        let kept = TRAINING.iter().filter_map(|name| Some(((*name).to_owned(), self.find(name)?.clone())));
        fields.extend(kept);
        Ok(Self { fields }.with("_class_name", class.into()))
    }

    /// The same settings with one of them set.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// The noise schedule.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names the setting.
    pub fn schedule(&self) -> Result<Schedule> {
        if let Some(given) = self.find("trained_betas") {
            return given_betas(given).map(Schedule::new);
        }
        let timesteps = self.count("num_train_timesteps", 1000)?;
        if !(2..=MOST_TIMESTEPS).contains(&timesteps) {
            return Err(bad(format!(
                "num_train_timesteps is {timesteps}; the limit is 2 to {MOST_TIMESTEPS}"
            )));
        }
        let (_, name, start, end) = self.beta_defaults()?;
        let (start, end) = (self.number("beta_start", *start)?, self.number("beta_end", *end)?);
        if !(0.0 < start && start <= end && end < 1.0) {
            return Err(bad(format!("beta_start is {start} and beta_end {end}; they rise between 0 and 1")));
        }
        let name = self.word("beta_schedule", name)?;
        match SCHEDULES.iter().find(|schedule| schedule.name == name) {
            Some(schedule) => Ok(Schedule::new((schedule.betas)(start, end, timesteps))),
            None => Err(unknown("beta_schedule", name, SCHEDULES.iter().map(|schedule| schedule.name))),
        }
    }

    fn beta_defaults(&self) -> Result<&'static (&'static str, &'static str, f64, f64)> {
        let class = self.word("_class_name", "")?;
        CLASSES.iter().find(|(known, ..)| *known == class).ok_or_else(|| {
            let known: Vec<_> = CLASSES.iter().map(|(known, ..)| *known).collect();
            bad(format!("the scheduler class {class:?} is unknown; known are {}", known.join(", ")))
        })
    }

    /// How timesteps are spread, with the default for a file that does not say.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names the setting.
    pub fn spacing(&self, default: Spacing) -> Result<Spacing> {
        let name = self.word("timestep_spacing", default.name())?;
        let known = Spacing::ALL.iter().find(|spacing| spacing.name() == name);
        known.copied().ok_or_else(|| unknown("timestep_spacing", name, Spacing::ALL.iter().map(|s| s.name())))
    }

    /// What is added to leading timesteps.
    ///
    /// # Errors
    /// [`Kind::BadModel`] when it is not a small integer.
    pub fn steps_offset(&self) -> Result<i32> {
        let offset = self.count("steps_offset", 0)?;
        i32::try_from(offset)
            .ok()
            .filter(|n| *n < 1000)
            .ok_or_else(|| bad(format!("steps_offset is {offset}")))
    }

    /// A word among `known`, the first of which is the default; its place there.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names the setting and what is known.
    pub fn choice(&self, name: &str, known: &[&str]) -> Result<usize> {
        let word = self.word(name, known.first().copied().unwrap_or_default())?;
        let place = known.iter().position(|candidate| *candidate == word);
        place.ok_or_else(|| unknown(name, word, known.iter().copied()))
    }

    /// A word.
    ///
    /// # Errors
    /// [`Kind::BadModel`] when it is something else.
    pub fn word<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str> {
        self.read(name, default, Value::as_str, "a word")
    }

    /// Yes or no.
    ///
    /// # Errors
    /// [`Kind::BadModel`] when it is something else.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        self.read(name, default, Value::as_bool, "true or false")
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`Kind::BadModel`] when it is something else.
    pub fn number(&self, name: &str, default: f64) -> Result<f64> {
        self.read(name, default, |value| value.as_f64().filter(|x| x.is_finite()), "a finite number")
    }

    /// A count.
    ///
    /// # Errors
    /// [`Kind::BadModel`] when it is something else.
    pub fn count(&self, name: &str, default: usize) -> Result<usize> {
        self.read(name, default, |value| usize::try_from(value.as_u64()?).ok(), "a count")
    }

    /// Refuses a setting that has another value than the one that is obeyed.
    ///
    /// # Errors
    /// [`Kind::BadModel`] that names the setting, its value and what is obeyed.
    pub fn only(&self, name: &str, obeyed: &Value) -> Result<()> {
        match self.find(name).filter(|value| *value != obeyed) {
            None => Ok(()),
            Some(value) => {
                Err(bad(format!("the scheduler's {name} is {value}; only {obeyed} is obeyed here")))
            }
        }
    }

    /// A field that is there and not null.
    fn find(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn read<'a, T>(
        &'a self,
        name: &str,
        default: T,
        parse: impl Fn(&'a Value) -> Option<T>,
        wanted: &str,
    ) -> Result<T> {
        match self.find(name) {
            None => Ok(default),
            Some(value) => parse(value)
                .ok_or_else(|| bad(format!("the scheduler's {name} is {value}, which is not {wanted}"))),
        }
    }
}

fn given_betas(value: &Value) -> Result<Vec<f32>> {
    let numbers = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let betas: Option<Vec<f32>> = numbers.iter().map(|beta| beta.as_f64().map(narrow)).collect();
    betas
        .filter(|betas| {
            (2..=MOST_TIMESTEPS).contains(&betas.len()) && betas.iter().all(|b| 0.0 < *b && *b < 1.0)
        })
        .ok_or_else(|| bad(format!("trained_betas are not 2 to {MOST_TIMESTEPS} numbers between 0 and 1")))
}

fn unknown<'a>(name: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<_> = known.collect();
    bad(format!("the scheduler's {name} is {word:?}; known are {}", known.join(", ")))
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadModel, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(value: Value) -> String {
        let config = match SchedulerConfig::parse(&value) {
            Err(error) => return error.to_string(),
            Ok(config) => config,
        };
        let error = config.schedule().map(|_| ()).err();
        let error = error.or(config.spacing(Spacing::Leading).err()).or(config.steps_offset().err());
        let error = error.expect("a refusal");
        assert_eq!(error.kind(), Kind::BadModel);
        error.to_string()
    }

    #[test]
    fn what_cannot_be_obeyed_is_named() {
        let cases = [
            (json!(3), "object"),
            (json!({}), "class"),
            (json!({"_class_name": "Magic"}), "\"Magic\""),
            (
                json!({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true}),
                "rescale_betas_zero_snr",
            ),
            (json!({"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}), "\"sigmoid\""),
            (json!({"_class_name": "DDIMScheduler", "beta_end": 2.0}), "beta_end 2"),
            (json!({"_class_name": "DDIMScheduler", "num_train_timesteps": 1}), "num_train_timesteps is 1"),
            (json!({"_class_name": "DDIMScheduler", "num_train_timesteps": -3}), "-3"),
            (json!({"_class_name": "DDIMScheduler", "timestep_spacing": "odd"}), "\"odd\""),
            (json!({"_class_name": "DDIMScheduler", "steps_offset": 5000}), "5000"),
            (json!({"_class_name": "DDIMScheduler", "trained_betas": [0.1, 7.0]}), "trained_betas"),
        ];
        for (value, word) in cases {
            let message = refusal(value);
            assert!(message.contains(word), "{message} does not say {word}");
        }
    }

    #[test]
    fn null_is_absence() {
        let value = json!({"_class_name": "DDIMScheduler", "trained_betas": null, "steps_offset": null});
        let config = SchedulerConfig::parse(&value).unwrap();
        assert_eq!(config.schedule().unwrap().len(), 1000);
        assert_eq!(config.steps_offset().unwrap(), 0);
    }
    #[test]
    fn another_class_keeps_what_holds_for_the_model() {
        let prior = json!({
            "_class_name": "UnCLIPScheduler", "prediction_type": "sample", "clip_sample_range": 10.0,
            "variance_type": "fixed_small_log", "timestep_spacing": "leading"
        });
        let prior = SchedulerConfig::parse(&prior).unwrap();
        let solver = prior.for_class("HeunDiscreteScheduler").unwrap();
        assert_eq!(solver.schedule().unwrap(), prior.schedule().unwrap());
        assert_eq!(solver.word("prediction_type", "").unwrap(), "sample");
        assert_eq!(solver.number("clip_sample_range", 1.0).unwrap(), 10.0);
        assert_eq!(solver.word("timestep_spacing", "linspace").unwrap(), "linspace");
        assert_eq!(solver.for_class("HeunDiscreteScheduler").unwrap(), solver);
    }

    #[test]
    fn a_value_that_is_not_obeyed_is_named() {
        let value = json!({"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_p": null});
        let config = SchedulerConfig::parse(&value).unwrap();
        config.only("solver_p", &json!({})).unwrap();
        config.only("solver_type", &"bh2".into()).unwrap();
        let message = config.only("solver_order", &2.into()).unwrap_err().to_string();
        assert!(message.contains("solver_order is 3") && message.contains("only 2"), "{message}");
    }
}
