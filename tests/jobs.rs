//! Jobs that draw: their turns, their end by cancel, deadline and panic, what they tell, and that nobody who asks an
//! engine what it does waits for them.

use kandinsky::jobs::{
    Job, Listeners, LogLevel, OnEnd, OnProgress, OnStart, Settings, State, Worker, report,
};
use kandinsky::{
    CancelToken, Engine, Error, Kind, Observer, PreviewKind, Request, Result, RuntimeOptions, Stage,
};
use kandinsky_testing::model;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn engine_on(runtime: &str) -> Arc<Engine> {
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..RuntimeOptions::default() };
    Arc::new(Engine::open_with(&*model::TINY, &options).unwrap_or_else(|e| panic!("{runtime}: {e}")))
}

fn engine() -> Arc<Engine> {
    engine_on("ort")
}

fn request() -> Request {
    Request::text_to_image("a red cat").seed(3).steps(3).prior_steps(2).size(64, 64)
}

fn with(engine: &Arc<Engine>, request: Request, listeners: Listeners) -> Job {
    Job::with(engine.clone(), request, Settings { listeners, ..Settings::default() })
}

fn kind<T>(result: Result<T>) -> Kind {
    result.err().unwrap().kind()
}

/// A job that draws until it is let go: its first step waits for a word. It is drawing when this returns.
fn held(engine: &Arc<Engine>) -> (Job, Sender<()>) {
    let (go, wait) = channel();
    let (begun, begins) = channel();
    let progress = hold(wait, begun);
    let job =
        with(engine, request(), Listeners { progress: Some(Box::new(progress)), ..Listeners::default() });
    job.start().unwrap();
    begins.recv().unwrap();
    (job, go)
}

fn hold<T>(wait: Receiver<()>, begun: Sender<()>) -> impl FnMut(T) + Send {
    let mut waited = false;
    move |_| {
        if !std::mem::replace(&mut waited, true) {
            begun.send(()).unwrap();
            // Whoever drops the sender lets it go as well.
            let _ = wait.recv();
        }
    }
}

#[test]
fn a_job_draws_what_its_engine_draws() {
    let engine = engine();
    let expected = engine.run(request()).unwrap();
    let (own, here) = (Job::new(engine.clone(), request()), Job::new(engine.clone(), request()));
    own.start().unwrap();
    assert_eq!(here.run().unwrap().pictures, std::slice::from_ref(&expected));
    let outcome = own.wait(None).unwrap();
    assert_eq!(outcome.pictures, [expected]);
    assert_eq!((own.status().state, own.status().ahead), (State::Done, None));
    let last = own.status().progress.unwrap();
    assert_eq!((last.stage, last.step, last.total), (Stage::Decode, 1, 1));
    // One that has ended stays as it is.
    own.cancel();
    own.close();
    assert!(Arc::ptr_eq(&own.outcome().unwrap(), &outcome));
    let report = report(&outcome).unwrap();
    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["runtime", "regime", "job", "seconds", "notes"]);
    assert_eq!(report["job"]["seed"], 3);
    assert!(report["seconds"]["total"].as_f64().unwrap() > 0.0);
}

#[test]
fn turns_come_in_the_order_of_the_starts() {
    let engine = engine();
    let (first, go) = held(&engine);
    let order = Arc::new(Mutex::new(Vec::new()));
    let worker = Worker::new(engine.clone()).unwrap();
    let jobs: Vec<_> = (0..6)
        .map(|index| {
            let order = order.clone();
            let started: OnStart = Box::new(move || order.lock().unwrap().push(index));
            let job = with(&engine, request(), Listeners { started: Some(started), ..Listeners::default() });
            // Threads of their own and a worker stand in one queue.
            if index % 2 == 0 {
                job.start().unwrap()
            } else {
                worker.submit(&job).unwrap()
            }
            assert_eq!(job.status().ahead, Some(index + 1));
            job
        })
        .collect();
    assert_eq!(engine.status().queued, 7);
    go.send(()).unwrap();
    jobs.iter().for_each(|job| drop(job.wait(None).unwrap()));
    worker.finish();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert!(first.wait(None).is_ok() && engine.status().queued == 0);
}

#[test]
fn a_worker_finishes_what_waits() {
    let engine = engine();
    let worker = Worker::new(engine.clone()).unwrap();
    let jobs: Vec<_> = (0..4).map(|_| Job::new(engine.clone(), request())).collect();
    jobs.iter().for_each(|job| worker.submit(job).unwrap());
    worker.finish();
    assert!(jobs.iter().all(|job| job.status().state == State::Done));
}

