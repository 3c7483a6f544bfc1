//! Schedulers by role, from the folders of the two repositories.
//!
//! The prior has one. The decoder's repository has `scheduler/`, and may have `ddim_scheduler/` and
//! `ddpm_scheduler/`; a role that no folder fills gets the other's noise schedule with the settings that
//! the reference's own repository has for it (DDPM: those that equal the original code's `p_sampler`).

use crate::checkpoint::Config;
use crate::{Error, Result};
use kandinsky_models::KANDINSKY_2_1;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Fields without which a schedule is not known, by class.
const NEEDED: &[(&str, &[&str])] = &[
    ("UnCLIPScheduler", &["num_train_timesteps", "variance_type", "prediction_type", "clip_sample_range"]),
    ("DDIMScheduler", &["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"]),
    ("DDPMScheduler", &["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"]),
];

/// The schedulers `prior`, `ddim` and `ddpm`, and the files that they were read from.
///
/// # Errors
/// When a config is missing, lacks a field or is of an unknown class.
pub fn read(prior: &Path, decoder: &Path) -> Result<(BTreeMap<String, Value>, Vec<PathBuf>)> {
    let prior = open(&prior.join("scheduler"))?.of_class(&["UnCLIPScheduler"])?;
    let main = open(&decoder.join("scheduler"))?.of_class(&["DDIMScheduler", "DDPMScheduler"])?;
    let ddim = optional(&decoder.join("ddim_scheduler"), "DDIMScheduler")?;
    let ddpm = optional(&decoder.join("ddpm_scheduler"), "DDPMScheduler")?;
    let is = |class: &str| main.class == class;
    let ddim_value = match &ddim {
        Some(own) => own.config.value.clone(),
        None if is("DDIMScheduler") => main.config.value.clone(),
        None => derive(&main.config.value, ddim_settings()),
    };
    let ddpm_value = match &ddpm {
        Some(own) => own.config.value.clone(),
        None if is("DDPMScheduler") => main.config.value.clone(),
        None => derive(&main.config.value, ddpm_settings()),
    };
    let files = [Some(&prior), Some(&main), ddim.as_ref(), ddpm.as_ref()];
    let files = files.into_iter().flatten().map(|scheduler| scheduler.config.path.clone()).collect();
    let known = &KANDINSKY_2_1.schedulers;
    let roles = [(known.prior, prior.config.value), (known.ddim, ddim_value), (known.ddpm, ddpm_value)];
    Ok((roles.map(|(role, value)| (role.to_owned(), value)).into(), files))
}

/// Sets one field of a role's settings.
pub fn set(schedulers: &mut BTreeMap<String, Value>, role: &str, field: &str, value: Value) {
    if let Some(settings) = schedulers.get_mut(role).and_then(Value::as_object_mut) {
        settings.insert(field.to_owned(), value);
    }
}

struct Scheduler {
    config: Config,
    class: String,
}

impl Scheduler {
    fn of_class(self, known: &[&str]) -> Result<Self> {
        if known.contains(&self.class.as_str()) {
            return Ok(self);
        }
        let what = format!("_class_name of {}", self.config.path.display());
        Err(Error::Unknown { what, found: self.class, known: known.join(" or ") })
    }
}

fn open(folder: &Path) -> Result<Scheduler> {
    let config = Config::read(&folder.join("scheduler_config.json"))?;
    let class = config.text("_class_name")?.to_owned();
    let needed = NEEDED.iter().find(|(name, _)| *name == class).map_or(&[][..], |(_, fields)| fields);
    for field in needed {
        config.need(field)?;
    }
    Ok(Scheduler { config, class })
}

fn optional(folder: &Path, class: &str) -> Result<Option<Scheduler>> {
    if folder.is_dir() { open(folder)?.of_class(&[class]).map(Some) } else { Ok(None) }
}

/// The noise schedule of `config` under other settings.
fn derive(config: &Value, settings: Value) -> Value {
    let kept = [
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "prediction_type",
    ];
    let mut derived = Map::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    derived.extend(fields(config).into_iter().filter(|(name, _)| kept.contains(&name.as_str())));
    derived.extend(fields(&settings));
    derived.sort_keys();
    Value::Object(derived)
}

fn ddpm_settings() -> Value {
    json!({
        "_class_name": "DDPMScheduler", "variance_type": "learned_range", "clip_sample": false,
        "clip_sample_range": 1.0, "thresholding": true, "dynamic_thresholding_ratio": 0.995,
        "sample_max_value": 2.0, "timestep_spacing": "leading", "steps_offset": 0,
        "rescale_betas_zero_snr": false
    })
}

fn ddim_settings() -> Value {
    json!({
        "_class_name": "DDIMScheduler", "clip_sample": false, "clip_sample_range": 1.0,
        "set_alpha_to_one": false, "thresholding": false, "dynamic_thresholding_ratio": 0.995,
        "sample_max_value": 1.0, "timestep_spacing": "leading", "steps_offset": 1,
        "rescale_betas_zero_snr": false
    })
}
