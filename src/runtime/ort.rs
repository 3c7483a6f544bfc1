//! ONNX Runtime, loaded from a library that was examined first. One environment a process, for ever.

use super::library::{self, Library};
use super::{Graph, GraphSource, Runtime, RuntimeOptions, arranged, checked, short, threads};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Tensor, Value};
use ndarray::{ArrayD, IxDyn};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Where ONNX Runtime computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU through CUDA and cuDNN.
    Cuda,
    /// An NVIDIA GPU through TensorRT.
    TensorRt,
}

impl Provider {
    /// The name that `--runtime` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// The provider for a session; a device that does not come up is an error and never the CPU.
    fn dispatch(self, device: u32) -> Option<ExecutionProviderDispatch> {
        let device = i32::try_from(device).unwrap_or(i32::MAX);
        match self {
            Self::Cpu => None,
            Self::Cuda => Some(ep::CUDA::default().with_device_id(device).build().error_on_failure()),
            Self::TensorRt => Some(ep::TensorRT::default().with_device_id(device).build().error_on_failure()),
        }
    }
}

/// The runtime.
pub struct Ort {
    library: Library,
    provider: Provider,
    device: u32,
    threads: usize,
    profile: Option<PathBuf>,
}

impl Ort {
    /// Finds and loads the library.
    ///
    /// # Errors
    /// [`Kind::NoRuntime`] with the reason.
    pub fn new(options: &RuntimeOptions, provider: Provider) -> Result<Self> {
        let library = library::find(options.library.as_deref())?;
        let threads = threads(options);
        with_environment(&library, threads, |_| Ok(()))?;
        let (device, profile) = (options.device, options.profile.clone());
        Ok(Self { library, provider, device, threads, profile })
    }
}

impl Runtime for Ort {
    fn describe(&self) -> String {
        let Library { version, how, .. } = &self.library;
        format!("onnx runtime {version} ({}, {} threads, {how})", self.provider.name(), self.threads)
    }

    fn open(&self, source: &GraphSource) -> Result<Box<dyn Graph>> {
        let session = with_environment(&self.library, self.threads, |environment| {
            self.session(environment, source).map_err(|e| {
                let kind = if self.provider == Provider::Cpu { Kind::BadModel } else { Kind::NoRuntime };
                let (component, provider) = (source.component, self.provider.name());
                let reason = short(&e.to_string());
                Error::new(kind, format!("onnx runtime refuses {component} on {provider}: {reason}"))
            })
        })?;
        let source =
            GraphSource { component: source.component, path: source.path.clone(), spec: source.spec.clone() };
        Ok(Box::new(OrtGraph { source, session }))
    }
}

impl Ort {
    fn session(&self, environment: &Environment, source: &GraphSource) -> ort::Result<Session> {
        let mut builder = Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_memory_pattern(false)?;
        if let Some(provider) = self.provider.dispatch(self.device) {
            builder = builder.with_execution_providers([provider])?;
        }
        if let Some(folder) = &self.profile {
            builder = builder.with_profiling(folder.join(source.component.name()))?;
        }
        builder.commit_from_file(&source.path)
    }
}

struct OrtGraph {
    source: GraphSource,
    session: Session,
}

impl Graph for OrtGraph {
    fn run(&mut self, inputs: &[(&str, Value)]) -> Result<Vec<(String, Value)>> {
        let component = self.source.component;
        let fault = |e: ort::Error| {
            let reason = short(&e.to_string());
            Error::new(Kind::RuntimeFault, format!("{component} failed on onnx runtime: {reason}"))
        };
        let ordered = arranged(&self.source, inputs)?;
        let mut fed: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(ordered.len());
        // Arrays in another order than row-major are copied; views of the others are handed over.
        let straight: Vec<Value> = ordered.iter().map(|(_, value)| standard(value)).collect();
        for ((name, _), value) in ordered.iter().zip(&straight) {
            fed.push(((*name).to_owned(), view(value).map_err(fault)?));
        }
        let mut outputs = self.session.run(fed).map_err(fault)?;
        let mut values = Vec::with_capacity(self.source.spec.outputs.len());
        for port in &self.source.spec.outputs {
            let missing =
                || Error::new(Kind::RuntimeFault, format!("{component} gave no output {}", port.name));
            let value = outputs.remove(&port.name).ok_or_else(missing)?;
            values.push((port.name.clone(), taken(&value).map_err(fault)?));
        }
        drop(outputs);
        checked(&self.source, values)
    }
}

