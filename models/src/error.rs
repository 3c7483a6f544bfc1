//! Ways in which a model folder can be wrong.

use std::path::PathBuf;

/// The result of looking at a model folder.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a model folder; one lower-case sentence each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no `model.json` here.
    #[error("{0} is not a model folder: it has no model.json")]
    NotAModel(PathBuf),
    /// `model.json` cannot be understood.
    #[error("model.json cannot be read: {0}")]
    BadManifest(String),
    /// The folder was written by another version of the format.
    #[error("model.json has format {found}, and this program reads format {expected}")]
    Format {
        /// The version that the manifest states.
        found: u32,
        /// The version that this crate reads.
        expected: u32,
    },
    /// A name in the manifest or in a graph leads out of the folder.
    #[error("the path {0:?} leaves the model folder")]
    EscapingPath(String),
    /// A file is missing.
    #[error("the model folder lacks the file {0}")]
    Missing(String),
    /// A file has another size than the manifest says.
    #[error("{file} has {found} bytes, and the manifest says {expected}")]
    Size {
        /// File name relative to the folder.
        file: String,
        /// Bytes on disk.
        found: u64,
        /// Bytes according to the manifest.
        expected: u64,
    },
    /// A file's bytes are not those that were exported.
    #[error("{file} has sha-256 {found}, and the manifest says {expected}")]
    Hash {
        /// File name relative to the folder.
        file: String,
        /// Hash of the bytes on disk.
        found: String,
        /// Hash according to the manifest.
        expected: String,
    },
    /// A graph's text is not what its contract promises.
    #[error("{file} is not the graph that the manifest describes: {reason}")]
    BadGraph {
        /// File name relative to the folder.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// The manifest lacks a component that was asked for.
    #[error("this model has no component {0}")]
    NoComponent(String),
    /// The operating system refused a file.
    #[error("{path} cannot be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a participle ("read", "written").
        verb: &'static str,
        /// The reason.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps an I/O error on `path`; `verb` is a participle such as "read".
    pub fn io(path: impl Into<PathBuf>, verb: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), verb, source }
    }
}
