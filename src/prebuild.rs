//! What is done ahead of requests: TensorRT's engines take minutes to build, so `kandinsky prepare` builds them
//! for the sizes that a model is asked for, and no request ever waits for one.

use crate::error::{Error, Kind, Result};
use crate::opening::VerifiedGraphs;
use crate::progress::CancelToken;
use crate::request::{ASPECTS, aspect_size};
use crate::runtime::ort::Ort;
use crate::runtime::provider::Provider;
use crate::runtime::shapes::Shapes;
use crate::runtime::{self, RuntimeOptions};
use kandinsky_models::manifest::F32_REWRITES;
use kandinsky_models::{Component, Folder, Manifest};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far the building is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// The engine of a graph is begun: the graph, its place from 0, and how many there are.
    Begun(Component, usize, usize),
    /// The builder says something of a graph.
    Log(Component, &'a str),
    /// The engine of a graph is there.
    Done(&'a Built),
}

/// An engine that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The graph.
    pub component: Component,
    /// Whether it was built just now, and not before.
    pub now: bool,
    /// How long it took.
    pub time: Duration,
}

/// Who is told; the builder may tell from threads of its own.
pub type Tell = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// The options with what the model adds to them: the shapes of its own sizes, and whether it is for f32 alone.
///
/// # Errors
/// [`Kind::BadModel`] when its graphs were drawn for another runtime than the one asked for.
pub fn fitted(options: &RuntimeOptions, model: &Manifest) -> Result<RuntimeOptions> {
    runtime::check_target(model.target, options)?;
    let shapes = match &options.shapes {
        Some(shapes) => shapes.clone(),
        None => shapes(model)?,
    };
    let f32_only = model.rewrites.iter().find(|name| F32_REWRITES.contains(&name.as_str())).cloned();
    Ok(RuntimeOptions { shapes: Some(shapes), f32_only, ..options.clone() })
}

/// Latents of the model's own size in every named aspect ratio, squares first.
fn shapes(model: &Manifest) -> Result<Shapes> {
    let (own, latent) = (&model.defaults, &model.latent);
    let (area, multiple) =
        (own.width.saturating_mul(own.height), latent.factor.saturating_mul(latent.multiple));
    let sizes = ASPECTS.iter().map(|(name, _)| {
        let size = aspect_size(name, area, multiple)?;
        Ok([size.height / latent.factor.max(1), size.width / latent.factor.max(1)])
    });
    Shapes::new(sizes.collect::<Result<_>>()?)
}

/// Builds every engine of the model folder `model` that is not in the cache.
///
/// # Errors
/// When the runtime is not `tensorrt` or does not work, a graph is refused, or the caller cancelled; engines
/// that were built stay.
pub fn build(
    model: &Path,
    options: &RuntimeOptions,
    cancel: &CancelToken,
    tell: &Tell,
) -> Result<Vec<Built>> {
    if options.runtime != Provider::TensorRt.name() {
        let message =
            format!("only tensorrt is prepared ahead, and the runtime {:?} was asked for", options.runtime);
        return Err(Error::new(Kind::BadRequest, message));
    }
    let folder = Folder::open(model)?;
    let runtime = Ort::new(&fitted(options, folder.manifest())?, Provider::TensorRt)?;
    let all: Vec<_> = Component::ALL.into_iter().filter(|component| folder.has(*component)).collect();
    let mut graphs = VerifiedGraphs::new(folder);
    let mut engines = Vec::with_capacity(all.len());
    for (place, component) in all.iter().enumerate() {
        cancel.check()?;
        tell(Event::Begun(*component, place, all.len()));
        let built = build_one(&mut graphs, *component, &runtime, tell)?;
        tell(Event::Done(&built));
        engines.push(built);
    }
    Ok(engines)
}

fn build_one(graphs: &mut VerifiedGraphs, component: Component, runtime: &Ort, tell: &Tell) -> Result<Built> {
    let start = Instant::now();
    let source = graphs.source(component)?;
    let tell = Arc::clone(tell);
    let log = Arc::new(move |line: &str| tell(Event::Log(component, line)));
    let now = runtime.build_engine(&source, log)?;
    Ok(Built { component, now, time: start.elapsed() })
}
