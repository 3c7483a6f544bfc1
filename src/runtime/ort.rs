//! ONNX Runtime, loaded from a library that was examined first. One environment a process, for ever.

use super::cache::Cache;
use super::entry::{Availability, Opening, RuntimeEntry, Tier};
use super::library::{self, Library};
use super::ort_bound::{BoundGraph, Device};
use super::ort_engine::{Engine, PREPARED};
use super::ort_environment::with_environment;
use super::ort_value::{lent, to_value};
use super::profiled::Profiled;
use super::provider::{self, cuda::Cuda, key, tensorrt};
use super::{
    Graph, GraphSource, Opened, Precision, Runtime, RuntimeOptions, first_line, order_inputs, ort_compiled,
    threads, validate_outputs,
};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Input, Value};
use kandinsky_models::Component;
use kandinsky_models::manifest::Target;
use ort::environment::Environment;
use ort::ep::ExecutionProviderDispatch;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use super::provider::Provider;

/// ONNX Runtime on the CPU.
pub static ENTRY: RuntimeEntry = RuntimeEntry {
    name: "ort",
    title: "onnx runtime",
    about: "ONNX Runtime on the CPU",
    precisions: &[Tier::F32],
    automatic: &[Precision::F32],
    target: None,
    profiles: true,
    check: |options| match library::find(&library::ONNX_RUNTIME, options.library.as_deref()) {
        Ok(library) => Availability::works(library.to_string()),
        Err(reason) => Availability::fails(reason.to_string(), Some(INSTALL.to_owned())),
    },
    open: |options, _| Ort::new(options, Provider::Cpu).map(Opened::new),
    memory: |opening| match opening {
        Opening::Compiled => ort_compiled::COMPILED,
        Opening::Plain | Opening::Bf16 => ort_compiled::PLAIN,
    },
};

/// What to do where the library is missing.
const INSTALL: &str = "pip download --no-deps onnxruntime, unzip the wheel, and name \
                       onnxruntime/capi/libonnxruntime.so.* in ORT_DYLIB_PATH";

/// ONNX Runtime on an NVIDIA GPU, by its CUDA provider.
pub static CUDA: RuntimeEntry = RuntimeEntry {
    name: Provider::Cuda.name(),
    about: "ONNX Runtime on an NVIDIA GPU, by CUDA and cuDNN",
    precisions: &[F16, Tier::F32],
    automatic: &[],
    target: Some(Target::Cuda),
    check: |options| available(Provider::Cuda, options),
    open: |options, _| Ort::new(options, Provider::Cuda).map(Opened::new),
    ..ENTRY
};

/// ONNX Runtime on an NVIDIA GPU, by its TensorRT provider.
pub static TENSORRT: RuntimeEntry = RuntimeEntry {
    name: Provider::TensorRt.name(),
    about: "ONNX Runtime on an NVIDIA GPU, by TensorRT; kandinsky prepare builds its engines",
    target: Some(Target::TensorRt),
    check: |options| available(Provider::TensorRt, options),
    open: |options, _| {
        let gpu = key::Gpu::find(Path::new("/"), options.device);
        Ok(Opened { note: gpu.note(), ..Opened::new(Ort::new(options, Provider::TensorRt)?) })
    },
    ..CUDA
};

/// Graphs typed f16 bring their precision with them.
const F16: Tier = Tier {
    precision: Precision::F16,
    here: || Ok("graphs exported for it".to_owned()),
    needs: "graphs exported for it",
    otherwise: None,
};

/// Whether a GPU provider's files are there; whether a device answers shows when a graph is opened on it.
fn available(provider: Provider, options: &RuntimeOptions) -> Availability {
    let fails = |found: String| Availability::fails(found, Some(provider::advice(provider)));
    let Ok(library) = library::find(&library::ONNX_RUNTIME, options.library.as_deref()) else {
        return fails("needs onnx runtime, which was not found".to_owned());
    };
    match provider::missing(provider, &library.path, Path::new("/")) {
        Some(what) => fails(what),
        None => {
            let file = provider.file().unwrap_or_default();
            Availability::works(format!("{file} beside onnx runtime, and an NVIDIA device"))
        }
    }
}

/// Who is told what a builder says, from any thread.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// The runtime.
pub struct Ort {
    library: Library,
    provider: Provider,
    options: RuntimeOptions,
    threads: usize,
    cache: Cache,
    notes: Mutex<Vec<String>>,
}

impl Ort {
    /// Finds and loads the library.
    ///
    /// # Errors
    /// [`Kind::NoRuntime`] with the reason.
    pub fn new(options: &RuntimeOptions, provider: Provider) -> Result<Self> {
        let library = library::find(&library::ONNX_RUNTIME, options.library.as_deref())?;
        provider::check(provider, &library)?;
        let threads = threads(options);
        with_environment(&library, threads, |_| Ok(()))?;
        let (cache, notes) = (Cache::new(options.cache, &library), Mutex::default());
        Ok(Self { library, provider, options: options.clone(), threads, cache, notes })
    }

