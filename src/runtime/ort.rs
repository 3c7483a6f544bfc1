//! ONNX Runtime, loaded from a library that was examined first. One environment a process, for ever.

use super::cache::Cache;
use super::library::{self, Library};
use super::ort_bound::{BoundGraph, Device};
use super::ort_value::{lent, taken};
use super::profiled::Profiled;
use super::provider::{self, cuda::Cuda, key, tensorrt};
use super::{Graph, GraphSource, Runtime, RuntimeOptions, arranged, checked, ort_compiled, short, threads};
use crate::error::{Error, Kind, Result};
use crate::residency::Rates;
use crate::tensor::{Input, Value};
use kandinsky_models::Component;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::ep::ExecutionProviderDispatch;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use super::provider::Provider;

/// The file of an engine folder that says that everything in it was built.
const PREPARED: &str = "prepared.txt";

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
        if engine.folder.join(PREPARED).is_file() {
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
                let reason = short(&e.to_string());
                Error::new(kind, format!("onnx runtime refuses {component} on {provider}: {reason}"))
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

    fn rates(&self, source: &GraphSource) -> Rates {
        if self.caches(source) { ort_compiled::COMPILED } else { ort_compiled::PLAIN }
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
        let told = |e: ort::Error| Error::new(Kind::RuntimeFault, short(&e.to_string()));
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

/// Where the TensorRT engine of a graph lies, and for what it holds.
struct Engine {
    folder: PathBuf,
    timings: PathBuf,
    key: String,
    prefix: &'static str,
    profile: [String; 3],
}

impl Engine {
    /// Refuses a graph of which no engine was built: building takes minutes, and no request waits for it.
    fn check(&self, source: &GraphSource) -> Result<()> {
        if self.folder.join(PREPARED).is_file() {
            return Ok(());
        }
        let message = format!(
            "there is no tensorrt engine of {} for this GPU, these libraries and these sizes; kandinsky prepare \
             --runtime tensorrt builds it",
            source.component
        );
        Err(Error::new(Kind::NoRuntime, message))
    }
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
            let reason = short(&e.to_string());
            Error::new(Kind::RuntimeFault, format!("{component} failed on onnx runtime: {reason}"))
        };
        let ordered = arranged(&self.source, inputs)?;
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
            values.push((port.name.clone(), taken(&value).map_err(fault)?));
        }
        drop(outputs);
        checked(&self.source, values)
    }
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
