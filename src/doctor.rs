//! What this machine can run: runtimes, providers, processor, memory, and what to do for more.

use crate::machine;
use crate::runtime::{RuntimeOptions, library, ort, tract};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// This program's version.
    pub version: &'static str,
    /// Cores that this process may use.
    pub cores: usize,
    /// Features of the processor that matter to the runtimes.
    pub cpu_features: Vec<String>,
    /// Memory in bytes, where it is known.
    pub memory_bytes: Option<u64>,
    /// Runtimes and providers.
    pub runtimes: Vec<Finding>,
    /// Where verdicts and other things that can be computed again are kept.
    pub cache: Option<PathBuf>,
}

/// A runtime or provider.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What `--runtime` calls it.
    pub name: &'static str,
    /// Whether it can run graphs.
    pub works: bool,
    /// Its version and where it was found, or why it does not work.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Looks at everything.
pub fn examine(options: &RuntimeOptions) -> Findings {
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: cpu_features(),
        memory_bytes: machine::total(),
        runtimes: runtimes(options),
        cache: crate::store::cache_folder(),
    }
}

fn runtimes(options: &RuntimeOptions) -> Vec<Finding> {
    let tract = Finding {
        name: "tract",
        works: true,
        found: format!("tract {}, built in", tract::VERSION),
        advice: None,
    };
    let found = library::find(options.library.as_deref());
    let library = match &found {
        Ok(library) => Finding {
            name: "ort",
            works: true,
            found: format!("onnx runtime {} at {} ({})", library.version, library.path.display(), library.how),
            advice: None,
        },
        Err(reason) => Finding {
            name: "ort",
            works: false,
            found: reason.to_string(),
            advice: Some(
                "pip download --no-deps onnxruntime, unzip the wheel, and name onnxruntime/capi/libonnxruntime.so.* \
                 in ORT_DYLIB_PATH"
                    .to_owned(),
            ),
        },
    };
    let gpu = [("cuda", ort::Provider::Cuda), ("tensorrt", ort::Provider::TensorRt)];
    let gpu = gpu.map(|(name, provider)| provider_finding(name, provider, found.as_ref().ok()));
    std::iter::once(library).chain(gpu).chain([tract]).collect()
}

/// A provider needs its own library beside ONNX Runtime's; whether a device answers shows when a graph is
/// opened on it.
fn provider_finding(
    name: &'static str,
    provider: ort::Provider,
    library: Option<&library::Library>,
) -> Finding {
    let file = format!("libonnxruntime_providers_{}.so", provider.name());
    let advice = Some(format!(
        "install the onnxruntime-gpu wheel, whose capi folder holds {file}, and its CUDA libraries"
    ));
    let missing = |found: String| Finding { name, works: false, found, advice: advice.clone() };
    let Some(library) = library else { return missing("needs onnx runtime, which was not found".to_owned()) };
    let path = library.path.with_file_name(&file);
    if !path.is_file() {
        return missing(format!("{file} is not beside onnx runtime"));
    }
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        return missing(format!("{file} is there, and no NVIDIA device is"));
    }
    Finding { name, works: true, found: format!("{} and an NVIDIA device", path.display()), advice: None }
}

/// The features by the kernel's names.
fn cpu_features() -> Vec<String> {
    let wanted = [
        "avx2",
        "fma",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
        "asimd",
        "bf16",
    ];
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or_default();
    let has = |name: &&str| line.split_whitespace().any(|word| word == *name);
    wanted.into_iter().filter(has).map(str::to_owned).collect()
}

/// Most memory that this process has held, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    machine::peak()
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kandinsky  {}", self.version)?;
        let memory = self.memory_bytes.map_or("unknown".to_owned(), |b| format!("{} MiB", b >> 20));
        writeln!(f, "machine    {} cores, {memory} memory; {}", self.cores, self.cpu_features.join(" "))?;
        if let Some(cache) = &self.cache {
            writeln!(f, "cache      {}", cache.display())?;
        }
        for finding in &self.runtimes {
            let mark = if finding.works { "yes" } else { "no" };
            writeln!(f, "{:<10} {mark:<4} {}", finding.name, finding.found)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "                {advice}")?;
            }
        }
        writeln!(f, "auto       takes {}", self.automatic())
    }
}

impl Findings {
    fn automatic(&self) -> &'static str {
        let ort = self.runtimes.iter().any(|finding| finding.name == "ort" && finding.works);
        if ort { "onnx runtime" } else { "tract" }
    }
}
