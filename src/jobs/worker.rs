//! A worker: one thread that draws the jobs of an engine one after the other, however many wait.

use super::Job;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::turns::Ticket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A thread that draws the jobs of one engine in the order in which they were submitted. Of one that waits it keeps a
/// place in a list, where [`Job::start`] keeps a thread.
///
/// Dropping it cancels its jobs and waits for its thread, a network call at most; [`Worker::finish`] draws them first.
pub struct Worker {
    engine: Arc<Engine>,
    list: Mutex<Option<Sender<Placed>>>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

type Placed = (Job, Arc<Ticket>);

/// What the thread works at, and whether it shall stop.
#[derive(Default)]
struct Desk {
    stop: AtomicBool,
    job: Mutex<Option<Job>>,
}

impl Worker {
    /// A worker of `engine`.
    ///
    /// # Errors
    /// [`Kind::OutOfMemory`] when there is no thread for it.
    pub fn new(engine: Arc<Engine>) -> Result<Self> {
        let (list, desk) = (channel(), Arc::new(Desk::default()));
        let (sender, receiver) = list;
        let theirs = desk.clone();
        let thread = std::thread::Builder::new()
            .name("kandinsky-worker".to_owned())
            .spawn(move || theirs.work(&receiver))
            .map_err(|e| Error::new(Kind::OutOfMemory, format!("no thread can be started: {e}")))?;
        Ok(Self { engine, list: Mutex::new(Some(sender)), desk, thread: Some(thread) })
    }

    /// Puts a job at the end of the queue and returns at once.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it has been started or is of another engine.
    pub fn submit(&self, job: &Job) -> Result<()> {
        // Places in the list and places in the engine's queue come in one order, or the thread would wait for a turn
        // that only it could let pass.
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = job.enqueue(Some(&self.engine))?;
        let sent = list.as_ref().map(|list| list.send((job.clone(), ticket)).is_ok());
        drop(list);
        if sent == Some(true) {
            return Ok(());
        }
        let failure = Error::new(Kind::Internal, "the thread of the worker is gone");
        job.refuse(&failure);
        Err(failure)
    }

    /// Takes no more jobs and draws those that wait.
    pub fn finish(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.list.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A listener may be who drops the worker.
        let here = std::thread::current().id();
        let _ = self.thread.take().filter(|thread| thread.thread().id() != here).map(JoinHandle::join);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::SeqCst);
        let job = self.desk.put(None);
        if let Some(job) = job {
            job.cancel();
        }
        self.join();
    }
}

impl Desk {
    fn work(&self, list: &Receiver<Placed>) {
        for (job, ticket) in list {
            self.put(Some(job.clone()));
            // Either this sees that it shall stop, or who says so sees the job.
            if self.stop.load(Ordering::SeqCst) {
                job.cancel();
            }
            job.work(&ticket);
            self.put(None);
        }
    }

    fn put(&self, job: Option<Job>) -> Option<Job> {
        std::mem::replace(&mut *self.job.lock().unwrap_or_else(PoisonError::into_inner), job)
    }
}
