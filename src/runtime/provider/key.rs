//! Names of cached engines: an engine holds for one graph, one shape profile, one setting of the builder, one
//! version of each library and one kind of GPU.

use kandinsky_models::{GraphSpec, hash};
use std::path::Path;

/// What stands where something could not be found out.
const UNKNOWN: &str = "unknown";

/// A GPU as the driver tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Its model, such as `NVIDIA H100 80GB HBM3`; the compute capability follows from it.
    pub name: Option<String>,
    /// The driver's version.
    pub driver: Option<String>,
}

impl Gpu {
    /// The device of this number, in the order of their places on the bus, from the driver's files below
    /// `root` (`/`).
    pub fn find(root: &Path, device: u32) -> Self {
        let driver = root.join("proc/driver/nvidia");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let mut places: Vec<_> = std::fs::read_dir(driver.join("gpus"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("information")))
            .collect();
        places.sort();
        let place = usize::try_from(device).ok().and_then(|device| places.get(device));
        let information = place.map(|path| read(path)).unwrap_or_default();
        let model = information.lines().find_map(|line| line.strip_prefix("Model:"));
        let version = read(&driver.join("version"));
        Self { name: model.map(|name| name.trim().to_owned()), driver: driver_version(&version) }
    }

    /// What the caller should know where the GPU could not be found out.
    pub fn note(&self) -> Option<String> {
        let note =
            "the driver does not tell which GPU this is, so engines of another GPU may be found and refused";
        self.name.is_none().then(|| note.to_owned())
    }
}

/// The first word of the driver's line that is a version, such as `580.65.06`.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let version = |word: &&str| word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    line.split_whitespace().find(version).map(str::to_owned)
}

/// Versions of the libraries that build and run engines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// ONNX Runtime's.
    pub ort: String,
    /// TensorRT's, where its file tells.
    pub tensorrt: Option<String>,
    /// CUDA's, where its file tells.
    pub cuda: Option<String>,
}

/// Everything that an engine depends on.
#[derive(Debug, Clone, Copy)]
pub struct EngineKey<'a> {
    /// The graph, its data and its contract.
    pub graph: &'a GraphSpec,
    /// The libraries.
    pub versions: &'a Versions,
    /// The GPU.
    pub gpu: &'a Gpu,
    /// Smallest, best and largest shapes.
    pub profile: &'a [String; 3],
    /// The builder's level.
    pub level: u8,
}

impl EngineKey<'_> {
    /// All of it in words, a line each.
    pub fn text(&self) -> String {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let data = self.graph.data.as_ref().map(|data| data.sha256.as_str()).unwrap_or_default();
        let [min, opt, max] = self.profile;
        format!(
            "graph {}\ndata {data}\nmin {min}\nopt {opt}\nmax {max}\nlevel {}\n{}",
            self.graph.graph.sha256,
            self.level,
            machine(self.versions, &known(&self.gpu.name), &known(&self.gpu.driver)),
        )
    }

    /// A folder's name for it.
    pub fn name(&self) -> String {
        short_hash(&self.text())
    }

    /// A folder's name for what its timings depend on: the machine alone.
    pub fn timings(&self) -> String {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        format!(
            "timings-{}",
            short_hash(&machine(self.versions, &known(&self.gpu.name), &known(&self.gpu.driver)))
        )
    }
}

fn machine(versions: &Versions, gpu: &str, driver: &str) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let (tensorrt, cuda) = (known(&versions.tensorrt), known(&versions.cuda));
    format!("onnxruntime {}\ntensorrt {tensorrt}\ncuda {cuda}\ngpu {gpu}\ndriver {driver}\n", versions.ort)
}

fn short_hash(text: &str) -> String {
    hash::of_bytes(text.as_bytes()).chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;
    use kandinsky_models::FileEntry;
    use std::collections::BTreeSet;

    fn spec(graph: &str, data: &str) -> GraphSpec {
        let entry = |sha256: &str| FileEntry { path: "x".to_owned(), bytes: 1, sha256: sha256.to_owned() };
        let data = Some(entry(data));
        GraphSpec { graph: entry(graph), data, parameters: 0, inputs: vec![], outputs: vec![] }
    }

    #[test]
    fn an_engine_s_name_changes_with_everything_it_depends_on() {
        let graph = spec("a", "b");
        let versions = Versions {
            ort: "1.31.1".to_owned(),
            tensorrt: Some("10.16.1".to_owned()),
            cuda: Some("13.2".to_owned()),
        };
        let gpu = Gpu { name: Some("NVIDIA H100".to_owned()), driver: Some("580.65".to_owned()) };
        let profile = ["x:1".to_owned(), "x:2".to_owned(), "x:8".to_owned()];
        let key = EngineKey { graph: &graph, versions: &versions, gpu: &gpu, profile: &profile, level: 3 };
        let text = "graph a\ndata b\nmin x:1\nopt x:2\nmax x:8\nlevel 3\nonnxruntime 1.31.1\ntensorrt 10.16.1\n\
                    cuda 13.2\ngpu NVIDIA H100\ndriver 580.65\n";
        assert_eq!(key.text(), text);
        assert_eq!(key.name(), key.name());
        let others = [
            EngineKey { graph: &spec("A", "b"), ..key }.name(),
            EngineKey { graph: &spec("a", "B"), ..key }.name(),
            EngineKey { level: 5, ..key }.name(),
            EngineKey { profile: &["x:1".to_owned(), "x:2".to_owned(), "x:4".to_owned()], ..key }.name(),
            EngineKey { versions: &Versions { ort: "1.31.2".to_owned(), ..versions.clone() }, ..key }.name(),
            EngineKey { versions: &Versions { tensorrt: None, ..versions.clone() }, ..key }.name(),
            EngineKey { versions: &Versions { cuda: None, ..versions.clone() }, ..key }.name(),
            EngineKey { gpu: &Gpu { name: None, ..gpu.clone() }, ..key }.name(),
            EngineKey { gpu: &Gpu { driver: None, ..gpu.clone() }, ..key }.name(),
            key.name(),
        ];
        assert_eq!(others.iter().collect::<BTreeSet<_>>().len(), others.len());
        assert!(others.iter().all(|name| name.len() == 32));
        assert_eq!(key.timings(), EngineKey { graph: &spec("A", "B"), level: 1, ..key }.timings());
        assert_ne!(key.timings(), EngineKey { gpu: &Gpu::default(), ..key }.timings());
    }

    #[test]
    fn the_gpu_is_read_from_the_driver_s_files() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Gpu::find(root.path(), 0), Gpu::default());
        assert!(Gpu::find(root.path(), 0).note().is_some());
        let driver = root.path().join("proc/driver/nvidia");
        for (place, name) in [("0000:65:00.0", "NVIDIA B"), ("0000:17:00.0", "NVIDIA A")] {
            std::fs::create_dir_all(driver.join("gpus").join(place)).unwrap();
            let text = format!("Model: \t\t {name}\nIRQ:   \t\t 1\n");
            std::fs::write(driver.join("gpus").join(place).join("information"), text).unwrap();
        }
        let line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version: 12.2\n";
        std::fs::write(driver.join("version"), line).unwrap();
        let gpu = |name: &str| Gpu { name: Some(name.to_owned()), driver: Some("580.65.06".to_owned()) };
        assert_eq!(Gpu::find(root.path(), 0), gpu("NVIDIA A"));
        assert_eq!(Gpu::find(root.path(), 1), gpu("NVIDIA B"));
        assert_eq!(Gpu::find(root.path(), 2).name, None);
        assert!(gpu("x").note().is_none());
    }
}
