//! `kandinsky verify`: every hash, every graph.

use super::{Report, RuntimeArgs, to_json};
use anyhow::Result;
use kandinsky::internal::opening::VerifiedGraphs;
use kandinsky::internal::prebuild;
use kandinsky::internal::runtime;
use kandinsky::{CacheMode, Error, Kind, RuntimeOptions, find_model};
use kandinsky_models::{Component, Folder};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Check a model folder: read every byte, compare every hash, open every graph
#[derive(clap::Args)]
pub struct Args {
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    model: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let (path, _) = find_model(args.model.as_deref())?;
    let folder = Folder::open(&path)?;
    // The graphs themselves are to open, and not what was made of them before.
    let options = RuntimeOptions { cache: CacheMode::Off, ..args.runtime.options()? };
    let selection = runtime::select(&prebuild::fitted(&options, folder.manifest())?)?;
    let mut checks = Vec::new();
    let mut graphs = VerifiedGraphs::reading_every_byte(folder.clone());
    for component in Component::ALL.into_iter().filter(|c| folder.has(*c)) {
        let outcome = graphs.source(component).and_then(|source| selection.runtime.open(&source));
        checks.push(Check::new(component.name(), outcome.map(|_| ())));
    }
    for (role, entry) in &folder.manifest().files {
        checks.push(Check::new(role, folder.verify(entry).map(|_| ()).map_err(Error::from)));
    }
    Ok(Box::new(Verdict { model: path, runtime: selection.runtime.describe(), checks }))
}

#[derive(Serialize)]
struct Verdict {
    model: PathBuf,
    runtime: String,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    name: String,
    ok: bool,
    error: Option<String>,
}

impl Check {
    fn new(name: &str, outcome: kandinsky::Result<()>) -> Self {
        let error = outcome.err().map(|e| e.to_string());
        Self { name: name.to_owned(), ok: error.is_none(), error }
    }
}

impl Report for Verdict {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }

    fn exit_code(&self) -> u8 {
        if self.checks.iter().all(|check| check.ok) { 0 } else { Kind::BadModel.exit_code() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.model.display(), self.runtime)?;
        for check in &self.checks {
            writeln!(f, "{:<22} {}", check.name, check.error.as_deref().unwrap_or("ok"))?;
        }
        let bad = self.checks.iter().filter(|check| !check.ok).count();
        writeln!(f, "{} of {} good", self.checks.len() - bad, self.checks.len())
    }
}
