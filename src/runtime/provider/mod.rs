//! Where ONNX Runtime computes: one file a provider, each a structure of what we set and its options as the
//! strings that the provider reads.

pub mod cpu;
pub mod cuda;
pub mod key;
pub mod tensorrt;

use super::library::Library;
use crate::error::{Error, Kind, Result};
use ort::ep::ExecutionProviderDispatch;
use std::path::Path;

/// Options of a provider by the provider's own names, in the order in which they are set.
pub type Strings = Vec<(&'static str, String)>;

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
            Self::Cpu => cpu::NAME,
            Self::Cuda => cuda::NAME,
            Self::TensorRt => tensorrt::NAME,
        }
    }

    /// Whether it is a GPU.
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Self::Cpu)
    }

    /// The library that the provider is, beside ONNX Runtime's.
    pub fn file(self) -> Option<String> {
        let (before, after) = if cfg!(windows) { ("", ".dll") } else { ("lib", ".so") };
        self.is_gpu().then(|| format!("{before}onnxruntime_providers_{}{after}", self.name()))
    }
}

/// Looks whether a provider can come up with this library, before anything is loaded.
///
/// # Errors
/// [`Kind::NoRuntime`] with what is missing and what to install.
pub fn check(provider: Provider, library: &Library) -> Result<()> {
    match missing(provider, &library.path, Path::new("/")) {
        None => Ok(()),
        Some(what) => {
            let advice = advice(provider);
            let message = format!("the runtime {} does not work here: {what}; {advice}", provider.name());
            Err(Error::new(Kind::NoRuntime, message))
        }
    }
}

/// What a provider lacks: its own library beside ONNX Runtime's at `library`, the driver below `root`.
pub fn missing(provider: Provider, library: &Path, root: &Path) -> Option<String> {
    let file = provider.file()?;
    if !library.with_file_name(&file).is_file() {
        return Some(format!("{file} is not beside {}", library.display()));
    }
    let device = cfg!(windows) || root.join("dev/nvidiactl").exists() || root.join("dev/dxg").exists();
    (!device).then(|| format!("{file} is there, and no NVIDIA device is"))
}

/// What to install for a provider.
pub fn advice(provider: Provider) -> String {
    let more = match provider {
        Provider::TensorRt => ", and TensorRT 10",
        _ => "",
    };
    format!(
        "install NVIDIA's driver{more} and the onnxruntime-gpu wheel with its CUDA libraries, and name its \
         capi/libonnxruntime.so.* with --ort-library"
    )
}

/// Makes every provider of the list an error where it does not come up: it is never the CPU instead.
fn strict(provider: impl Into<ExecutionProviderDispatch>) -> ExecutionProviderDispatch {
    provider.into().error_on_failure()
}

/// A switch as providers read it.
fn switch(on: bool) -> String {
    if on { "1" } else { "0" }.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("libonnxruntime.so");
        for provider in [Provider::Cuda, Provider::TensorRt] {
            let file = provider.file().unwrap();
            let found = missing(provider, &library, root.path()).unwrap();
            assert_eq!(found, format!("{file} is not beside {}", library.display()));
            std::fs::write(root.path().join(&file), "").unwrap();
            if !cfg!(windows) {
                let found = missing(provider, &library, root.path()).unwrap();
                assert_eq!(found, format!("{file} is there, and no NVIDIA device is"));
            }
        }
        std::fs::create_dir(root.path().join("dev")).unwrap();
        std::fs::write(root.path().join("dev/nvidiactl"), "").unwrap();
        for provider in [Provider::Cpu, Provider::Cuda, Provider::TensorRt] {
            assert_eq!(missing(provider, &library, root.path()), None);
        }
    }
}
