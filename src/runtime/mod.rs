//! Runtimes: what opens a graph and runs it. One file a runtime, one line in [`select`].

pub mod library;
pub mod ort;
pub mod tract;

use crate::error::{Error, Kind, Result};
use crate::tensor::Value;
use kandinsky_models::manifest::{Dtype, Port, Target};
use kandinsky_models::{Component, GraphSpec};
use std::path::PathBuf;

pub use library::answer_probe;

/// Names of runtimes that can be asked for.
pub const NAMES: [&str; 5] = ["auto", "ort", "tract", "cuda", "tensorrt"];

/// A graph of a model folder whose bytes have been checked.
pub struct GraphSource {
    /// Which one it is.
    pub component: Component,
    /// Its ONNX file; the data lies beside it.
    pub path: PathBuf,
    /// Its contract.
    pub spec: GraphSpec,
}

/// Something that opens graphs.
pub trait Runtime: Send {
    /// Its name and version, and where it came from.
    fn describe(&self) -> String;

    /// Opens a graph.
    ///
    /// # Errors
    /// When the runtime refuses it.
    fn open(&self, source: &GraphSource) -> Result<Box<dyn Graph>>;
}

/// An open graph.
pub trait Graph: Send {
    /// Runs it on inputs by name and gives all outputs by name.
    ///
    /// # Errors
    /// When the inputs break the contract, the runtime fails, or an output is not finite.
    fn run(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>>;
}

/// Which runtime a caller wants, and how.
#[derive(Debug, Clone, Default)]
pub struct RuntimeOptions {
    /// One of [`NAMES`]; empty is `auto`.
    pub runtime: String,
    /// ONNX Runtime's library, instead of looking for one.
    pub library: Option<PathBuf>,
    /// Threads; all cores when it is not set.
    pub threads: Option<usize>,
    /// Device of the GPU providers.
    pub device: u32,
    /// Encode every prompt and picture anew, instead of keeping what the last ones became.
    pub no_encoding_cache: bool,
    /// Compute what the empty prompt and the picture of zeros become, instead of reading it from the model.
    pub no_constants: bool,
    /// A folder where ONNX Runtime writes what each operator took, a file a graph, when the graph is closed.
    pub profile: Option<PathBuf>,
}

/// The runtime that was chosen, and what the caller should know of it.
pub struct Selection {
    /// It.
    pub runtime: Box<dyn Runtime>,
    /// Why it is not another.
    pub notes: Vec<String>,
}

/// Chooses a runtime: `auto` takes ONNX Runtime where its library works and tract elsewhere.
///
/// # Errors
/// [`Kind::NoRuntime`] when a runtime asked for by name does not work; it is never replaced.
pub fn select(options: &RuntimeOptions) -> Result<Selection> {
    let chosen = |runtime: Box<dyn Runtime>| Selection { runtime, notes: Vec::new() };
    if options.profile.is_some() && matches!(options.runtime.as_str(), "" | "auto" | "tract") {
        let message = "only onnx runtime profiles operators; ask for it by name";
        return Err(Error::new(Kind::BadRequest, message));
    }
    match options.runtime.as_str() {
        "tract" => Ok(chosen(Box::new(tract::Tract::new(options)))),
        "ort" => Ok(chosen(Box::new(ort::Ort::new(options, ort::Provider::Cpu)?))),
        "cuda" => Ok(chosen(Box::new(ort::Ort::new(options, ort::Provider::Cuda)?))),
        "tensorrt" => Ok(chosen(Box::new(ort::Ort::new(options, ort::Provider::TensorRt)?))),
        "" | "auto" => Ok(match ort::Ort::new(options, ort::Provider::Cpu) {
            Ok(ort) => chosen(Box::new(ort)),
            Err(reason) => Selection {
                runtime: Box::new(tract::Tract::new(options)),
                notes: vec![format!("not onnx runtime: {reason}")],
            },
        }),
        other => {
            let message = format!("there is no runtime {other:?}; {} are known", NAMES.join(", "));
            Err(Error::new(Kind::BadRequest, message))
        }
    }
}

/// Refuses graphs that were drawn for another runtime than the one asked for.
///
/// # Errors
/// [`Kind::BadModel`] with what to do.
pub fn check_target(target: Target, options: &RuntimeOptions) -> Result<()> {
    let asked = if options.runtime.is_empty() { "auto" } else { options.runtime.as_str() };
    if target.is_portable() || asked == target.name() {
        return Ok(());
    }
    let name = target.name();
    let message = format!(
        "the model was exported for {name} and the runtime {asked} was asked for; say --runtime {name}, or export \
         it with --target portable"
    );
    Err(Error::new(Kind::BadModel, message))
}

/// Threads asked for, else one a core.
pub fn threads(options: &RuntimeOptions) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    options.threads.unwrap_or_else(cores).max(1)
}

/// Inputs in the order of the contract, checked against it: names, types, ranks, fixed sides.
fn arranged<'a>(source: &GraphSource, inputs: &'a [(&str, Value)]) -> Result<Vec<(&'a str, &'a Value)>> {
    let component = source.component;
    let wrong = |what: String| Error::new(Kind::Internal, format!("{component}: {what}"));
    let mut ordered = Vec::with_capacity(inputs.len());
    for port in &source.spec.inputs {
        let found = inputs.iter().find(|(name, _)| *name == port.name);
        let (name, value) = found.ok_or_else(|| wrong(format!("the input {} is missing", port.name)))?;
        fits(port, value).map_err(&wrong)?;
        ordered.push((*name, value));
    }
    if ordered.len() != inputs.len() {
        let (given, known) = (inputs.len(), ordered.len());
        return Err(wrong(format!("{given} inputs were given to a graph of {known}")));
    }
    Ok(ordered)
}

fn fits(port: &Port, value: &Value) -> std::result::Result<(), String> {
    let dtype = match value {
        Value::F32(_) => Dtype::F32,
        Value::I64(_) => Dtype::I64,
    };
    let shape = value.shape();
    let fixed = |axis: usize, side: &usize| port.fixed(axis).is_none_or(|expected| expected == *side);
    let same =
        shape.len() == port.shape.len() && shape.iter().enumerate().all(|(axis, side)| fixed(axis, side));
    if same && dtype == port.dtype {
        return Ok(());
    }
    let expected = port.shape.join(",");
    Err(format!("{} is {dtype:?}{shape:?}, and the contract says {:?}[{expected}]", port.name, port.dtype))
}

/// Checks what came out: every output of the contract, and finite numbers.
fn checked(source: &GraphSource, outputs: Vec<(String, Value)>) -> Result<Vec<(String, Value)>> {
    let component = source.component;
    let fault = |what: String| Error::new(Kind::RuntimeFault, format!("{component}: {what}"));
    for (port, (name, value)) in source.spec.outputs.iter().zip(&outputs) {
        if port.name != *name {
            return Err(fault(format!("the output {name} came where {} was promised", port.name)));
        }
        fits(port, value).map_err(&fault)?;
        if let Value::F32(array) = value
            && let Some(bad) = array.iter().find(|x| !x.is_finite())
        {
            return Err(fault(format!("the output {name} holds {bad}")));
        }
    }
    Ok(outputs)
}

/// A runtime's message as one short line without paths: runtimes tell of source files and stacks.
fn short(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let words = line.split_whitespace().filter(|word| !word.contains('/') && !word.contains('\\'));
    let mut text = words.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = text.char_indices().nth(200) {
        text.truncate(end);
    }
    text
}
