//! What this machine can run: runtimes, providers, processor, memory, and what to do for more.

use crate::runtime::provider::{self, Provider};
use crate::runtime::{Precision, RuntimeOptions, library, precision, tract};
use crate::system;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

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
    /// What the networks can compute in.
    pub precisions: Vec<Tier>,
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

/// A tier of precision.
#[derive(Debug, Clone, Serialize)]
pub struct Tier {
    /// What `--precision` calls it.
    pub name: &'static str,
    /// Whether it can run here.
    pub works: bool,
    /// On what, or what is missing.
    pub how: String,
}

/// Looks at everything.
pub fn examine(options: &RuntimeOptions) -> Findings {
    let runtimes = runtimes(options);
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: precision::cpu_features(),
        memory_bytes: system::total(),
        precisions: tiers(&runtimes),
        runtimes,
        cache: crate::verification::cache_folder(),
    }
}

fn runtimes(options: &RuntimeOptions) -> Vec<Finding> {
    let tract = Finding {
        name: "tract",
        works: true,
        found: format!("tract {}, built in", tract::VERSION),
        advice: None,
    };
    let found = library::find(&library::ONNX_RUNTIME, options.library.as_deref());
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
    let gpu = [("cuda", Provider::Cuda), ("tensorrt", Provider::TensorRt)];
    let gpu = gpu.map(|(name, provider)| provider_finding(name, provider, found.as_ref().ok()));
    [library, openvino_finding(options)].into_iter().chain(gpu).chain([tract]).collect()
}

/// OpenVINO, and whether the processor has what it is wanted for.
fn openvino_finding(options: &RuntimeOptions) -> Finding {
    let name = "openvino";
    match library::find(&library::OPENVINO, options.openvino.as_deref()) {
        Ok(library) => Finding {
            name,
            works: true,
            found: format!("openvino {} at {} ({})", library.version, library.path.display(), library.how),
            advice: None,
        },
        Err(reason) => Finding {
            name,
            works: false,
            found: reason.to_string(),
            advice: precision::bf16_feature().map(|feature| {
                format!(
                    "the processor has {feature}: pip download --no-deps openvino, unzip the wheel, name \
                     openvino/libs/libopenvino_c.so.* in OPENVINO_DYLIB_PATH, and --precision bf16 is about twice as quick"
                )
            }),
        },
    }
}

/// Each tier of precision, and what runs it here or what is missing.
fn tiers(runtimes: &[Finding]) -> Vec<Tier> {
    let works = |name: &str| runtimes.iter().any(|finding| finding.name == name && finding.works);
    let bf16 = match (precision::bf16_feature(), works("openvino")) {
        (Some(feature), true) => (true, format!("openvino, on {feature}")),
        (Some(feature), false) => (false, format!("the processor has {feature}; openvino is missing")),
        (None, _) => {
            let how = format!("needs a processor with {}", precision::BF16.join(" or "));
            (false, how + "; in f32 graphs exported --with winograd are quicker")
        }
    };
    let f16 = match (works("cuda"), works("tensorrt")) {
        (false, false) => (false, "needs cuda or tensorrt, and graphs exported for it".to_owned()),
        _ => (true, "graphs exported for cuda or tensorrt".to_owned()),
    };
    let f32 = (true, "every runtime; the reference's numbers".to_owned());
    let tier = |precision: Precision, (works, how)| Tier { name: precision.name(), works, how };
    vec![tier(Precision::F32, f32), tier(Precision::Bf16, bf16), tier(Precision::F16, f16)]
}

/// What a provider needs is looked for; whether a device answers shows when a graph is opened on it.
fn provider_finding(name: &'static str, provider: Provider, library: Option<&library::Library>) -> Finding {
    let missing =
        |found: String| Finding { name, works: false, found, advice: Some(provider::advice(provider)) };
    let Some(library) = library else { return missing("needs onnx runtime, which was not found".to_owned()) };
    if let Some(what) = provider::missing(provider, &library.path, Path::new("/")) {
        return missing(what);
    }
    let file = provider.file().unwrap_or_default();
    Finding {
        name,
        works: true,
        found: format!("{file} beside onnx runtime, and an NVIDIA device"),
        advice: None,
    }
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
        for tier in &self.precisions {
            let mark = if tier.works { "yes" } else { "no" };
            writeln!(f, "{:<10} {mark:<4} {}", tier.name, tier.how)?;
        }
        let (runtime, precision) = self.automatic();
        writeln!(f, "auto       the runtime {runtime}; the precision {precision}")
    }
}

impl Findings {
    /// What `--runtime auto` takes in f32, and what `--precision auto` takes.
    fn automatic(&self) -> (&'static str, &'static str) {
        let ort = self.runtimes.iter().any(|finding| finding.name == "ort" && finding.works);
        let bf16 = self.precisions.iter().any(|tier| tier.name == Precision::Bf16.name() && tier.works);
        (if ort { "ort" } else { "tract" }, if bf16 { "bf16, on openvino" } else { "f32" })
    }
}