    /// Opens a graph of floats with its inputs and outputs at fixed addresses on the device, as steps of a
    /// loop run on GPUs.
    ///
    /// # Errors
    /// As [`Runtime::open`].
    pub fn open_bound(&self, source: &GraphSource) -> Result<Box<dyn Graph>> {
        let captures = self.provider.is_gpu() && !self.options.no_cuda_graph;
        let session = self.opened(source, self.providers(source, captures, false)?, None)?;
        let device = Device { provider: self.provider, number: self.options.device };
        Ok(Box::new(BoundGraph::new(source.clone(), session, device, captures)))
    }

    /// Builds the TensorRT engine of a graph, and says whether it was built just now. `log` is told what the
    /// builder says.
    ///
    /// # Errors
    /// When TensorRT refuses the graph or the cache cannot be written.
    pub fn build_engine(&self, source: &GraphSource, log: Log) -> Result<bool> {
        let engine = self.engine(source)?;
        if engine.is_prepared() {
            return Ok(false);
        }
        let io = |e: std::io::Error| Error::io(&engine.folder, "created", &e);
        std::fs::create_dir_all(&engine.folder).map_err(io)?;
        std::fs::create_dir_all(&engine.timings).map_err(io)?;
        let captures = is_step(source) && !self.options.no_cuda_graph;
        self.opened(source, self.dispatches(&engine, captures, true), Some(log))?;
        crate::verification::remember(&engine.folder.join(PREPARED), &engine.key).map_err(io)?;
        Ok(true)
    }

    /// The providers of a graph's session, the first that takes an operation runs it.
    fn providers(
        &self,
        source: &GraphSource,
        captures: bool,
        log: bool,
    ) -> Result<Vec<ExecutionProviderDispatch>> {
        match self.provider {
            Provider::Cpu => Ok(Vec::new()),
            Provider::Cuda => Ok(vec![self.cuda(captures).dispatch()]),
            Provider::TensorRt => {
                let engine = self.engine(source)?;
                engine.check(source)?;
                Ok(self.dispatches(&engine, captures, log))
            }
        }
    }

    fn cuda(&self, graph: bool) -> Cuda {
        let RuntimeOptions { device, gpu_memory, tf32, conv_search, .. } = self.options;
        Cuda { device, memory: gpu_memory, graph, tf32, conv_search }
    }

    /// TensorRT, and CUDA for what TensorRT does not take.
    fn dispatches(&self, engine: &Engine, graph: bool, log: bool) -> Vec<ExecutionProviderDispatch> {
        let tensorrt = tensorrt::TensorRt {
            device: self.options.device,
            engines: engine.folder.clone(),
            prefix: engine.prefix.to_owned(),
            timings: engine.timings.clone(),
            profile: engine.profile.clone(),
            level: self.level(),
            workspace: self.options.gpu_memory,
            graph,
            log,
        };
        vec![tensorrt.dispatch(), self.cuda(false).dispatch()]
    }

    fn level(&self) -> u8 {
        self.options.builder_level.unwrap_or(tensorrt::DEFAULT_LEVEL)
    }

    fn engine(&self, source: &GraphSource) -> Result<Engine> {
        let shapes = self.options.shapes.as_ref();
        let shapes =
            shapes.ok_or_else(|| Error::new(Kind::Internal, "tensorrt without a profile of shapes"))?;
        let profile = shapes.profile(source.component, &source.spec)?;
        let gpu = key::Gpu::find(std::path::Path::new("/"), self.options.device);
        let versions = key::Versions {
            ort: self.library.version.clone(),
            tensorrt: library::version_of("libnvinfer.so"),
            cuda: library::version_of("libcudart.so"),
        };
        let (graph, level) = (&source.spec, self.level());
        let key = key::EngineKey { graph, versions: &versions, gpu: &gpu, profile: &profile, level };
        let none = || Error::new(Kind::Io, "there is no cache folder; name one in KANDINSKY_CACHE");
        let root = crate::verification::cache_folder().ok_or_else(none)?.join("tensorrt");
        Ok(Engine {
            folder: root.join(key.name()),
            timings: root.join(key.timings()),
            key: key.text(),
            prefix: source.component.name(),
            profile,
        })
    }

    fn opened(
        &self,
        source: &GraphSource,
        providers: Vec<ExecutionProviderDispatch>,
        log: Option<Log>,
    ) -> Result<Session> {
        with_environment(&self.library, self.threads, |environment| {
            session(environment, source, providers, log, self.options.profile.as_deref()).map_err(|e| {
                let kind = if self.provider == Provider::Cpu { Kind::BadModel } else { Kind::NoRuntime };
                let (component, provider) = (source.component, self.provider.name());
                let reason = first_line(&e.to_string());
                Error::new(kind, format!("onnx runtime refuses {component} on {provider}: {reason}"))
                    .caused_by(e)
            })
        })
    }
}

