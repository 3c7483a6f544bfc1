//! OpenVINO on the CPU, by its C interface: the runtime whose kernels compute in bfloat16 where the processor
//! can (AMX, AVX512-BF16). It is called directly rather than as ONNX Runtime's plugin provider, which offers no
//! device on a processor that is not Intel's.
//!
//! Convolutions are several times as quick when the sides of the picture are known, so a graph is compiled for
//! those; rows and tokens stay free, and batches and prompts of any length share one compiled graph.

use super::entry::{Availability, Opening, RuntimeEntry, Tier};
use super::library::{self, Library};
use super::precision::{BF16_FEATURES, bf16_feature};
use super::{
    Graph, GraphSource, Opened, Precision, Runtime, RuntimeOptions, first_line, order_inputs, threads,
    validate_outputs,
};
use crate::error::{Error, Kind, Result};
use crate::residency::Coefficients;
use crate::tensor::{Input, Tensor, Value, row_major};
use kandinsky_models::Component;
use kandinsky_models::manifest::{Dtype, Port, WAVES};
use ndarray::{ArrayD, IxDyn};
use openvino::{
    Core, DeviceType, Dimension, ElementType, InferRequest, InferenceError, PartialShape, RwPropertyKey,
    Shape, Tensor as OvTensor,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// OpenVINO.
pub static ENTRY: RuntimeEntry = RuntimeEntry {
    name: "openvino",
    title: "openvino",
    about: "OpenVINO on the CPU, in bf16 where the processor can",
    precisions: &[BF16, Tier::F32],
    automatic: &[Precision::Bf16],
    target: None,
    profiles: false,
    check: |options| match library::find(&library::OPENVINO, options.openvino.as_deref()) {
        Ok(library) => Availability::works(library.to_string()),
        Err(reason) => Availability::fails(reason.to_string(), bf16_feature().map(remedy)),
    },
    open: |options, precision| OpenVino::new(options, precision).map(Opened::new),
    memory: |opening| match opening {
        Opening::Bf16 => BF16_MEMORY,
        Opening::Plain | Opening::Compiled => F32_MEMORY,
    },
};

/// bfloat16 products of weights that are stored as f32.
const BF16: Tier = Tier {
    precision: Precision::Bf16,
    here: || match bf16_feature() {
        Some(feature) => Ok(format!("the processor has {feature}")),
        None => Err(format!("the processor has none of {}", BF16_FEATURES.join(", "))),
    },
    needs: "a processor with amx_bf16, avx512_bf16",
    otherwise: Some("in f32 graphs exported --with winograd are quicker"),
};

/// What to do where the library is missing and the processor has what it is wanted for.
fn remedy(feature: &str) -> String {
    format!(
        "the processor has {feature}: pip download --no-deps openvino, unzip the wheel, name \
         openvino/libs/libopenvino_c.so.* in OPENVINO_DYLIB_PATH, and --precision bf16 is about twice as quick"
    )
}

/// The runtime.
pub struct OpenVino {
    library: Library,
    core: Arc<Mutex<Core>>,
    precision: Precision,
    threads: usize,
}

impl OpenVino {
    /// Finds and loads the library.
    ///
    /// # Errors
    /// [`Kind::NoRuntime`] with the reason: no library, another one loaded before, or a processor without `precision`.
    pub fn new(options: &RuntimeOptions, precision: Precision) -> Result<Self> {
        let library = library::find(&library::OPENVINO, options.openvino.as_deref())?;
        load(&library)?;
        let threads = threads(options);
        let unusable = |e: String| {
            let (path, reason) = (library.path.display(), first_line(&e));
            Error::new(Kind::NoRuntime, format!("{path} cannot be used: {reason}"))
        };
        let mut core = Core::new().map_err(|e| unusable(e.to_string()))?;
        for (key, value) in properties(threads) {
            core.set_property(&DeviceType::CPU, &key, &value).map_err(|e| unusable(e.to_string()))?;
        }
        Ok(Self { library, core: Arc::new(Mutex::new(core)), precision, threads })
    }
}

/// What every graph is compiled with.
fn properties(threads: usize) -> [(RwPropertyKey, String); 3] {
    // One request at a time with all threads.
    [
        (RwPropertyKey::HintPerformanceMode, "LATENCY".to_owned()),
        (RwPropertyKey::NumStreams, "1".to_owned()),
        (RwPropertyKey::InferenceNumThreads, threads.to_string()),
    ]
}

/// Graphs that choose: the end of a text by its largest id, the nearest code. A rounded number is another choice.
const CHOOSING: [Component; 2] = [Component::TextEncoder, Component::MovqQuantize];

/// What a graph is computed in where `wanted` was chosen. In bf16 every value between two operators is rounded, of times
/// their angles too, by as much as 2 radians; not so in graphs that have the waves for an output, since what ends in an
/// output stays f32. Those drawn without it, and those that choose, are computed in f32.
fn precision_of(source: &GraphSource, wanted: Precision) -> Precision {
    let has = |ports: &[Port], name: &str| ports.iter().any(|port| port.name == name);
    let rounds = has(&source.spec.inputs, "t") && !has(&source.spec.outputs, WAVES);
    if rounds || CHOOSING.contains(&source.component) { Precision::F32 } else { wanted }
}

impl Runtime for OpenVino {
    fn describe(&self) -> String {
        let Library { version, how, .. } = &self.library;
        format!("openvino {version} (cpu, {}, {} threads, {how})", self.precision.name(), self.threads)
    }

    fn open(&self, source: &GraphSource) -> Result<Box<dyn Graph>> {
        let mut graph = OpenVinoGraph {
            source: source.clone(),
            core: Arc::clone(&self.core),
            precision: precision_of(source, self.precision),
            compiled: None,
        };
        if spatial(&graph.source.spec.inputs).is_empty() {
            graph.compile(Vec::new())?;
        }
        Ok(Box::new(graph))
    }

    fn entry(&self) -> &'static RuntimeEntry {
        &ENTRY
    }

    fn opening(&self, source: &GraphSource) -> Opening {
        if precision_of(source, self.precision) == Precision::Bf16 { Opening::Bf16 } else { Opening::Plain }
    }
}

