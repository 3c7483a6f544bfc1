//! Jobs: requests that are drawn once, each at its turn before its engine, on a thread of its own or by a worker.
//!
//! ```
//! use kandinsky::jobs::{Job, Settings, State};
//! use kandinsky::{Engine, Request};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let engine = Arc::new(Engine::open("models/emoji")?);
//! let request = Request::text_to_image("a red apple").seed(7).steps(4).prior_steps(2);
//! let settings = Settings { deadline: Some(Duration::from_secs(600)), ..Settings::default() };
//! let job = Job::with(engine.clone(), request, settings);
//! job.start()?;
//! let outcome = job.wait(None)?;
//! assert_eq!((outcome.pictures.len(), job.status().state), (1, State::Done));
//! # Ok::<(), kandinsky::Error>(())
//! ```
//!
//! A job goes from [`State::New`] to [`State::Queued`] by [`Job::start`], [`Job::run`] or [`Worker::submit`], to
//! [`State::Running`] when its turn comes, and ends as done, failed or cancelled; it never goes back. The turns are
//! the engine's own (`turns`): jobs, [`Engine::run_all`](crate::Engine::run_all) and all else that wants the
//! networks stand in the one queue.

mod draw;
mod job;
mod report;
mod settings;
mod worker;

pub use job::{Job, State, Status};
pub use report::report;
pub use settings::{Listeners, LogLevel, OnEnd, OnLog, OnPreview, OnProgress, OnStart, Settings};
pub use worker::Worker;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::CancelToken;
    use crate::runtime::RuntimeOptions;
    use crate::{Engine, Kind, Request};
    use std::sync::mpsc::channel;
    use std::sync::{Arc, LazyLock};
    use std::time::{Duration, Instant};

    /// An engine of which each test has its own: what is tested here draws nothing, so no graph is opened.
    fn engine() -> Arc<Engine> {
        static MODEL: LazyLock<String> =
            LazyLock::new(|| format!("{}/models/emoji", env!("CARGO_MANIFEST_DIR")));
        let options = RuntimeOptions { runtime: "tract".to_owned(), ..RuntimeOptions::default() };
        Arc::new(Engine::open_with(&*MODEL, &options).unwrap())
    }

    fn job(engine: &Arc<Engine>) -> Job {
        Job::new(engine.clone(), Request::text_to_image("a red apple"))
    }

    fn kind<T>(result: crate::Result<T>) -> Kind {
        result.err().unwrap().kind()
    }

    #[test]
    fn a_new_job_waits_for_nothing_and_can_be_set_up_until_it_starts() {
        let engine = engine();
        let turn = engine.turns().enter().wait(&CancelToken::default()).unwrap();
        let job = job(&engine);
        let fresh = Status { state: State::New, ahead: None, progress: None };
        assert_eq!(job.status(), fresh);
        assert_eq!((kind(job.wait(None)), kind(job.outcome())), (Kind::BadRequest, Kind::Pending));
        job.set_up(|settings| {
            settings.preview_every = 3;
            Ok(())
        })
        .unwrap();
        assert_eq!(kind(job.set_up(|_| Err(crate::Error::new(Kind::Exists, "no")))), Kind::Exists);
        job.start().unwrap();
        assert_eq!(job.status(), Status { state: State::Queued, ahead: Some(1), ..fresh });
        let again = [job.start(), job.set_up(|_| Ok(())), job.run().map(drop)];
        assert_eq!(again.map(kind), [Kind::BadRequest; 3]);
        assert_eq!(kind(job.wait(Some(Duration::ZERO))), Kind::Pending);
        assert_eq!(kind(job.wait(Some(Duration::from_millis(20)))), Kind::Pending);
        job.close();
        assert_eq!((job.status().state, kind(job.outcome())), (State::Cancelled, Kind::Cancelled));
        drop(turn);
        assert_eq!(engine.status().queued, 0);
    }

    #[test]
    fn places_in_the_queue_are_told_and_given_up() {
        let engine = engine();
        let turn = engine.turns().enter().wait(&CancelToken::default()).unwrap();
        let jobs: Vec<_> = (0..4).map(|_| job(&engine)).collect();
        jobs.iter().for_each(|job| job.start().unwrap());
        let ahead = || -> Vec<_> { jobs.iter().map(|job| job.status().ahead).collect() };
        assert_eq!(ahead(), [Some(1), Some(2), Some(3), Some(4)]);
        jobs[1].cancel();
        // It has ended when the call returns, whatever its thread does.
        assert_eq!(jobs[1].status().state, State::Cancelled);
        assert_eq!(ahead(), [Some(1), None, Some(2), Some(3)]);
        assert_eq!(engine.status().queued, 4);
        jobs.iter().for_each(Job::close);
        drop(turn);
        assert_eq!(engine.status().queued, 0);
    }

    #[test]
    fn a_deadline_passes_while_a_job_waits_whoever_looks() {
        let engine = engine();
        let turn = engine.turns().enter().wait(&CancelToken::default()).unwrap();
        let worker = Worker::new(engine.clone()).unwrap();
        let late = || {
            let deadline = Some(Duration::from_millis(30));
            let request = Request::text_to_image("a red apple");
            Job::with(engine.clone(), request, Settings { deadline, ..Settings::default() })
        };
        // The worker is held up by the first, so nobody but the caller sees the second's deadline.
        let (first, second, own) = (job(&engine), late(), late());
        worker.submit(&first).unwrap();
        worker.submit(&second).unwrap();
        own.start().unwrap();
        let begun = Instant::now();
        for job in [&second, &own] {
            assert_eq!(kind(job.wait(None)), Kind::Deadline);
            assert_eq!(job.status().state, State::Failed);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(first.status().state, State::Queued);
        drop(worker);
        assert_eq!(first.status().state, State::Cancelled);
        drop(turn);
        assert_eq!(engine.status().queued, 0);
    }

    #[test]
    fn a_job_that_was_cancelled_before_its_start_ends_at_it() {
        let engine = engine();
        let job = job(&engine);
        job.cancel();
        assert_eq!(job.status().state, State::New);
        job.start().unwrap();
        assert_eq!(job.status().state, State::Cancelled);
        assert_eq!(engine.status().queued, 0);
        assert!(engine.opened().is_empty());
    }

    #[test]
    fn the_end_is_told_once_and_every_waiter_hears_of_it() {
        let engine = engine();
        let turn = engine.turns().enter().wait(&CancelToken::default()).unwrap();
        let job = job(&engine);
        let (told, heard) = channel();
        job.set_up(|settings| {
            settings.listeners.ended = Some(Box::new(move |outcome| {
                told.send(outcome.unwrap_err().kind()).unwrap();
                panic!("nobody minds");
            }));
            Ok(())
        })
        .unwrap();
        job.start().unwrap();
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..5).map(|_| scope.spawn(|| kind(job.wait(None)))).collect();
            std::thread::sleep(Duration::from_millis(10));
            job.clone().cancel();
            waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Kind::Cancelled));
        });
        assert_eq!(heard.iter().collect::<Vec<_>>(), [Kind::Cancelled]);
        job.cancel();
        job.close();
        drop(turn);
    }

    #[test]
    fn a_worker_takes_new_jobs_of_its_own_engine() {
        let (engine, other) = (engine(), engine());
        let worker = Worker::new(engine.clone()).unwrap();
        let foreign = job(&other);
        assert_eq!(kind(worker.submit(&foreign)), Kind::BadRequest);
        assert_eq!((foreign.status().state, other.status().queued), (State::New, 0));
        let turn = engine.turns().enter().wait(&CancelToken::default()).unwrap();
        let jobs: Vec<_> = (0..3).map(|_| job(&engine)).collect();
        jobs.iter().for_each(|job| worker.submit(job).unwrap());
        assert_eq!(kind(worker.submit(&jobs[0])), Kind::BadRequest);
        assert_eq!(jobs[2].status().ahead, Some(3));
        drop(worker);
        assert!(jobs.iter().all(|job| job.status().state == State::Cancelled));
        drop(turn);
        assert_eq!(engine.status().queued, 0);
    }

    #[test]
    fn an_ended_job_holds_the_engine_no_longer() {
        let engine = engine();
        let job = job(&engine);
        assert_eq!(Arc::strong_count(&engine), 2);
        job.cancel();
        job.start().unwrap();
        assert_eq!(Arc::strong_count(&engine), 1);
        assert!(job.status().state.has_ended());
    }
}
