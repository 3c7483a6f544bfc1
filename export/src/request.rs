//! What an export is asked for, what it says on the way, and what it made.

use crate::checkpoint::{Checkpoint, WeightSource};
use crate::rewrites::{GraphStyle, Rewrites};
use crate::target::rules;
use crate::{Error, Result};
use kandinsky_models::manifest::{Precision, Target};
use kandinsky_models::{Component, KANDINSKY_2_1, Manifest};
use std::path::PathBuf;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The checkpoint's folders.
    pub checkpoint: Checkpoint,
    /// Where its weights come from.
    pub origin: WeightSource,
    /// The model folder to make.
    pub out: PathBuf,
    /// How weights are stored in it.
    pub precision: Precision,
    /// What its graphs are drawn for; those for GPUs store f16, whatever `precision` says.
    pub target: Target,
    /// The rewrites that are on; graphs for GPUs have none.
    pub rewrites: Rewrites,
    /// What to call the model.
    pub name: String,
    /// What the weights are, in words.
    pub description: String,
    /// SPDX expression of the weights' licence, where it is known.
    pub licence: Option<String>,
    /// Defaults of the model that are not Kandinsky's own.
    pub defaults: Overrides,
    /// Whether a model folder that is there may be replaced.
    pub force: bool,
}

impl Request {
    /// Asks for an f32 model folder `out` of the checkpoint's own weights.
    pub fn new(checkpoint: Checkpoint, out: impl Into<PathBuf>) -> Self {
        Self {
            checkpoint,
            origin: WeightSource::Files,
            out: out.into(),
            precision: Precision::F32,
            target: Target::Portable,
            rewrites: Rewrites::default(),
            name: KANDINSKY_2_1.name.to_owned(),
            description: KANDINSKY_2_1.title.to_owned(),
            licence: None,
            defaults: Overrides::default(),
            force: false,
        }
    }

    /// How its graphs are drawn.
    pub fn style(&self) -> GraphStyle {
        GraphStyle::of(self.target, &self.rewrites)
    }

    /// How weights are stored: graphs for GPUs have f16 whatever was asked.
    pub fn stored(&self) -> Precision {
        if rules(self.target).f16 { Precision::F16 } else { self.precision }
    }
}

/// Defaults of a model; where one is `None`, Kandinsky's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Decoder steps (50).
    pub steps: Option<usize>,
    /// Decoder guidance (4).
    pub guidance: Option<f64>,
    /// Prior steps (25).
    pub prior_steps: Option<usize>,
    /// Prior guidance (4).
    pub prior_guidance: Option<f64>,
    /// Width in pixels (the size that the UNet was trained at).
    pub width: Option<usize>,
    /// Height in pixels (likewise).
    pub height: Option<usize>,
    /// The decoder's sampler (`ddim`).
    pub sampler: Option<String>,
    /// Whether `ddpm` thresholds the latents that it predicts (as the checkpoint says; where it is silent, yes).
    pub thresholding: Option<bool>,
}

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The component being written, or the checkpoint's file being hashed.
    pub what: &'a str,
    /// Bytes done of the whole export.
    pub done: u64,
    /// Bytes of the whole export, estimated.
    pub total: u64,
}

/// Counts bytes for the caller, who stops the export by an error.
pub(crate) struct Meter<'a> {
    tell: &'a mut dyn FnMut(Progress<'_>) -> Result<()>,
    done: u64,
    total: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(total: u64, tell: &'a mut dyn FnMut(Progress<'_>) -> Result<()>) -> Self {
        Self { tell, done: 0, total }
    }

    pub(crate) fn add(&mut self, what: &str, bytes: u64) -> Result<()> {
        self.done = self.done.saturating_add(bytes).min(self.total);
        (self.tell)(Progress { what, done: self.done, total: self.total })
    }
}

/// What an export made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every graph, in the order in which a picture passes through them.
    pub components: Vec<ComponentReport>,
    /// Weights of all graphs, as numbers.
    pub parameters: u64,
    /// Bytes of all files that the manifest names.
    pub bytes: u64,
}

/// What an export made of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentReport {
    /// Which it is.
    pub component: Component,
    /// Weights, as numbers.
    pub parameters: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files, relative to the folder.
    pub files: Vec<String>,
}

impl Report {
    /// Sums up a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let specs = Component::ALL
            .into_iter()
            .filter_map(|component| manifest.components.get(component.name()).map(|spec| (component, spec)));
        let components: Vec<_> = specs
            .map(|(component, spec)| {
                let files: Vec<_> = std::iter::once(&spec.graph).chain(&spec.data).collect();
                ComponentReport {
                    component,
                    parameters: spec.parameters,
                    bytes: files.iter().map(|file| file.bytes).sum(),
                    files: files.iter().map(|file| file.path.clone()).collect(),
                }
            })
            .collect();
        let graphs: u64 = components.iter().map(|report| report.bytes).sum();
        let others: u64 = manifest.files.values().map(|file| file.bytes).sum();
        Self {
            parameters: components.iter().map(|report| report.parameters).sum(),
            bytes: graphs + others,
            components,
        }
    }
}

/// Checks what a request says of itself.
pub(crate) fn check(request: &Request) -> Result<()> {
    let refuse = |what: &str, found: String, known: &str| {
        Err(Error::Unknown { what: what.to_owned(), found, known: known.to_owned() })
    };
    let Overrides { steps, guidance, prior_steps, prior_guidance, width, height, sampler, .. } =
        &request.defaults;
    if request.name.is_empty() || request.name.len() > 100 {
        return refuse("the model's name", request.name.chars().take(100).collect(), "1 to 100 bytes");
    }
    let small = |side: &&usize| !(64..=2048).contains(*side);
    if let Some(side) = [width, height].into_iter().flatten().find(small) {
        return refuse("the default size", side.to_string(), "64 to 2048");
    }
    let wild = |scale: &&f64| !(0.0..=100.0).contains(*scale);
    if let Some(scale) = [guidance, prior_guidance].into_iter().flatten().find(wild) {
        return refuse("the default guidance", scale.to_string(), "0 to 100");
    }
    for (what, steps, least) in [("default steps", steps, 1), ("default prior steps", prior_steps, 2)] {
        if let Some(steps) = steps.filter(|steps| !(least..=1000).contains(steps)) {
            return refuse(what, steps.to_string(), &format!("{least} to 1000"));
        }
    }
    // Which samplers there are is the engine's to know; a name is a word.
    let word = |name: &&String| {
        (1..=40).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    };
    match sampler.as_ref().filter(|name| !word(name)) {
        Some(name) => {
            refuse("the default sampler", name.chars().take(100).collect(), "a word of a-z, 0-9 and _")
        }
        None => Ok(()),
    }
}