/// Measured, of private memory: the stored weights stay mapped beside it, and the system takes those pages back when
/// it wants them.
const F32_MEMORY: Coefficients = Coefficients {
    weights: 100,
    convolutions: 100,
    text: 60,
    opening: 0,
    opening_text: 0,
    unet_maps: 14,
    movq_maps: 8,
    scores: 2,
};

/// As [`F32_MEMORY`], measured at 256, 512 and 768 pixels: weights are packed in half the bytes, and no attention's scores are
/// held whole.
const BF16_MEMORY: Coefficients =
    Coefficients { weights: 50, convolutions: 56, unet_maps: 35, scores: 0, ..F32_MEMORY };

struct OpenVinoGraph {
    source: GraphSource,
    core: Arc<Mutex<Core>>,
    precision: Precision,
    /// The sides it was compiled for. One is kept: a compiled UNet holds its weights once more.
    compiled: Option<(Vec<usize>, InferRequest)>,
}

impl Graph for OpenVinoGraph {
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>> {
        let ordered = order_inputs(&self.source, inputs)?;
        let sides = spatial(&self.source.spec.inputs);
        let sides = sides.iter().filter_map(|(port, axis)| ordered.get(*port)?.1.shape().get(*axis).copied());
        let sides: Vec<usize> = sides.collect();
        if self.compiled.as_ref().is_none_or(|(known, _)| *known != sides) {
            self.compile(sides)?;
        }
        let component = self.source.component;
        let fault = |e: InferenceError| {
            let reason = first_line(&e.to_string());
            Error::new(Kind::RuntimeFault, format!("{component} failed on openvino: {reason}")).caused_by(e)
        };
        let Some((_, request)) = &mut self.compiled else {
            return Err(Error::new(Kind::Internal, format!("{component} is not compiled")));
        };
        for (name, value) in &ordered {
            request.set_tensor(name, &into_openvino(value).map_err(fault)?).map_err(fault)?;
        }
        request.infer().map_err(fault)?;
        let mut outputs = Vec::with_capacity(self.source.spec.outputs.len());
        for port in &self.source.spec.outputs {
            let tensor = request.get_tensor(&port.name).map_err(fault)?;
            outputs.push((port.name.clone(), from_openvino(port, &tensor).map_err(fault)?));
        }
        validate_outputs(&self.source, outputs)
    }
}

impl OpenVinoGraph {
    /// Compiles the graph for pictures of these sides, in place of what it was compiled for.
    fn compile(&mut self, sides: Vec<usize>) -> Result<()> {
        self.compiled = None;
        let (component, path) = (self.source.component, self.source.path.display().to_string());
        let refused = |e: InferenceError| {
            let reason = first_line(&e.to_string());
            Error::new(Kind::BadModel, format!("openvino refuses {component}: {reason}")).caused_by(e)
        };
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let mut model = core.read_model_from_file(&path, "").map_err(refused)?;
        let shapes: std::result::Result<Vec<_>, _> =
            self.shapes(&sides).iter().map(|sides| partial(sides)).collect();
        let shapes = shapes.map_err(refused)?;
        let names = self.source.spec.inputs.iter().map(|port| port.name.as_str());
        model.reshape(&names.zip(&shapes).collect::<Vec<_>>()).map_err(refused)?;
        // Said for each graph, and for f32 too: the library would lower it by a choice of its own.
        let precision = self.precision.name();
        core.set_property(&DeviceType::CPU, &RwPropertyKey::HintInferencePrecision, precision)
            .map_err(refused)?;
        let mut compiled = core.compile_model(&model, DeviceType::CPU).map_err(refused)?;
        self.compiled = Some((sides, compiled.create_infer_request().map_err(refused)?));
        Ok(())
    }

