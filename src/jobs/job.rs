//! A job: a request that is drawn once, and where it is on its way.

use super::draw::Setup;
use super::settings::Settings;
use crate::engine::{Engine, Outcome};
use crate::error::{Error, Kind, Result};
use crate::panics::guarded;
use crate::progress::{CancelToken, LastProgress, Progress};
use crate::request::Request;
use crate::turns::{Ticket, Turn};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

/// A job: a request that is drawn once. Clones are the same job, and any thread may use one.
///
/// A job that was started goes on when nobody holds it any more; [`Job::close`] stops it.
#[derive(Clone)]
pub struct Job(Arc<Shared>);

struct Shared {
    token: CancelToken,
    progress: LastProgress,
    phase: Mutex<Phase>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has not been started.
    New,
    /// It waits for its turn.
    Queued,
    /// It is drawn.
    Running,
    /// Its pictures are there.
    Done,
    /// It failed, or its deadline passed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl State {
    /// Whether it stays as it is.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What there is to say of a job at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Where it is on its way.
    pub state: State,
    /// Of one that is queued: how many come before it, the one that is drawn included.
    pub ahead: Option<usize>,
    /// The last step that is done.
    pub progress: Option<Progress>,
}

/// The state with what belongs to it.
enum Phase {
    New(Box<Setup>),
    Queued(Box<Setup>, Arc<Ticket>),
    /// Out of the queue, and what it held is being given back.
    Leaving,
    Running(ThreadId),
    Done(Arc<Outcome>),
    Failed(Error),
}

impl Phase {
    fn state(&self) -> State {
        match self {
            Self::New(_) => State::New,
            Self::Queued(..) | Self::Leaving => State::Queued,
            Self::Running(_) => State::Running,
            Self::Done(_) => State::Done,
            Self::Failed(error) if error.kind() == Kind::Cancelled => State::Cancelled,
            Self::Failed(_) => State::Failed,
        }
    }

    /// The outcome of a job that has ended.
    fn outcome(&self) -> Option<Result<Arc<Outcome>>> {
        match self {
            Self::Done(outcome) => Some(Ok(outcome.clone())),
            Self::Failed(error) => Some(Err(error.clone())),
            _ => None,
        }
    }

    /// Takes a job that is queued out of the queue, for `next`.
    fn leave_queue(&mut self, next: Self) -> Option<(Box<Setup>, Arc<Ticket>)> {
        match std::mem::replace(self, next) {
            Self::Queued(setup, ticket) => Some((setup, ticket)),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What messages call the thread of a job.
const THREAD: &str = "the thread of a job";

impl Job {
    /// A job that will draw `request` on `engine`. It does nothing before it is started.
    pub fn new(engine: Arc<Engine>, request: Request) -> Self {
        Self::with(engine, request, Settings::default())
    }

    /// As [`Job::new`], with settings.
    pub fn with(engine: Arc<Engine>, request: Request, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            token: CancelToken::default(),
            progress: LastProgress::default(),
            phase: Mutex::new(Phase::New(Box::new(Setup { engine, request, settings }))),
            changed: Condvar::new(),
            thread: Mutex::new(None),
        }))
    }

    /// Changes the settings of a job that has not been started.
    ///
    /// # Errors
    /// Those of `change`, and [`Kind::BadRequest`] when the job has been started.
    pub fn set_up(&self, change: impl FnOnce(&mut Settings) -> Result<()>) -> Result<()> {
        match &mut *self.phase() {
            Phase::New(setup) => change(&mut setup.settings),
            _ => Err(started()),
        }
    }

    /// Starts the job on a thread of its own and returns at once.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it has been started, [`Kind::OutOfMemory`] when there is no thread for it.
    pub fn start(&self) -> Result<()> {
        let ticket = self.enqueue(None)?;
        if self.status().state.has_ended() {
            return Ok(());
        }
        let (job, thread) = (self.clone(), std::thread::Builder::new().name("kandinsky-job".to_owned()));
        // Who closes the job meanwhile finds the thread.
        let mut kept = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let spawned = thread.spawn(move || job.work(&ticket));
        let spawned = spawned.map(|thread| *kept = Some(thread));
        drop(kept);
        spawned.map_err(|e| {
            let failure = Error::new(Kind::OutOfMemory, format!("no thread can be started: {e}"));
            self.refuse(&failure);
            failure
        })
    }

    /// Draws the job on this thread, at its turn.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it has been started; what failed.
    pub fn run(&self) -> Result<Arc<Outcome>> {
        let ticket = self.enqueue(None)?;
        self.work(&ticket);
        self.wait(None)
    }

    /// Where the job is on its way. It never waits for a picture.
    pub fn status(&self) -> Status {
        self.expire();
        let phase = self.phase();
        let ahead = match &*phase {
            Phase::Queued(_, ticket) => ticket.ahead(),
            _ => None,
        };
        Status { state: phase.state(), ahead, progress: self.0.progress.get() }
    }

