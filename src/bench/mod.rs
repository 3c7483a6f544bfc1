//! What every stage of a picture takes on this machine: time, memory, bytes, operations, and the share of what
//! the machine can do that is made use of.
//!
//! A stage is one entry of [`stages::STAGES`]. Each is measured alone: only the graphs that it runs are open, it
//! runs once untimed and then `repeat` times, and the mark of most memory is set back before.

mod memory;
mod operators;
mod report;
pub mod stages;
mod system;

pub use report::{Machine, Measured, Operators, Report, Times};

use crate::component::call_statistics::CallStatistics;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::request::{Request, Size};
use crate::runtime::{self, RuntimeOptions};
use kandinsky_models::{Component, operations};
use memory::Watermark;
use stages::{Bench, Stage};
use std::path::Path;
use std::time::Instant;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Options {
    /// On which runtime.
    pub runtime: RuntimeOptions,
    /// Stages or groups of them, such as `unet.step` or `prior`; all when it is empty.
    pub stages: Vec<String>,
    /// Timed runs of each stage.
    pub repeat: usize,
    /// The prompt.
    pub prompt: String,
    /// Size of the picture; the model's own when it is not set.
    pub size: Option<Size>,
    /// Decoder steps; the model's own when they are not set.
    pub steps: Option<usize>,
    /// Prior steps; the model's own when they are not set.
    pub prior_steps: Option<usize>,
    /// Whether operators are profiled too, in a run of their own.
    pub profile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            runtime: RuntimeOptions::default(),
            stages: Vec::new(),
            repeat: 5,
            prompt: "red cat, 4k photo".to_owned(),
            size: None,
            steps: None,
            prior_steps: None,
            profile: false,
        }
    }
}

/// Measures the stages of the model folder `model` and says through `tell` which is under way.
///
/// # Errors
/// When a stage or the runtime is unknown, a number is out of its limits, or a network fails.
pub fn run(model: &Path, options: &Options, tell: &mut dyn FnMut(&str)) -> Result<Report> {
    limits::REPEAT.check(options.repeat)?;
    let chosen = stages::choose(&options.stages)?;
    let engine = Engine::open_with(model, &options.runtime)?;
    if options.profile && !engine.with_networks(|networks| Ok(networks.runtime_entry().profiles))? {
        let message = format!("only onnx runtime profiles operators, and this is {}", engine.runtime());
        return Err(Error::new(Kind::BadRequest, message));
    }
    let bench = Bench::new(&engine, request(options))?;
    tell("the machine's own speed");
    let machine = system::examine(&options.runtime)?;
    let mut measured = Vec::new();
    for stage in &chosen {
        for (name, work) in stage.parts(&bench)? {
            tell(&name);
            let (times, calls, memory) = measure(&bench, stage, work, options.repeat)?;
            measured.push(of_stage((name, stage), times, &calls, memory, (&bench, &machine))?);
        }
    }
    let operators = if options.profile { Some(profiled(model, options, &chosen, tell)?) } else { None };
    report::assemble((model, &bench, options), machine, measured, operators)
}

fn request(options: &Options) -> Request {
    Request {
        size: options.size,
        steps: options.steps,
        prior_steps: options.prior_steps,
        ..Request::text_to_image(options.prompt.clone()).seed(1)
    }
}

/// Runs a stage once untimed and `repeat` times timed; the calls are those of the last run.
fn measure(
    bench: &Bench<'_>,
    stage: &Stage,
    mut work: stages::Work<'_>,
    repeat: usize,
) -> Result<(Vec<f64>, CallStatistics, Watermark)> {
    if stage.warms() {
        work.warm()?;
    }
    let mut seconds = Vec::with_capacity(repeat);
    let mut memory = Watermark::set_back();
    let mut calls = CallStatistics::default();
    for _ in 0..repeat {
        work.before()?;
        if stage.forgets() {
            bench.forget()?;
        }
        bench.engine.with_networks(|networks| Ok(networks.take_call_statistics()))?;
        let start = Instant::now();
        work.run()?;
        seconds.push(start.elapsed().as_secs_f64());
        memory.look();
        calls = bench.engine.with_networks(|networks| Ok(networks.take_call_statistics()))?;
    }
    Ok((seconds, calls, memory))
}

/// What was measured of a stage, set against the machine.
fn of_stage(
    (name, stage): (String, &Stage),
    seconds: Vec<f64>,
    calls: &CallStatistics,
    memory: Watermark,
    (bench, machine): (&Bench<'_>, &Machine),
) -> Result<Measured> {
    let counted = count(bench, calls)?;
    let graphs = stage.graphs(bench, &name)?;
    let manifest = bench.engine.manifest();
    let weights = graphs.iter().filter_map(|graph| manifest.components.get(graph.name()));
    let weight_bytes = weights.map(|spec| spec.data_bytes()).sum();
    let times = Times::of(seconds);
    Ok(Measured::new((name, stage.doc), graphs, times, (weight_bytes, counted), memory, machine.peak))
}

/// Operations and bytes of weights of some calls; `None` where a graph holds an operator that is not counted.
fn count(bench: &Bench<'_>, calls: &CallStatistics) -> Result<Option<(u64, u64)>> {
    let (mut flop, mut bytes) = (0, 0);
    for (component, shapes, times) in calls.iter() {
        let model = bench.engine.with_networks(|networks| {
            let folder = networks.folder();
            Ok(folder.check_graph(folder.graph(component)?)?)
        })?;
        let Some(graph) = &model.graph else { return Ok(None) };
        let Ok(one) = operations::count(graph, shapes) else { return Ok(None) };
        flop += times * one.flop;
        bytes += times * one.weight_bytes;
    }
    Ok(Some((flop, bytes)))
}

/// Runs every stage once more on an engine that profiles, and reads what its operators took.
fn profiled(
    model: &Path,
    options: &Options,
    chosen: &[&Stage],
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Operators>> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, format!("no folder for profiles: {e}"));
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut all: Vec<Operators> = Vec::new();
    for (place, stage) in chosen.iter().copied().filter(|stage| stage.warms()).enumerate() {
        let own = folder.path().join(place.to_string());
        std::fs::create_dir(&own).map_err(failed)?;
        let runtime = profiling(&options.runtime, &own)?;
        let engine = Engine::open_with(model, &runtime)?;
        let bench = Bench::new(&engine, request(options))?;
        let graphs = names(&stage.graphs(&bench, stage.name)?);
        // Each graph is told of once, in the first stage that runs it; others are open for what they prepare.
        let is_new = |graph: &&str| all.iter().all(|known| known.graph != *graph);
        let new: Vec<&str> = graphs.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            continue;
        }
        tell(&format!("{}, profiled", stage.name));
        for (_, mut work) in stage.parts(&bench)? {
            std::fs::remove_dir_all(&own).and_then(|()| std::fs::create_dir(&own)).map_err(failed)?;
            work.warm()?;
            bench.forget()?;
            work.run()?;
        }
        drop(bench);
        drop(engine); // closes the graphs, which writes the profiles
        let read = operators::read(&own, stage.name)?;
        all.extend(read.into_iter().filter(|found| new.contains(&found.graph.as_str())));
    }
    Ok(all)
}

fn profiling(options: &RuntimeOptions, folder: &Path) -> Result<RuntimeOptions> {
    let runtime = runtime::profiler(options)?.to_owned();
    Ok(RuntimeOptions { runtime, profile: Some(folder.to_owned()), ..options.clone() })
}

/// Names of graphs, in the order in which a picture passes through them.
fn names(graphs: &[Component]) -> Vec<&'static str> {
    graphs.iter().map(|graph| graph.name()).collect()
}