    /// The shape of each input with the sides of the picture set.
    fn shapes(&self, sides: &[usize]) -> Vec<Vec<Dimension>> {
        let inputs = &self.source.spec.inputs;
        let places = spatial(inputs);
        let side = |port: usize, axis: usize| {
            let set = places.iter().position(|place| *place == (port, axis));
            let set = set.and_then(|at| sides.get(at).copied());
            let fixed = set.or_else(|| inputs.get(port)?.fixed(axis));
            // Any size is written as -1 to -1.
            fixed.and_then(|n| i64::try_from(n).ok()).map_or(Dimension::new(-1, -1), |n| Dimension::new(n, n))
        };
        let shape = |(port, p): (usize, &Port)| (0..p.shape.len()).map(|axis| side(port, axis)).collect();
        inputs.iter().enumerate().map(shape).collect()
    }
}

fn partial(sides: &[Dimension]) -> std::result::Result<PartialShape, InferenceError> {
    PartialShape::new(i64::try_from(sides.len()).map_err(|e| unexpected(&e))?, sides)
}

/// Which axes of which inputs are sides of a picture: those written with `h` or `w`, such as `8*h`.
fn spatial(inputs: &[Port]) -> Vec<(usize, usize)> {
    let side = |text: &String| text.split('*').any(|factor| matches!(factor.trim(), "h" | "w"));
    let axes = |(port, p): (usize, &Port)| {
        let places = p.shape.iter().enumerate().filter(|(_, text)| side(text));
        places.map(|(axis, _)| (port, axis)).collect::<Vec<_>>()
    };
    inputs.iter().enumerate().flat_map(axes).collect()
}

fn into_openvino(input: &Input<'_>) -> std::result::Result<OvTensor, InferenceError> {
    let sides: std::result::Result<Vec<i64>, _> = input.shape().iter().map(|n| i64::try_from(*n)).collect();
    let shape = Shape::new(&sides.map_err(|e| unexpected(&e))?)?;
    match input {
        Input::F32(array) => {
            let mut tensor = OvTensor::new(ElementType::F32, &shape)?;
            fill(tensor.get_data_mut()?, &row_major(array))?;
            Ok(tensor)
        }
        Input::I64(array) => {
            let mut tensor = OvTensor::new(ElementType::I64, &shape)?;
            fill(tensor.get_data_mut()?, &row_major(array))?;
            Ok(tensor)
        }
    }
}

fn fill<T: Copy>(slots: &mut [T], numbers: &[T]) -> std::result::Result<(), InferenceError> {
    if slots.len() != numbers.len() {
        let (room, found) = (slots.len(), numbers.len());
        return Err(unexpected(&format!("{found} numbers do not fill a tensor of {room}")));
    }
    slots.copy_from_slice(numbers);
    Ok(())
}

fn unexpected(what: &impl std::fmt::Display) -> InferenceError {
    let message = Some(what.to_string());
    InferenceError { kind: openvino::InferenceErrorKind::Unexpected, message }
}

fn from_openvino(port: &Port, tensor: &OvTensor) -> std::result::Result<Value, InferenceError> {
    let shape = tensor.get_shape()?;
    let sides: std::result::Result<Vec<usize>, _> =
        shape.get_dimensions().iter().map(|n| usize::try_from(*n)).collect();
    let sides = sides.map_err(|e| unexpected(&e))?;
    let odd = |e: ndarray::ShapeError| unexpected(&e);
    Ok(match port.dtype {
        Dtype::F32 => Value::F32(
            Tensor::from_shape_vec(IxDyn(&sides), tensor.get_data::<f32>()?.to_vec()).map_err(odd)?,
        ),
        Dtype::I64 => Value::I64(
            ArrayD::from_shape_vec(IxDyn(&sides), tensor.get_data::<i64>()?.to_vec()).map_err(odd)?,
        ),
    })
}

/// The library that this process has loaded: one for ever, as its crate keeps one table of functions.
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

fn load(library: &Library) -> Result<()> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(old) = loaded.as_ref().filter(|old| **old != library.path) {
        let (old, new) = (old.display(), library.path.display());
        let message = format!("this process has loaded openvino from {old}, and {new} was asked for");
        return Err(Error::new(Kind::NoRuntime, message));
    }
    openvino_sys::library::load_from(library.path.clone()).map_err(|reason| {
        let path = library.path.display();
        Error::new(Kind::NoRuntime, format!("{path} cannot be loaded: {}", first_line(&reason)))
    })?;
    *loaded = Some(library.path.clone());
    Ok(())
}