#[test]
fn dropping_a_worker_stops_the_job_that_is_drawn() {
    let engine = engine();
    let worker = Worker::new(engine.clone()).unwrap();
    let (go, wait) = channel();
    let (begun, begins) = channel();
    let progress = Box::new(hold(wait, begun));
    let job = with(&engine, request(), Listeners { progress: Some(progress), ..Listeners::default() });
    let next = Job::new(engine.clone(), request());
    worker.submit(&job).unwrap();
    worker.submit(&next).unwrap();
    begins.recv().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(worker));
        std::thread::sleep(Duration::from_millis(50));
        go.send(()).unwrap();
    });
    assert_eq!([job, next].map(|job| job.status().state), [State::Cancelled; 2]);
    assert_eq!(engine.status().queued, 0);
}

#[test]
fn what_waits_can_be_cancelled_and_has_a_deadline() {
    let engine = engine();
    let (first, go) = held(&engine);
    let deadline = Some(Duration::from_millis(30));
    let (second, last) = (Job::new(engine.clone(), request()), Job::new(engine.clone(), request()));
    let late = Job::with(engine.clone(), request(), Settings { deadline, ..Settings::default() });
    [&second, &late, &last].into_iter().for_each(|job| job.start().unwrap());
    let begun = Instant::now();
    second.cancel();
    assert_eq!(kind(second.wait(None)), Kind::Cancelled);
    assert_eq!((kind(late.wait(None)), late.status().state), (Kind::Deadline, State::Failed));
    second.close();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((first.status().state, last.status().ahead), (State::Running, Some(1)));
    go.send(()).unwrap();
    assert_eq!(first.wait(None).unwrap().pictures, last.wait(None).unwrap().pictures);
}

#[test]
fn what_is_drawn_can_be_cancelled_and_has_a_deadline() {
    let engine = engine();
    let long = || request().steps(1000);
    let job = Job::new(engine.clone(), long());
    job.start().unwrap();
    while job.status().progress.is_none_or(|progress| progress.stage != Stage::Denoise) {
        std::thread::yield_now();
    }
    assert_eq!(kind(job.wait(Some(Duration::from_millis(5)))), Kind::Pending);
    let begun = Instant::now();
    job.cancel();
    assert_eq!(job.wait(None).unwrap_err().kind(), Kind::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let deadline = Some(Duration::from_millis(150));
    let late = Job::with(engine.clone(), long(), Settings { deadline, ..Settings::default() });
    let begun = Instant::now();
    assert_eq!(kind(late.run()), Kind::Deadline);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(late.status().state, State::Failed);
    assert!(engine.run(request()).is_ok());
}

#[test]
fn every_waiter_gets_the_same_outcome() {
    let engine = engine();
    let (job, go) = held(&engine);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..6).map(|_| scope.spawn(|| job.wait(None).unwrap())).collect();
        assert_eq!(kind(job.wait(Some(Duration::from_millis(10)))), Kind::Pending);
        go.send(()).unwrap();
        let outcomes: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        assert!(outcomes.iter().all(|outcome| Arc::ptr_eq(outcome, &outcomes[0])));
    });
}

#[test]
fn a_listener_that_panics_fails_its_job_alone() {
    let engine = engine();
    let panics = || -> OnProgress {
        Box::new(|progress| assert!(progress.stage != Stage::Prior, "a listener fell over"))
    };
    let job = with(&engine, request(), Listeners { progress: Some(panics()), ..Listeners::default() });
    let next = Job::new(engine.clone(), request());
    job.start().unwrap();
    next.start().unwrap();
    let failure = job.wait(None).unwrap_err();
    assert_eq!((failure.kind(), job.status().state), (Kind::Panic, State::Failed));
    let cause = failure.cause().unwrap();
    assert!(cause.contains("a listener fell over") && cause.contains("jobs.rs:"), "{cause}");
    assert_eq!(next.wait(None).unwrap().pictures, [engine.run(request()).unwrap()]);
    assert_eq!(engine.status().progress, None);
}

#[test]
fn a_failure_is_the_engines_own() {
    let engine = engine();
    let job = Job::new(engine.clone(), request().steps(0));
    job.start().unwrap();
    let failure: Error = job.wait(None).unwrap_err();
    assert_eq!(Some(failure.to_string()), engine.run(request().steps(0)).err().map(|e| e.to_string()));
    assert_eq!(job.status().state, State::Failed);
}

#[test]
fn listeners_hear_of_the_start_the_steps_the_previews_and_the_end() {
    let engine = engine();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = |what: &'static str| {
        let heard = heard.clone();
        move || heard.lock().unwrap().push(what)
    };
    let (progress, preview, log, started, ended) =
        (hear("progress"), hear("preview"), hear("log"), hear("started"), hear("ended"));
    let (told, asked) = channel();
    let listeners = Listeners {
        started: Some(Box::new(started)),
        progress: Some(Box::new(move |_| progress())),
        preview: Some(Box::new(move |shown| {
            preview();
            told.send((shown.step, shown.total, shown.picture)).unwrap();
        })),
        log: Some(Box::new(move |level, message| {
            log();
            assert!(level == LogLevel::Warning || message.contains(" runs on onnx runtime"), "{message}");
        })),
        ended: Some(Box::new(move |outcome| {
            ended();
            assert!(outcome.is_ok());
        })),
    };
    let settings =
        Settings { preview_every: 2, preview_kind: PreviewKind::Decode, listeners, deadline: None };
    let job = Job::with(engine, request().steps(5).count(2), settings);
    job.run().unwrap();
    assert_eq!(asked.iter().collect::<Vec<_>>(), [(2, 5, 0), (2, 5, 1), (4, 5, 0), (4, 5, 1)]);
    let heard = heard.lock().unwrap();
    assert_eq!((heard[..3].to_vec(), heard.last()), (vec!["started", "log", "progress"], Some(&"ended")));
    assert!(heard.iter().filter(|what| **what == "progress").count() > 10);
}

