//! Fair turns: who wants an engine gets it in the order of coming, and leaves the queue when it is cancelled or its
//! deadline passes.

use crate::error::{Error, Kind, Result};
use crate::progress::CancelToken;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The queue of one engine; clones are the same queue.
#[derive(Clone, Default)]
pub struct Turns(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    next: u64,
    /// Tickets in order; the first has its turn, or may take it.
    waiting: VecDeque<u64>,
}

/// A place in the queue; dropping it leaves the queue.
pub struct Ticket {
    turns: Turns,
    number: u64,
}

/// A turn; dropping it lets the next one in.
pub struct Turn(Arc<Ticket>);

/// How long a waiter sleeps before it looks at its token again: who uses a token need not know the queue.
const LOOK: Duration = Duration::from_millis(50);

impl Turns {
    /// Takes a place at the end of the queue.
    pub fn enter(&self) -> Arc<Ticket> {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next = number.wrapping_add(1);
        queue.waiting.push_back(number);
        Arc::new(Ticket { turns: self.clone(), number })
    }

    /// How many are in the queue, the one that has its turn included.
    pub fn length(&self) -> usize {
        self.queue().waiting.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits for the turn.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] and [`Kind::Deadline`] when `cancel` was used or its deadline passed before the turn came.
    pub fn wait(self: &Arc<Self>, cancel: &CancelToken) -> Result<Turn> {
        let mut queue = self.turns.queue();
        loop {
            if let Err(stopped) = cancel.check() {
                drop(queue);
                self.leave();
                return Err(stopped);
            }
            match queue.waiting.iter().position(|waiting| *waiting == self.number) {
                Some(0) => return Ok(Turn(self.clone())),
                Some(_) => {}
                None => return Err(Error::new(Kind::Internal, "the place in the queue was given up")),
            }
            let left = cancel.deadline().map(|at| at.saturating_duration_since(Instant::now()));
            let nap = left.map_or(LOOK, |left| left.min(LOOK));
            queue = self.turns.0.moved.wait_timeout(queue, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many come before, the one that has its turn included; nothing once the place was given up.
    pub fn ahead(&self) -> Option<usize> {
        self.turns.queue().waiting.iter().position(|waiting| *waiting == self.number)
    }

    /// Gives the place up.
    pub fn leave(&self) {
        self.turns.queue().waiting.retain(|waiting| *waiting != self.number);
        self.turns.0.moved.notify_all();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(ticket: &Arc<Ticket>, token: &CancelToken) -> Kind {
        ticket.wait(token).map(drop).unwrap_err().kind()
    }

    #[test]
    fn turns_come_in_the_order_of_the_tickets() {
        let turns = Turns::default();
        let order = Mutex::new(Vec::new());
        let first = turns.enter().wait(&CancelToken::default()).unwrap();
        let tickets: Vec<_> = (0..8).map(|_| turns.enter()).collect();
        let ahead: Vec<_> = tickets.iter().map(|ticket| ticket.ahead().unwrap()).collect();
        assert_eq!((ahead, turns.length()), ((1..=8).collect(), 9));
        std::thread::scope(|scope| {
            // The last to come waits first.
            for (index, ticket) in tickets.iter().enumerate().rev() {
                let order = &order;
                scope.spawn(move || {
                    let turn = ticket.wait(&CancelToken::default()).unwrap();
                    order.lock().unwrap().push(index);
                    drop(turn);
                });
            }
            std::thread::sleep(Duration::from_millis(20));
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), (0..8).collect::<Vec<_>>());
        assert_eq!(turns.length(), 0);
    }

    #[test]
    fn who_waits_may_leave_and_the_next_moves_up() {
        let turns = Turns::default();
        let first = turns.enter().wait(&CancelToken::default()).unwrap();
        let (given_up, late, last) = (turns.enter(), turns.enter(), turns.enter());
        let (token, deadline) = (CancelToken::default(), CancelToken::default());
        deadline.stop_at(Instant::now() + Duration::from_millis(5));
        std::thread::scope(|scope| {
            let cancelled = scope.spawn(|| refused(&given_up, &token));
            assert_eq!(refused(&late, &deadline), Kind::Deadline);
            // The token knows nothing of the queue, and yet it is obeyed.
            token.cancel();
            assert_eq!(cancelled.join().unwrap(), Kind::Cancelled);
        });
        assert_eq!((given_up.ahead(), late.ahead(), last.ahead()), (None, None, Some(1)));
        drop(first);
        assert_eq!(last.ahead(), Some(0));
        last.leave();
        assert_eq!(refused(&last, &CancelToken::default()), Kind::Internal);
        turns.enter().wait(&CancelToken::default()).unwrap();
        assert_eq!(turns.length(), 0);
    }

    #[test]
    fn a_token_that_was_used_before_gets_no_turn() {
        let (turns, token) = (Turns::default(), CancelToken::default());
        token.cancel();
        assert_eq!(refused(&turns.enter(), &token), Kind::Cancelled);
        assert_eq!(turns.length(), 0);
    }
}
