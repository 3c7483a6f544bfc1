//! What a running request tells its caller, and how the caller stops it.

use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The stages of a picture, in order, and that of fitting a prior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Opening graphs.
    Load,
    /// Pictures to embeddings and latents.
    Look,
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
        [Self::Load, Self::Look, Self::Encode, Self::Prior, Self::Denoise, Self::Decode, Self::Fit];

    /// The stage's name for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Look => "look",
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

/// Stops a request from another thread; clones stop the same request.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Asks the request to stop before its next network call.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What watches a request: a place for progress and a token to stop it.
#[derive(Default)]
pub struct Watch<'a> {
    /// Called after every step of every stage.
    pub on_progress: Option<Box<dyn FnMut(Progress) + 'a>>,
    /// Stops the request.
    pub cancel: CancelToken,
}

impl Watch<'_> {
    /// Tells that `step` of `total` is done and looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the token was used.
    pub fn step(&mut self, stage: Stage, step: usize, total: usize) -> Result<()> {
        if let Some(tell) = &mut self.on_progress {
            tell(Progress { stage, step, total });
        }
        self.check()
    }

    /// Looks whether to go on.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the token was used.
    pub fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, "the request was cancelled"));
        }
        Ok(())
    }
}
