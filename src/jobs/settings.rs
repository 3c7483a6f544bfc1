//! How a job is drawn beside its request, and who listens to it.

use crate::engine::Outcome;
use crate::error::Result;
use crate::progress::{Preview, PreviewKind, Progress};
use std::sync::Arc;
use std::time::Duration;

/// How a job is drawn beside its request.
pub struct Settings {
    /// From the start, waiting for the turn included, after which the job ends with
    /// [`Kind::Deadline`](crate::Kind::Deadline).
    pub deadline: Option<Duration>,
    /// Denoising steps from one preview to the next.
    pub preview_every: usize,
    /// How previews are made.
    pub preview_kind: PreviewKind,
    /// Who listens.
    pub listeners: Listeners,
}

impl Default for Settings {
    fn default() -> Self {
        let listeners = Listeners::default();
        Self { deadline: None, preview_every: 1, preview_kind: PreviewKind::Linear, listeners }
    }
}

/// Hears that the turn has come.
pub type OnStart = Box<dyn FnOnce() + Send>;
/// Hears of a step that is done.
pub type OnProgress = Box<dyn FnMut(Progress) + Send>;
/// Gets a preview.
pub type OnPreview = Box<dyn FnMut(Preview) + Send>;
/// Gets a message.
pub type OnLog = Box<dyn FnMut(LogLevel, &str) + Send>;
/// Gets what the job ended with.
pub type OnEnd = Box<dyn FnOnce(Result<Arc<Outcome>>) + Send>;

/// Who listens to a job. Each is called on the thread that draws, one at a time, and the job waits for it; one that
/// panics fails the job. A listener may do all but wait for a job that waits for it.
#[derive(Default)]
pub struct Listeners {
    /// Called when the turn has come.
    pub started: Option<OnStart>,
    /// Called after every step of every stage.
    pub progress: Option<OnProgress>,
    /// Called with previews of the pictures; without it none is made.
    pub preview: Option<OnPreview>,
    /// Called with messages.
    pub log: Option<OnLog>,
    /// Called once after the job has ended, on the thread that ended it: of a job that waits for its turn that is the
    /// thread that cancels it or sees its deadline pass. A panic in it changes nothing.
    pub ended: Option<OnEnd>,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Good to know.
    Info,
    /// Something is not as the caller may think.
    Warning,
}
