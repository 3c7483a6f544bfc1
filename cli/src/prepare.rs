//! `kandinsky prepare`: what takes minutes, before the first request.

use super::{Report, RuntimeArgs, cancel_on_interrupt, to_json};
use anyhow::Result;
use kandinsky::find_model;
use kandinsky::internal::prebuild::{self, Built, Event};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Build the TensorRT engines of a model ahead: --runtime tensorrt
///
/// Engines hold for this GPU, these libraries and pictures of about the model's own area in the five aspect
/// ratios. A request never builds one: without its engine it is refused.
#[derive(clap::Args)]
pub struct Args {
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    model: Option<PathBuf>,
    /// Print what the builder says
    #[arg(long)]
    verbose: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let (model, _) = find_model(args.model.as_deref())?;
    let verbose = args.verbose;
    let tell: prebuild::Tell = Arc::new(move |event| show(event, verbose));
    let built = prebuild::build(&model, &args.runtime.options()?, &cancel_on_interrupt()?, &tell)?;
    let cache = kandinsky::internal::verification::cache_folder().map(|folder| folder.join("tensorrt"));
    Ok(Box::new(Engines { model, cache, engines: built.iter().map(Row::of).collect() }))
}

fn show(event: Event<'_>, verbose: bool) {
    match event {
        Event::Begun(component, place, total) => eprintln!("[{}/{total}] {component}", place + 1),
        Event::Log(component, line) if verbose => eprintln!("{component}: {line}"),
        Event::Log(..) | Event::Done(_) => {}
    }
}

#[derive(Serialize)]
struct Engines {
    model: PathBuf,
    cache: Option<PathBuf>,
    engines: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    component: &'static str,
    built: bool,
    seconds: f64,
}

impl Row {
    fn of(engine: &Built) -> Self {
        Self { component: engine.component.name(), built: engine.now, seconds: engine.time.as_secs_f64() }
    }
}

impl Report for Engines {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}

impl fmt::Display for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.engines {
            let how = if row.built { "built" } else { "was there" };
            writeln!(f, "{:<21} {how:<10} {:>8.1} s", row.component, row.seconds)?;
        }
        writeln!(f, "{} engines of {}", self.engines.len(), self.model.display())
    }
}
