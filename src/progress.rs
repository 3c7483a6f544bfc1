//! What a running request tells its caller, and how the caller stops it.

use crate::error::{Error, Kind, Result};
use crate::image::Picture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

/// The stages of a picture, in order, and that of fitting a prior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Opening graphs.
    Load,
    /// Pictures to embeddings and latents.
    EncodeImages,
    /// Text to tokens to embeddings.
    Encode,
    /// Text embedding to image embedding.
    Prior,
    /// Noise to latents.
    Denoise,
    /// Latents to pixels.
    Decode,
    /// Fitting a prior to pairs of texts and pictures.
    Fit,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 7] =
        [Self::Load, Self::EncodeImages, Self::Encode, Self::Prior, Self::Denoise, Self::Decode, Self::Fit];

    /// The stage's name for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::EncodeImages => "look",
            Self::Encode => "encode",
            Self::Prior => "prior",
            Self::Denoise => "denoise",
            Self::Decode => "decode",
            Self::Fit => "fit",
        }
    }
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Steps done, from 0 to `total`.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
}

/// How far a request is, for whoever asks on another thread; clones tell of the same request.
#[derive(Debug, Clone, Default)]
pub struct LastProgress(Arc<Mutex<Option<Progress>>>);

impl LastProgress {
    /// Notes the step that is done.
    pub fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// Forgets what was noted.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The last step that is done; nothing before the first.
    pub fn get(&self) -> Option<Progress> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops a request from another thread, or at a time; clones stop the same request.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    asked: AtomicBool,
    deadline: OnceLock<Instant>,
}

impl CancelToken {
    /// Asks the request to stop before its next network call.
    pub fn cancel(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }

    /// Asks the request to stop before its first network call after `deadline`; the first one set counts.
    pub fn stop_at(&self, deadline: Instant) {
        let _ = self.0.deadline.set(deadline);
    }

    /// When the request stops by itself.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get().copied()
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// Looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when someone asked to stop, [`Kind::Deadline`] after the deadline.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "the request was cancelled"));
        }
        match self.deadline() {
            Some(deadline) if deadline <= Instant::now() => {
                Err(Error::new(Kind::Deadline, "the request's deadline passed"))
            }
            _ => Ok(()),
        }
    }
}

/// How a preview is made of the clean latents that the sampler predicts at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PreviewKind {
    /// One colour a latent by the model's linear map: blocks of 8 pixels, at no cost to speak of.
    Linear,
    /// MoVQ decodes the latents, as it will the last ones: what a picture costs at the end, each time.
    Decode,
}

impl PreviewKind {
    /// Every kind, the cheapest first.
    pub const ALL: [Self; 2] = [Self::Linear, Self::Decode];

    /// The name at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Decode => "decode",
        }
    }
}

/// What a picture looks like so far.
#[derive(Debug)]
pub struct Preview {
    /// Denoising steps done, from 1 to `total`.
    pub step: usize,
    /// Denoising steps in all.
    pub total: usize,
    /// Which of the request's pictures it is, from 0.
    pub picture: usize,
    /// The preview itself, of the picture's size.
    pub image: Picture,
}

/// Which previews a caller wants, and where they go.
pub struct Previews<'a> {
    /// Steps from one preview to the next, at least 1: after steps `every`, 2·`every`, …
    pub every: usize,
    /// How they are made.
    pub kind: PreviewKind,
    /// Called with each preview, after the progress of its step.
    pub show: Box<dyn FnMut(Preview) + 'a>,
}

/// What watches a request: places for progress and previews, and a token to stop it.
#[derive(Default)]
pub struct Observer<'a> {
    /// Called after every step of every stage.
    pub on_progress: Option<Box<dyn FnMut(Progress) + 'a>>,
    /// Previews of the denoising loop.
    pub previews: Option<Previews<'a>>,
    /// Stops the request.
    pub cancel: CancelToken,
    /// Where the last step is noted.
    pub progress: LastProgress,
    /// Set by a mode that draws its pictures in several batches: which of them is under way.
    pub batch: Batch,
    /// Set by the first step of the denoising loop: when it began.
    pub denoising_began: Option<SystemTime>,
}

/// One of the batches of a request, each of which goes through all steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Batches before it.
    pub index: usize,
    /// Batches in all.
    pub total: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { index: 0, total: 1 }
    }
}

impl Observer<'_> {
    /// Tells that `step` of `total` is done and looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the token was used.
    pub fn step(&mut self, stage: Stage, step: usize, total: usize) -> Result<()> {
        let progress = Progress { stage, step, total };
        self.progress.set(progress);
        if let Some(tell) = &mut self.on_progress {
            tell(progress);
        }
        self.check()
    }

    /// As [`Observer::step`], for `step` of `total` of the batch that is under way.
    ///
    /// # Errors
    /// As [`Observer::step`].
    pub fn batch_step(&mut self, stage: Stage, step: usize, total: usize) -> Result<()> {
        let Batch { index, total: batches } = self.batch;
        self.step(stage, index * total + step, batches * total)
    }

    /// How the pictures shall be shown after `step`, where they shall.
    pub fn preview_due(&self, step: usize) -> Option<PreviewKind> {
        let previews = self.previews.as_ref()?;
        let due = step.checked_rem(previews.every) == Some(0);
        due.then_some(previews.kind)
    }

    /// Hands a preview over and looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the token was used.
    pub fn preview(&mut self, preview: Preview) -> Result<()> {
        if let Some(previews) = &mut self.previews {
            (previews.show)(preview);
        }
        self.check()
    }

    /// Looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the token was used.
    pub fn check(&self) -> Result<()> {
        self.cancel.check()
    }
}
