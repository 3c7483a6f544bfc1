//! Graphs of ONNX Runtime that are compiled once: optimised for this processor, saved, and read back as they are; and
//! what graphs take of memory with and without that.

use super::GraphSource;
use super::cache::LARGE;
use crate::residency::Coefficients;
use kandinsky_models::Component;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use std::path::Path;

/// Measured: weights are copied as they are packed, and MoVQ's graph is run in an order that holds every
/// normalisation's scale and shift at full size.
pub(super) const PLAIN: Coefficients = Coefficients {
    weights: 100,
    convolutions: 101,
    text: 30,
    opening: 0,
    opening_text: 60,
    unet_maps: 14,
    movq_maps: 26,
    scores: 2,
};

/// Measured: weights of convolutions are mapped as they were laid out. The graph is read back in the order in which it
/// was saved, which holds far fewer feature maps of MoVQ.
pub(super) const COMPILED: Coefficients =
    Coefficients { weights: 100, convolutions: 103, text: 20, movq_maps: 8, ..PLAIN };

pub(super) fn builder(environment: &Environment, source: &GraphSource) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?.with_memory_pattern(false)?.with_prepacking(packs(source))?)
}

/// Whether weights are laid out anew as the graph is opened, which copies them. Large graphs that run once a prompt or a
/// picture read them where they lie: for the prior's prefix that saves seconds and 4 GB, and costs a quarter of a second a
/// prompt.
fn packs(source: &GraphSource) -> bool {
    let once = matches!(
        source.component,
        Component::TextEncoder
            | Component::MultilingualEncoder
            | Component::ImageEncoder
            | Component::PriorPrefix
            | Component::UnetContext
            | Component::UnetFilm
            | Component::InpaintContext
            | Component::InpaintFilm
    );
    !once || source.spec.data_bytes() < LARGE
}

/// Optimises a graph for this processor and saves it to `graph`, its weights to the file `data` beside it. Packed
/// weights of matrix products are not among them: with them ONNX Runtime 1.31.1 crashes in some graphs that it reads
/// back.
pub(super) fn compile(
    environment: &Environment,
    source: &GraphSource,
    graph: &Path,
    data: &str,
) -> ort::Result<()> {
    builder(environment, source)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_log_level(LogLevel::Error)?
        .with_optimized_model_path(graph)?
        .with_config_entry("session.optimized_model_external_initializers_file_name", data)?
        .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")?
        .commit_from_file(&source.path)
        .map(drop)
}

pub(super) fn open_compiled(
    environment: &Environment,
    source: &GraphSource,
    graph: &Path,
) -> ort::Result<Session> {
    builder(environment, source)?
        .with_optimization_level(GraphOptimizationLevel::Disable)?
        .commit_from_file(graph)
}