impl Runtime for Ort {
    fn describe(&self) -> String {
        let Library { version, how, .. } = &self.library;
        format!("onnx runtime {version} ({}, {} threads, {how})", self.provider.name(), self.threads)
    }

    fn open(&self, source: &GraphSource) -> Result<Box<dyn Graph>> {
        let graph = if self.provider.is_gpu() && is_step(source) {
            self.open_bound(source)?
        } else {
            let session = match self.compiled(source)? {
                Some(session) => session,
                None => self.opened(source, self.providers(source, false, false)?, None)?,
            };
            Box::new(OrtGraph { source: source.clone(), session, profiled: self.options.profile.is_some() })
        };
        match (self.provider, &self.options.shapes) {
            (Provider::TensorRt, Some(shapes)) => {
                Ok(Box::new(Profiled::new(source.clone(), shapes.clone(), graph)))
            }
            _ => Ok(graph),
        }
    }

    fn entry(&self) -> &'static RuntimeEntry {
        match self.provider {
            Provider::Cpu => &ENTRY,
            Provider::Cuda => &CUDA,
            Provider::TensorRt => &TENSORRT,
        }
    }

    fn opening(&self, source: &GraphSource) -> Opening {
        if self.caches(source) { Opening::Compiled } else { Opening::Plain }
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ort {
    /// Only the CPU's graphs are kept, where nobody asked for a profile of them as they are: GPU providers have caches
    /// of their own.
    fn caches(&self, source: &GraphSource) -> bool {
        self.provider == Provider::Cpu && self.options.profile.is_none() && self.cache.wants(source)
    }

    /// A session of the compiled graph, which is compiled now unless it is there. Where that does not work, the
    /// graph is to be opened as it is, and a note says why.
    fn compiled(&self, source: &GraphSource) -> Result<Option<Session>> {
        if !self.caches(source) {
            return Ok(None);
        }
        let told = |e: ort::Error| Error::new(Kind::RuntimeFault, first_line(&e.to_string()));
        with_environment(&self.library, self.threads, |environment| {
            let compile = |graph: &Path, data: &str| {
                ort_compiled::compile(environment, source, graph, data).map_err(told)
            };
            let load = |graph: &Path| ort_compiled::open_compiled(environment, source, graph).map_err(told);
            let (session, notes) = self.cache.open(source, &compile, &load);
            self.notes.lock().unwrap_or_else(PoisonError::into_inner).extend(notes);
            Ok(session)
        })
    }
}

/// Whether a graph is called at every step of a denoising loop.
fn is_step(source: &GraphSource) -> bool {
    matches!(source.component, Component::UnetStep | Component::InpaintStep)
}

fn session(
    environment: &Environment,
    source: &GraphSource,
    providers: Vec<ExecutionProviderDispatch>,
    log: Option<Log>,
    profile: Option<&Path>,
) -> ort::Result<Session> {
    let mut builder =
        ort_compiled::builder(environment, source)?.with_optimization_level(GraphOptimizationLevel::All)?;
    if let Some(log) = log {
        let tell = move |_: LogLevel, _: &str, _: &str, _: &str, line: &str| log(line);
        builder = builder.with_logger(Arc::new(tell))?.with_log_level(LogLevel::Info)?;
    }
    if !providers.is_empty() {
        builder = builder.with_execution_providers(providers)?;
    }
    if let Some(folder) = profile {
        builder = builder.with_profiling(folder.join(source.component.name()))?;
    }
    builder.commit_from_file(&source.path)
}

struct OrtGraph {
    source: GraphSource,
    session: Session,
    profiled: bool,
}

impl Drop for OrtGraph {
    fn drop(&mut self) {
        if self.profiled {
            // A profile that is not ended stays empty; whoever reads it says so.
            let _ = self.session.end_profiling();
        }
    }
}

impl Graph for OrtGraph {
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>> {
        let component = self.source.component;
        let fault = |e: ort::Error| {
            let reason = first_line(&e.to_string());
            Error::new(Kind::RuntimeFault, format!("{component} failed on onnx runtime: {reason}"))
                .caused_by(e)
        };
        let ordered = order_inputs(&self.source, inputs)?;
        let mut fed: Vec<(&str, SessionInputValue<'_>)> = Vec::with_capacity(ordered.len());
        for (name, input) in ordered {
            fed.push((name, lent(input).map_err(fault)?));
        }
        let mut outputs = self.session.run(fed).map_err(fault)?;
        let mut values = Vec::with_capacity(self.source.spec.outputs.len());
        for port in &self.source.spec.outputs {
            let missing =
                || Error::new(Kind::RuntimeFault, format!("{component} gave no output {}", port.name));
            let value = outputs.remove(&port.name).ok_or_else(missing)?;
            values.push((port.name.clone(), to_value(&value).map_err(fault)?));
        }
        drop(outputs);
        validate_outputs(&self.source, values)
    }
}
