//! One table of failures for every front end: a kind's code is the exit code of the command line and the status of
//! the C interface.

use std::path::Path;
use std::sync::Arc;

/// The result of anything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure it was; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request or the command line is not valid.
    BadRequest,
    /// A prompt cannot be used.
    BadPrompt,
    /// A picture cannot be used.
    BadImage,
    /// No model folder was found, or it is not one.
    NoModel,
    /// A model folder's bytes, graphs or contracts are wrong.
    BadModel,
    /// A checkpoint cannot be exported.
    BadCheckpoint,
    /// A runtime is missing, of a wrong version or broken.
    NoRuntime,
    /// A runtime failed, or a graph broke its contract while running.
    RuntimeFault,
    /// The operating system refused a file.
    Io,
    /// The output exists and may not be overwritten.
    Exists,
    /// Memory ran out, or a request would need more than there is.
    OutOfMemory,
    /// The caller cancelled.
    Cancelled,
    /// The caller's deadline passed.
    Deadline,
    /// A defect of this program.
    Internal,
    /// A pointer that must not be null is (C alone).
    NullArgument,
    /// A handle that is null, stale, forged or of another object (C alone).
    InvalidHandle,
    /// A buffer that does not hold the answer (C alone).
    TooSmall,
    /// A call that would wait for a job, from inside a callback of a job (jobs and C alone).
    Reentrant,
    /// A job that has not ended yet (jobs and C alone).
    Pending,
    /// A defect that would have ended the process (jobs and C alone).
    Panic,
}

impl Kind {
    /// Every kind, in the order of the table of exit codes.
    pub const ALL: [Self; 20] = [
        Self::BadRequest,
        Self::BadPrompt,
        Self::BadImage,
        Self::NoModel,
        Self::BadModel,
        Self::BadCheckpoint,
        Self::NoRuntime,
        Self::RuntimeFault,
        Self::Io,
        Self::Exists,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Deadline,
        Self::Internal,
        Self::NullArgument,
        Self::InvalidHandle,
        Self::TooSmall,
        Self::Reentrant,
        Self::Pending,
        Self::Panic,
    ];

    /// The stable name, as `--json` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadPrompt => "bad_prompt",
            Self::BadImage => "bad_image",
            Self::NoModel => "no_model",
            Self::BadModel => "bad_model",
            Self::BadCheckpoint => "bad_checkpoint",
            Self::NoRuntime => "no_runtime",
            Self::RuntimeFault => "runtime_fault",
            Self::Io => "io",
            Self::Exists => "exists",
            Self::OutOfMemory => "out_of_memory",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Internal => "internal",
            Self::NullArgument => "null_argument",
            Self::InvalidHandle => "invalid_handle",
            Self::TooSmall => "too_small",
            Self::Reentrant => "reentrant",
            Self::Pending => "pending",
            Self::Panic => "panic",
        }
    }

    /// Its code: the exit code of the command line and the status of the C interface.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::BadRequest => 2,
            Self::BadPrompt => 3,
            Self::BadImage => 4,
            Self::NoModel => 5,
            Self::BadModel => 6,
            Self::BadCheckpoint => 7,
            Self::NoRuntime => 8,
            Self::RuntimeFault => 9,
            Self::Io => 10,
            Self::Exists => 11,
            Self::OutOfMemory => 12,
            Self::Cancelled => 130,
            Self::Deadline => 124,
            Self::Internal => 70,
            Self::NullArgument => 20,
            Self::InvalidHandle => 21,
            Self::TooSmall => 22,
            Self::Reentrant => 23,
            Self::Pending => 24,
            Self::Panic => 71,
        }
    }

    /// What it means, for the table of exit codes.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::BadRequest => "the command line or the request is not valid",
            Self::BadPrompt => "the prompt cannot be used",
            Self::BadImage => "a picture cannot be used",
            Self::NoModel => "no model folder was found",
            Self::BadModel => "the model folder is damaged or of another kind",
            Self::BadCheckpoint => "the checkpoint cannot be exported",
            Self::NoRuntime => "the runtime is missing, of a wrong version or broken",
            Self::RuntimeFault => "the runtime failed while running a graph",
            Self::Io => "a file could not be read or written",
            Self::Exists => "the output exists; say --force to replace it",
            Self::OutOfMemory => "not enough memory",
            Self::Cancelled => "cancelled (Ctrl-C)",
            Self::Deadline => "the deadline passed",
            Self::Internal => "a defect of this program",
            Self::NullArgument => "a pointer is null that must not be",
            Self::InvalidHandle => "a handle is null, stale, forged or of another object",
            Self::TooSmall => "a buffer does not hold the answer",
            Self::Reentrant => "a callback made a call that waits for a job",
            Self::Pending => "the job has not ended yet",
            Self::Panic => "a defect that would have ended the process",
        }
    }

    /// Whether the command line never ends with it: only the C interface knows it, and some of them jobs.
    pub const fn is_of_c(self) -> bool {
        matches!(
            self,
            Self::NullArgument
                | Self::InvalidHandle
                | Self::TooSmall
                | Self::Reentrant
                | Self::Pending
                | Self::Panic
        )
    }
}

/// A failure: its kind and one lower-case sentence that names the value and the limit.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    stage: Option<&'static str>,
    cause: Option<Cause>,
}

/// What brought a failure about; shared, since a failure is told to everyone who waits.
type Cause = Arc<dyn std::error::Error + Send + Sync>;

impl Error {
    /// A failure of `kind`, told in `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), stage: None, cause: None }
    }

    /// A failure of the operating system on `path`; `verb` is a participle such as "read".
    pub fn io(path: &Path, verb: &str, source: &std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::OutOfMemory => Kind::OutOfMemory,
            _ => Kind::Io,
        };
        Self::new(kind, format!("{} cannot be {verb}: {source}", path.display()))
            .caused_by(std::io::Error::new(source.kind(), source.to_string()))
    }

    /// The same failure, which another one brought about: an error, or words.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// The same failure, in the stage of that name unless one is known.
    #[must_use]
    pub fn in_stage(mut self, stage: &'static str) -> Self {
        self.stage = self.stage.or(Some(stage));
        self
    }

    /// What brought it about, in words, where that is known; [`source`](std::error::Error::source) has it as an error.
    pub fn cause(&self) -> Option<String> {
        self.cause.as_ref().map(ToString::to_string)
    }

    /// The stage of the picture that failed, where one was under way.
    pub const fn stage(&self) -> Option<&'static str> {
        self.stage
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let told = |error: &Self| (error.kind, error.stage, error.cause());
        told(self) == told(other) && self.message == other.message
    }
}

impl Eq for Error {}

impl From<kandinsky_models::Error> for Error {
    fn from(error: kandinsky_models::Error) -> Self {
        use kandinsky_models::Error as E;
        let kind = match error {
            E::NotAModel(_) => Kind::NoModel,
            E::Io { .. } => Kind::Io,
            _ => Kind::BadModel,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_cause_is_a_source_that_can_be_told_apart() {
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = Error::io(Path::new("a.png"), "written", &source);
        let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>()).unwrap();
        assert_eq!(cause.kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(error.cause(), Some(source.to_string()));
        assert_eq!(error.clone(), error);
        assert!(Error::new(Kind::Internal, "x").source().is_none());
        assert_eq!(
            Error::new(Kind::Internal, "x").caused_by("a word").source().unwrap().to_string(),
            "a word"
        );
    }
}
