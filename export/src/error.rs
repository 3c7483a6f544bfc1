//! Ways in which a checkpoint can be wrong or an export can fail.

use std::path::PathBuf;

/// The result of reading or drawing.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong; one lower-case sentence each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the checkpoint is missing.
    #[error("the checkpoint lacks {0}")]
    MissingFile(PathBuf),
    /// The weights are PyTorch pickles.
    #[error("{0} holds PyTorch .bin files, which can run code when read; convert them to .safetensors first")]
    PickledWeights(PathBuf),
    /// A weights file is damaged or lies about its contents.
    #[error("{path} is damaged: {reason}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A config file cannot be understood.
    #[error("{path}: {reason}")]
    BadConfig {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        reason: String,
    },
    /// The config asks for something that is not drawn here.
    #[error("{what} is {found:?}, and only {known} is known")]
    Unknown {
        /// The field or thing.
        what: String,
        /// Its value.
        found: String,
        /// What would do.
        known: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{component} lacks the tensor {name}")]
    MissingTensor {
        /// The folder of the checkpoint.
        component: String,
        /// The tensor.
        name: String,
    },
    /// A tensor that the architecture does not know.
    #[error("{component} has {count} tensors that its architecture does not use, the first is {name}")]
    ExtraTensor {
        /// The folder of the checkpoint.
        component: String,
        /// The first of them.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A tensor has another shape than the config says.
    #[error("the tensor {name} of {component} has the shape {found:?}, and its config says {expected:?}")]
    Shape {
        /// The folder of the checkpoint.
        component: String,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape by the config.
        expected: Vec<usize>,
    },
    /// A weight is NaN or infinite, or does not fit the precision asked for.
    #[error("the tensor {name} holds {value} at element {index}, which {precision} cannot hold")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Its first bad element.
        index: usize,
        /// The value.
        value: f32,
        /// The precision asked for.
        precision: &'static str,
    },
    /// The output exists.
    #[error("{0} exists and is not empty")]
    Exists(PathBuf),
    /// The output exists and is not what would be replaced.
    #[error("{0} exists and is not a model folder, so it is not replaced")]
    NotReplaced(PathBuf),
    /// What the caller adds to the finished folder failed.
    #[error("{0}")]
    Finish(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The model folder cannot be read back.
    #[error(transparent)]
    Folder(#[from] kandinsky_models::Error),
    /// The caller stopped the export.
    #[error("the export was cancelled")]
    Cancelled,
    /// The operating system refused a file.
    #[error("{path} cannot be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a participle.
        verb: &'static str,
        /// The reason.
        source: std::io::Error,
    },
    /// The drawing itself is wrong: a defect of this crate.
    #[error("the graph {graph} is drawn wrongly: {reason}")]
    Drawing {
        /// The graph.
        graph: String,
        /// What does not fit.
        reason: String,
    },
}

impl Error {
    /// Wraps an I/O error on `path`; `verb` is a participle such as "read".
    pub fn io(path: impl Into<PathBuf>, verb: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), verb, source }
    }
}