fn standard(value: &Value) -> Value {
    match value {
        Value::F32(array) => Value::F32(array.as_standard_layout().into_owned()),
        Value::I64(array) => Value::I64(array.as_standard_layout().into_owned()),
    }
}

fn view(value: &Value) -> ort::Result<SessionInputValue<'_>> {
    Ok(match value {
        Value::F32(array) => {
            TensorRef::from_array_view((array.shape(), array.as_slice().unwrap_or_default()))?.into()
        }
        Value::I64(array) => {
            TensorRef::from_array_view((array.shape(), array.as_slice().unwrap_or_default()))?.into()
        }
    })
}

fn taken(value: &DynValue) -> ort::Result<Value> {
    let sides = |shape: &ort::value::Shape| {
        IxDyn(&shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect::<Vec<_>>())
    };
    let odd = |e: ndarray::ShapeError| ort::Error::new(e.to_string());
    if value.dtype().tensor_type() == Some(TensorElementType::Int64) {
        let (shape, numbers) = value.try_extract_tensor::<i64>()?;
        return Ok(Value::I64(ArrayD::from_shape_vec(sides(shape), numbers.to_vec()).map_err(odd)?));
    }
    let (shape, numbers) = value.try_extract_tensor::<f32>()?;
    Ok(Value::F32(Tensor::from_shape_vec(sides(shape), numbers.to_vec()).map_err(odd)?))
}

/// The process's environment: made once, with the library and the threads of the first call.
static ENVIRONMENT: Mutex<Option<Loaded>> = Mutex::new(None);

struct Loaded {
    library: Library,
    threads: usize,
    environment: Environment,
}

fn with_environment<T>(
    library: &Library,
    threads: usize,
    work: impl FnOnce(&Environment) -> Result<T>,
) -> Result<T> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = match slot.take() {
        Some(loaded) => slot.insert(loaded),
        None => {
            let environment = load(library, threads)?;
            slot.insert(Loaded { library: library.clone(), threads, environment })
        }
    };
    if loaded.library.path != library.path {
        let (old, new) = (loaded.library.path.display(), library.path.display());
        let message = format!("this process has loaded onnx runtime from {old}, and {new} was asked for");
        return Err(Error::new(Kind::NoRuntime, message));
    }
    if loaded.threads != threads {
        let old = loaded.threads;
        let message =
            format!("this process runs onnx runtime with {old} threads, and {threads} were asked for");
        return Err(Error::new(Kind::BadRequest, message));
    }
    work(&loaded.environment)
}

fn load(library: &Library, threads: usize) -> Result<Environment> {
    let refused = |reason: String| {
        let path = library.path.display();
        Error::new(Kind::NoRuntime, format!("{path} cannot be loaded: {}", short(&reason)))
    };
    let builder = ort::init_from(&library.path).map_err(|e| refused(e.to_string()))?;
    // Several sessions share one pool, and threads that wait must not burn what others need.
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .and_then(|pool| pool.with_inter_threads(1))
        .and_then(|pool| pool.with_spin_control(false))
        .map_err(|e| refused(e.to_string()))?;
    builder
        .with_name("kandinsky")
        .with_telemetry(false)
        .with_global_thread_pool(pool)
        .build()
        .map_err(|e| refused(e.to_string()))
}
