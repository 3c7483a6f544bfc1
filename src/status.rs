//! What an engine is doing, told without waiting for it: a board that the work writes on and anyone may read.

use crate::progress::{LastProgress, Progress};
use kandinsky_models::Component;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an engine is doing at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineStatus {
    /// Graphs that are open.
    pub opened: Vec<Component>,
    /// How far the picture is that is drawn; nothing while none is, or before its first step.
    pub progress: Option<Progress>,
    /// Requests in the queue, the one that is drawn included.
    pub queued: usize,
}

/// The board; clones are the same board. It is locked for a look or a note alone, never during work.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    opened: BTreeSet<Component>,
    drawing: Option<LastProgress>,
}

/// A picture that is drawn; dropping it notes that it is no longer.
pub struct Drawing(StatusBoard);

impl StatusBoard {
    /// Notes which graphs are open.
    pub fn note_opened(&self, opened: impl IntoIterator<Item = Component>) {
        self.notes().opened = opened.into_iter().collect();
    }

    /// Graphs that are open.
    pub fn opened(&self) -> Vec<Component> {
        self.notes().opened.iter().copied().collect()
    }

    /// Notes that a picture is drawn, whose progress is told in `progress` from the beginning.
    #[must_use]
    pub fn drawing(&self, progress: &LastProgress) -> Drawing {
        progress.clear();
        self.notes().drawing = Some(progress.clone());
        Drawing(self.clone())
    }

    /// How far the picture is that is drawn.
    pub fn progress(&self) -> Option<Progress> {
        self.notes().drawing.as_ref().and_then(LastProgress::get)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.0.notes().drawing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Stage;

    #[test]
    fn the_board_says_what_was_noted_last() {
        let board = StatusBoard::default();
        assert_eq!((board.opened(), board.progress()), (Vec::new(), None));
        board.note_opened([Component::TextEncoder, Component::MovqDecoder]);
        let opened = board.clone().opened();
        assert!(opened.len() == 2 && opened.contains(&Component::MovqDecoder));
        let progress = LastProgress::default();
        let drawing = board.drawing(&progress);
        assert_eq!(board.progress(), None);
        let step = Progress { stage: Stage::Prior, step: 2, total: 5 };
        progress.set(step);
        assert_eq!(board.progress(), Some(step));
        drop(drawing);
        assert_eq!(board.progress(), None);
    }
}