#[test]
fn a_listener_may_cancel_but_not_wait_for_its_own_job() {
    let engine = engine();
    let mine: Arc<Mutex<Option<Job>>> = Arc::default();
    let (told, heard) = channel();
    let own = mine.clone();
    let progress = move |_| {
        let job = own.lock().unwrap().clone().unwrap();
        told.send((kind(job.wait(None)), kind(job.outcome()))).unwrap();
        // Neither waits for this thread.
        job.cancel();
        job.close();
    };
    let job =
        with(&engine, request(), Listeners { progress: Some(Box::new(progress)), ..Listeners::default() });
    *mine.lock().unwrap() = Some(job.clone());
    job.start().unwrap();
    assert_eq!(kind(job.wait(None)), Kind::Cancelled);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [(Kind::Reentrant, Kind::Pending)]);
}

#[test]
fn a_job_that_nobody_holds_is_drawn() {
    let engine = engine();
    let (told, heard) = channel();
    let ended: OnEnd = Box::new(move |outcome| told.send(outcome.unwrap()).unwrap());
    with(&engine, request(), Listeners { ended: Some(ended), ..Listeners::default() }).start().unwrap();
    assert_eq!(heard.recv().unwrap().pictures.len(), 1);
}

#[test]
fn what_waits_without_a_job_has_its_turn_and_obeys_its_token() {
    let engine = engine();
    let (first, go) = held(&engine);
    let token = CancelToken::default();
    std::thread::scope(|scope| {
        let direct = scope.spawn(|| {
            let mut observer = Observer { cancel: token.clone(), ..Observer::default() };
            engine.run_all(&request(), &mut observer).map(drop)
        });
        while engine.status().queued < 2 {
            std::thread::yield_now();
        }
        let behind = Job::new(engine.clone(), request());
        behind.start().unwrap();
        assert_eq!(behind.status().ahead, Some(2));
        token.cancel();
        // The picture that is drawn goes on meanwhile.
        assert_eq!(kind(direct.join().unwrap()), Kind::Cancelled);
        assert_eq!(behind.status().ahead, Some(1));
        go.send(()).unwrap();
        behind.wait(None).unwrap();
    });
    assert_eq!(first.status().state, State::Done);
}

/// Longer than a look at a board takes on a busy machine, and far less than the pictures that are drawn here.
const AT_ONCE: Duration = Duration::from_millis(200);

#[test]
fn asking_an_engine_never_waits_for_a_picture() {
    for runtime in ["ort", "tract"] {
        let engine = engine_on(runtime);
        let job = Job::new(engine.clone(), request().steps(1000));
        job.start().unwrap();
        while job.status().progress.is_none_or(|progress| progress.stage != Stage::Denoise) {
            std::thread::yield_now();
        }
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let begun = Instant::now();
            let (status, opened) = (engine.status(), engine.opened());
            let (state, name, about) = (job.status(), &engine.manifest().name, engine.runtime());
            longest = longest.max(begun.elapsed());
            assert_eq!((state.state, status.queued, opened.len()), (State::Running, 1, 8));
            assert_eq!((status.opened, status.progress.map(|p| p.stage)), (opened, Some(Stage::Denoise)));
            assert!(!name.is_empty() && !about.is_empty());
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("{runtime}: the longest answer took {longest:?}");
        assert!(longest < AT_ONCE, "{runtime}: {longest:?}");
        job.close();
        assert_eq!(engine.status().progress, None);
        engine
            .with_networks(|networks| {
                networks.close();
                Ok(())
            })
            .unwrap();
        assert!(engine.opened().is_empty());
    }
}

#[test]
fn asking_an_engine_never_waits_for_a_listener_that_holds_it() {
    let engine = engine();
    let (job, go) = held(&engine);
    let (asked, engine_asked) = (Instant::now(), engine.clone());
    let (told, heard) = channel();
    let asker =
        std::thread::spawn(move || told.send((engine_asked.opened(), engine_asked.status())).unwrap());
    let (opened, status) = heard.recv_timeout(Duration::from_secs(5)).expect("it waits for the picture");
    assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    assert_eq!((opened.len(), status.queued), (1, 1));
    assert_eq!(status.progress.map(|progress| progress.stage), Some(Stage::Load));
    go.send(()).unwrap();
    job.wait(None).unwrap();
    asker.join().unwrap();
}
