//! The queue before an engine: jobs take turns in the order in which they came, and leave it when they are
//! cancelled or their deadline passes.

use kandinsky::error::Result;
use kandinsky::progress::CancelToken;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// The queue of one engine.
#[derive(Default)]
pub struct Turns {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<u64>,
}

/// A turn; dropping it lets the next one in.
pub struct Turn<'a> {
    turns: &'a Turns,
    ticket: u64,
}

impl Turns {
    /// Waits for a turn.
    ///
    /// # Errors
    /// When `cancel` is used meanwhile.
    pub fn take(&self, cancel: &CancelToken) -> Result<Turn<'_>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = queue.next;
        queue.next = queue.next.wrapping_add(1);
        queue.waiting.push_back(ticket);
        while queue.waiting.front() != Some(&ticket) {
            if let Err(cancelled) = cancel.check() {
                queue.leave(ticket);
                self.moved.notify_all();
                return Err(cancelled);
            }
            queue = match cancel.deadline() {
                None => self.moved.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.moved.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Ok(Turn { turns: self, ticket })
    }

    /// Makes those who wait look whether they were cancelled.
    pub fn look(&self) {
        // Nobody is between looking and waiting while the queue is locked.
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }
}

impl Queue {
    fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| *waiting != ticket);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.queue.lock().unwrap_or_else(PoisonError::into_inner).leave(self.ticket);
        self.turns.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kandinsky::error::Kind;
    use std::time::Duration;

    #[test]
    fn turns_come_in_order_and_can_be_left() {
        let turns = Turns::default();
        let first = turns.take(&CancelToken::default()).unwrap();
        let (given_up, late) = (CancelToken::default(), CancelToken::default());
        late.stop_at(Instant::now() + Duration::from_millis(5));
        let wait = |token: &CancelToken| turns.take(token).map(drop).unwrap_err().kind();
        std::thread::scope(|scope| {
            let cancelled = scope.spawn(|| wait(&given_up));
            assert_eq!(scope.spawn(|| wait(&late)).join().unwrap(), Kind::Deadline);
            given_up.cancel();
            turns.look();
            assert_eq!(cancelled.join().unwrap(), Kind::Cancelled);
        });
        drop(first);
        assert!(turns.queue.lock().unwrap().waiting.is_empty());
        turns.take(&CancelToken::default()).unwrap();
    }
}
