//! The cached TensorRT engine of a graph: where it lies, and whether it was built.

use super::GraphSource;
use crate::error::{Error, Kind, Result};
use std::path::PathBuf;

/// The file of an engine folder that says that everything in it was built.
pub(super) const PREPARED: &str = "prepared.txt";

/// Where the TensorRT engine of a graph lies, and for what it holds.
pub(super) struct Engine {
    pub folder: PathBuf,
    pub timings: PathBuf,
    pub key: String,
    pub prefix: &'static str,
    pub profile: [String; 3],
}

impl Engine {
    /// Whether everything in it was built.
    pub fn is_prepared(&self) -> bool {
        self.folder.join(PREPARED).is_file()
    }

    /// Refuses a graph of which no engine was built: building takes minutes, and no request waits for it.
    pub fn check(&self, source: &GraphSource) -> Result<()> {
        if self.is_prepared() {
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