    /// Waits until the job has ended, for `timeout` at most, and gives its outcome. Any number of threads may wait.
    ///
    /// # Errors
    /// What failed; [`Kind::Pending`] when it goes on after `timeout`, [`Kind::BadRequest`] when it has not been
    /// started, [`Kind::Reentrant`] on the thread that draws it.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Arc<Outcome>> {
        // A deadline beyond what the clock can tell is none.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.expire();
            let phase = self.phase();
            if let Some(outcome) = phase.outcome() {
                return outcome;
            }
            let deadline = match &*phase {
                Phase::New(_) => return Err(Error::new(Kind::BadRequest, "the job has not been started")),
                Phase::Running(thread) if *thread == std::thread::current().id() => {
                    return Err(Error::new(Kind::Reentrant, "a listener of a job may not wait for the job"));
                }
                // Nobody else may be there to see the deadline of a job pass that waits for a worker.
                Phase::Queued(..) => self.0.token.deadline(),
                _ => None,
            };
            let left = |at: Instant| at.saturating_duration_since(Instant::now());
            if until.is_some_and(|until| left(until).is_zero()) {
                return Err(pending());
            }
            match until.into_iter().chain(deadline).min() {
                None => drop(self.0.changed.wait(phase)),
                Some(next) => drop(self.0.changed.wait_timeout(phase, left(next))),
            }
        }
    }

    /// The outcome of a job that has ended.
    ///
    /// # Errors
    /// What failed; [`Kind::Pending`] when it has not ended.
    pub fn outcome(&self) -> Result<Arc<Outcome>> {
        self.expire();
        self.phase().outcome().unwrap_or_else(|| Err(pending()))
    }

    /// Asks the job to stop, before, while or after it runs. One that waits for its turn has ended when this returns,
    /// one that is drawn ends before its next network call, and one that has ended stays as it is.
    pub fn cancel(&self) {
        self.0.token.cancel();
        self.expire();
    }

    /// Cancels the job and waits until it has ended and its own thread is gone, a network call at most. On the thread
    /// that draws it, it does not wait.
    pub fn close(&self) {
        self.cancel();
        let here = std::thread::current().id();
        let elsewhere = |thread: &mut JoinHandle<()>| thread.thread().id() != here;
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take_if(elsewhere);
        // What happened on the thread is in the job's phase.
        let _ = thread.map(JoinHandle::join);
        // A job of a worker has no thread of its own; one that was never started has nothing to end.
        let _ = self.wait(None);
    }

    /// Takes a place in the queue of the job's engine, which is `of` where one is named.
    pub(super) fn enqueue(&self, of: Option<&Arc<Engine>>) -> Result<Arc<Ticket>> {
        let mut phase = self.phase();
        let Phase::New(setup) = &*phase else { return Err(started()) };
        if of.is_some_and(|engine| !Arc::ptr_eq(engine, &setup.engine)) {
            let message =
                "the job is of another engine than its worker; submit it to a worker of its own engine";
            return Err(Error::new(Kind::BadRequest, message));
        }
        if let Some(deadline) = setup.settings.deadline.and_then(|after| Instant::now().checked_add(after)) {
            self.0.token.stop_at(deadline);
        }
        let ticket = setup.engine.turns().enter();
        if let Phase::New(setup) = std::mem::replace(&mut *phase, Phase::Leaving) {
            *phase = Phase::Queued(setup, ticket.clone());
        }
        Ok(ticket)
    }

    /// Waits for the turn of a job that is queued and draws it on this thread.
    pub(super) fn work(&self, ticket: &Arc<Ticket>) {
        let Ok(turn) = ticket.wait(&self.0.token) else { return self.expire() };
        let begun = self.phase().leave_queue(Phase::Running(std::thread::current().id()));
        // It may have been cancelled meanwhile.
        let Some((setup, _)) = begun else { return };
        self.0.changed.notify_all();
        self.draw(setup, turn);
    }

    fn draw(&self, mut setup: Box<Setup>, turn: Turn) {
        let (token, progress) = (self.0.token.clone(), self.0.progress.clone());
        let drawn = guarded(THREAD, || setup.draw(turn, token, progress));
        self.end(setup, drawn.map_or_else(Phase::Failed, |outcome| Phase::Done(Arc::new(outcome))));
    }

    /// Ends a job that is queued and was cancelled, or whose deadline has passed.
    fn expire(&self) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::Queued(..))
            && let Err(stopped) = self.0.token.check()
        {
            let left = phase.leave_queue(Phase::Leaving);
            drop(phase);
            self.give_up(left, stopped);
        }
    }

    /// Ends a job that is queued, with a failure.
    pub(super) fn refuse(&self, failure: &Error) {
        let left = self.phase().leave_queue(Phase::Leaving);
        self.give_up(left, failure.clone());
    }

    fn give_up(&self, left: Option<(Box<Setup>, Arc<Ticket>)>, failure: Error) {
        if let Some((setup, ticket)) = left {
            ticket.leave();
            self.end(setup, Phase::Failed(failure));
        }
    }

    fn end(&self, mut setup: Box<Setup>, ended: Phase) {
        let told = setup.settings.listeners.ended.take();
        // Who has waited for the job may count on the engine's memory. Listeners are dropped here as well.
        let given_back = guarded(THREAD, || {
            drop(setup);
            Ok(())
        });
        *self.phase() = given_back.map_or_else(Phase::Failed, |()| ended);
        self.0.changed.notify_all();
        if let Some(told) = told {
            let _ = guarded(THREAD, || {
                told(self.outcome());
                Ok(())
            });
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.0.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn started() -> Error {
    Error::new(Kind::BadRequest, "the job has been started")
}

fn pending() -> Error {
    Error::new(Kind::Pending, "the job has not ended yet")
}
