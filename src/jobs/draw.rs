//! A job at work: its request drawn at its turn, with its listeners around it.

use super::settings::{Listeners, LogLevel, Settings};
use crate::engine::{Engine, Outcome};
use crate::error::Result;
use crate::progress::{CancelToken, LastProgress, Observer, Previews, Progress};
use crate::request::Request;
use crate::turns::Turn;
use std::sync::Arc;

/// Everything that a job needs to be drawn.
pub(super) struct Setup {
    pub engine: Arc<Engine>,
    pub request: Request,
    pub settings: Settings,
}

impl Setup {
    /// Draws the request.
    ///
    /// # Errors
    /// Those of [`Engine::run_all`].
    pub fn draw(&mut self, turn: Turn, cancel: CancelToken, noted: LastProgress) -> Result<Outcome> {
        let Self { engine, request, settings } = self;
        let Settings { preview_every: every, preview_kind: kind, listeners, .. } = settings;
        let Listeners { started, progress, preview, log, .. } = listeners;
        if let Some(started) = started.take() {
            started();
        }
        let mut say = |level, message: &str| {
            if let Some(log) = log {
                log(level, message);
            }
        };
        say(LogLevel::Info, &format!("{} runs on {}", engine.manifest().name, engine.runtime()));
        engine.notes().iter().for_each(|note| say(LogLevel::Warning, note));
        let on_progress = progress.as_mut().map(|tell| -> Box<dyn FnMut(Progress)> { Box::new(tell) });
        let previews =
            preview.as_mut().map(|show| Previews { every: *every, kind: *kind, show: Box::new(show) });
        let mut observer = Observer { on_progress, previews, cancel, progress: noted, ..Observer::default() };
        let outcome = engine.run_in_turn(turn, request, &mut observer)?;
        outcome.notes.iter().for_each(|note| say(LogLevel::Warning, note));
        Ok(outcome)
    }
}
