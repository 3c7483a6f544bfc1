//! Runtimes: what opens a graph and runs it. A runtime is one file and one row of [`RUNTIMES`].

pub mod cache;
pub mod entry;
pub mod library;
pub mod openvino;
pub mod ort;
mod ort_bound;
mod ort_compiled;
mod ort_engine;
mod ort_environment;
mod ort_value;
pub mod precision;
mod precision_choice;
pub mod profiled;
pub mod provider;
mod select;
pub mod shapes;
pub mod tract;

use crate::error::{Error, Kind, Result};
use crate::residency::Coefficients;
use crate::tensor::{Input, Value};
use kandinsky_models::manifest::{Dtype, Port};
use kandinsky_models::{Component, GraphSpec};
use serde::Deserialize;
use std::path::PathBuf;

pub use cache::CacheMode;
pub use entry::{Availability, Opening, RuntimeEntry};
pub use library::answer_probe;
pub use precision::Precision;
pub use select::{automatic, check_target, profiler, select};

/// Every runtime; `auto` considers them in this order.
pub static RUNTIMES: &[&RuntimeEntry] =
    &[&ort::ENTRY, &openvino::ENTRY, &tract::ENTRY, &ort::CUDA, &ort::TENSORRT];

/// The name that leaves the choice to [`select`].
pub const AUTO: &str = "auto";

/// Names of runtimes that can be asked for.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(AUTO).chain(RUNTIMES.iter().map(|entry| entry.name))
}

/// A graph of a model folder whose bytes have been checked.
#[derive(Clone)]
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

    /// Its row of the table.
    fn entry(&self) -> &'static RuntimeEntry;

    /// How it would open a graph.
    fn opening(&self, _source: &GraphSource) -> Opening {
        Opening::Plain
    }

    /// What a graph takes of memory on it.
    fn coefficients(&self, source: &GraphSource) -> Coefficients {
        (self.entry().memory)(self.opening(source))
    }

    /// What the caller should know of the graphs opened since the last call.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A runtime that was brought up.
pub struct Opened {
    /// It.
    pub runtime: Box<dyn Runtime>,
    /// What the caller should know of it.
    pub note: Option<String>,
}

impl Opened {
    /// A runtime of which there is nothing to know.
    fn new(runtime: impl Runtime + 'static) -> Self {
        Self { runtime: Box::new(runtime), note: None }
    }
}

/// An open graph.
pub trait Graph: Send {
    /// Runs it on inputs by name and gives all outputs by name.
    ///
    /// # Errors
    /// When the inputs break the contract, the runtime fails, or an output is not finite.
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>>;

    /// Keeps inputs for the runs to come, known by `id`, and says whether those may leave them out. A graph
    /// that already keeps inputs of this `id` does nothing.
    ///
    /// # Errors
    /// When they break the contract or cannot be brought to the device.
    fn keep(&mut self, _id: u64, _inputs: &[(&str, Input<'_>)]) -> Result<bool> {
        Ok(false)
    }
}

/// Which runtime a caller wants, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeOptions {
    /// One of [`names`]; empty is `AUTO`.
    pub runtime: String,
    /// What the networks compute in.
    pub precision: Precision,
    /// ONNX Runtime's library, instead of looking for one.
    pub library: Option<PathBuf>,
    /// OpenVINO's library, instead of looking for one.
    pub openvino: Option<PathBuf>,
    /// Threads; all cores when it is not set.
    pub threads: Option<usize>,
    /// Device of the GPU providers.
    pub device: u32,
    /// Most bytes of GPU memory that the arena of each graph takes.
    pub gpu_memory: Option<u64>,
    /// Whether steps of a loop are launched one by one and not captured as CUDA graphs.
    pub no_cuda_graph: bool,
    /// Whether CUDA may round the factors of f32 products to TF32.
    pub tf32: bool,
    /// How CUDA's algorithms of convolutions are found.
    pub conv_search: provider::cuda::ConvSearch,
    /// How long TensorRT looks for faster kernels, 0 to 5.
    pub builder_level: Option<u8>,
    /// Shapes that TensorRT's engines are built for; those of the model's sizes when it is not set.
    #[serde(skip)]
    pub shapes: Option<shapes::Shapes>,
    /// The rewrite for which the model's graphs are to be computed in nothing narrower than f32, where they have one.
    #[serde(skip)]
    pub f32_only: Option<String>,
    /// Encode every prompt and picture anew, instead of keeping what the last ones became.
    pub no_encoding_cache: bool,
    /// Compute what the empty prompt and the picture of zeros become, instead of reading it from the model.
    pub no_constants: bool,
    /// A folder where ONNX Runtime writes what each operator took, a file a graph, when the graph is closed.
    #[serde(skip)]
    pub profile: Option<PathBuf>,
    /// Most memory that the process may take, in bytes; what the machine has to spare when it is not set.
    pub memory: Option<u64>,
    /// Which graphs are kept compiled for the next start.
    pub cache: CacheMode,
}

/// Asks the C library to give back what it keeps of freed memory, after graphs were closed; where there is no such
/// call it is given back unasked.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a function of the C library is called")]
pub fn trim() {
    let this = libloading::os::unix::Library::this();
    // SAFETY: where the symbol exists it is glibc's, which has this type.
    if let Ok(trim) = unsafe { this.get::<unsafe extern "C" fn(usize) -> std::ffi::c_int>(b"malloc_trim\0") }
    {
        // SAFETY: it may be called at any time from any thread.
        let _given_back = unsafe { trim(0) };
    }
}

/// Memory is given back unasked here.
#[cfg(not(target_os = "linux"))]
pub const fn trim() {}

/// Threads asked for, else one a core.
pub fn threads(options: &RuntimeOptions) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    options.threads.unwrap_or_else(cores).max(1)
}

/// Inputs in the order of the contract, checked against it: names, types, ranks, fixed sides.
fn order_inputs<'a, 'b>(
    source: &GraphSource,
    inputs: &'a [(&str, Input<'b>)],
) -> Result<Vec<(&'a str, &'a Input<'b>)>> {
    let component = source.component;
    let wrong = |what: String| Error::new(Kind::Internal, format!("{component}: {what}"));
    let mut ordered = Vec::with_capacity(inputs.len());
    for port in &source.spec.inputs {
        let found = inputs.iter().find(|(name, _)| *name == port.name);
        let (name, value) = found.ok_or_else(|| wrong(format!("the input {} is missing", port.name)))?;
        matches_port(port, value.dtype(), value.shape()).map_err(&wrong)?;
        ordered.push((*name, value));
    }
    if ordered.len() != inputs.len() {
        let (given, known) = (inputs.len(), ordered.len());
        return Err(wrong(format!("{given} inputs were given to a graph of {known}")));
    }
    Ok(ordered)
}

fn matches_port(port: &Port, dtype: Dtype, shape: &[usize]) -> std::result::Result<(), String> {
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
fn validate_outputs(source: &GraphSource, outputs: Vec<(String, Value)>) -> Result<Vec<(String, Value)>> {
    let component = source.component;
    let fault = |what: String| Error::new(Kind::RuntimeFault, format!("{component}: {what}"));
    for (port, (name, value)) in source.spec.outputs.iter().zip(&outputs) {
        if port.name != *name {
            return Err(fault(format!("the output {name} came where {} was promised", port.name)));
        }
        let given = Input::from(value);
        matches_port(port, given.dtype(), given.shape()).map_err(&fault)?;
        if let Value::F32(array) = value
            && let Some(bad) = array.iter().find(|x| !x.is_finite())
        {
            return Err(fault(format!("the output {name} holds {bad}")));
        }
    }
    Ok(outputs)
}

/// The first line of a runtime's message, short and without the paths of its sources. Names of nodes are kept, which are
/// paths in the network, such as `down_blocks.0/conv`.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let is_file = |word: &str| word.starts_with('/') || word.contains('\\') || word.contains(".cc:");
    let words = line.split_whitespace().filter(|word| !is_file(word));
    let mut text = words.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = text.char_indices().nth(200) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_first_line_names_the_node_and_no_source_file() {
        let told = "Non-zero status code returned while running Add node. Name:'down_blocks.0/resnets.1/add' Status \
                    Message: /onnxruntime_src/core/math/element_wise_ops.h:540 axis == 1 was false\nstack";
        let line = first_line(told);
        assert!(line.contains("Name:'down_blocks.0/resnets.1/add'") && line.contains("axis == 1"), "{line}");
        assert!(!line.contains("onnxruntime_src") && !line.contains("stack"), "{line}");
    }
}
