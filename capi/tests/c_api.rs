//! The C interface, called as C calls it: the same bodies as through the Rust API with equal pixels; what callbacks
//! may do; cancels, deadlines and threads; and that nothing is left behind.

use crate::common::c;
use crate::common::door_c as c_door;
use crate::common::door_rust as rust_door;
use crate::common::kd::*;
use kandinsky_testing::model;
use std::ffi::{c_char, c_void};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const ORT: &str = r#"{"runtime":"ort","threads":1}"#;

fn open() -> c::Engine {
    c::Engine::open(&model::TINY, ORT).unwrap()
}

fn quick() -> c::Request {
    let request = c::Request::new();
    let settings =
        [("prompt", "лиса"), ("steps", "3"), ("prior_steps", "2"), ("size", "64x64"), ("seed", "5")];
    settings.iter().for_each(|(key, value)| request.set(key, value).unwrap());
    request
}

#[test]
fn both_doors_draw_the_same_pixels() {
    let (rust, c) = (rust_door::Door::open(&model::TINY), c_door::Door::open(&model::TINY));
    assert!(rust_door::BODIES.len() == c_door::BODIES.len() && rust_door::BODIES.len() >= 12);
    for ((name, through_rust), (_, through_c)) in rust_door::BODIES.iter().zip(c_door::BODIES) {
        let (expected, found) = (through_rust(&rust), through_c(&c));
        assert!(!expected.is_empty() && expected == found, "{name} differs");
    }
}

#[test]
fn a_callback_may_do_all_but_wait() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    static ENGINE: AtomicUsize = AtomicUsize::new(0);
    static REQUEST: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn progress(data: *mut c_void, job: u64, _: *const c_char, _: usize, _: u64, _: u64) {
        let null = std::ptr::null_mut();
        let (engine, request) = (ENGINE.load(Ordering::SeqCst) as u64, REQUEST.load(Ordering::SeqCst) as u64);
        let other = data as u64;
        let mut picture = u64::MAX;
        unsafe {
            for waited in [job, other] {
                assert_eq!(kd_job_wait(waited, 0, null), KD_REENTRANT);
                assert_eq!(kd_job_free(waited, null), KD_REENTRANT);
            }
            assert_eq!(kd_engine_run(engine, request, &raw mut picture, null), KD_REENTRANT);
            assert_eq!(picture, 0);
            // Everything else works: reading, making and starting others, freeing what is not a job.
            let mut state = 0;
            assert_eq!(kd_job_poll(job, &raw mut state, null), KD_OK);
            assert_eq!(state, KD_JOB_RUNNING);
            assert_eq!(kd_job_count(job, &mut 0, null), KD_PENDING);
            let mut new = 0;
            assert_eq!(kd_request_new(&raw mut new, null), KD_OK);
            assert_eq!(kd_request_free(new), KD_OK);
            assert_eq!(kd_engine_describe(engine, null.cast(), 0, &mut 0, null), KD_OK);
        }
        REFUSED.fetch_add(1, Ordering::SeqCst);
    }
    let engine = open();
    let request = quick();
    ENGINE.store(engine.0 as usize, Ordering::SeqCst);
    REQUEST.store(request.0 as usize, Ordering::SeqCst);
    let (job, other) = (engine.job(&request).unwrap(), engine.job(&request).unwrap());
    job.on_progress(progress, other.0 as *mut c_void).unwrap();
    job.start().unwrap();
    job.wait(u64::MAX).unwrap();
    assert!(REFUSED.load(Ordering::SeqCst) >= 10);
    assert_eq!(job.count().unwrap(), 1);
}

#[test]
fn a_callback_may_cancel_its_job_and_free_the_engine() {
    extern "C" fn stop(data: *mut c_void, job: u64, _: *const c_char, _: usize, _: u64, _: u64) {
        assert_eq!(unsafe { kd_job_cancel(job, std::ptr::null_mut()) }, KD_OK);
        // The first call frees it; the job has it still.
        let _ = unsafe { kd_engine_free(data as u64) };
    }
    let engine = open();
    let job = engine.job(&quick()).unwrap();
    job.on_progress(stop, engine.0 as *mut c_void).unwrap();
    job.start().unwrap();
    let failure = job.wait(u64::MAX).unwrap_err();
    assert_eq!((failure.status, failure.stage.as_str()), (KD_CANCELLED, "load"));
    assert_eq!(job.poll(), KD_JOB_CANCELLED);
    assert_eq!(job.count().unwrap_err().status, KD_CANCELLED);
    assert_eq!(engine.describe().unwrap_err().status, KD_INVALID_HANDLE);
}

#[test]
fn the_log_says_what_runs_and_what_was_cut() {
    static SAID: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());
    extern "C" fn log(_: *mut c_void, _: u64, level: u32, message: *const c_char, length: usize) {
        let text = unsafe { std::ffi::CStr::from_ptr(message) }.to_str().unwrap();
        assert_eq!(text.len(), length);
        SAID.lock().unwrap().push((level, text.to_owned()));
    }
    let engine = open();
    let request = quick();
    request.set("prompt", &"a very long prompt ".repeat(40)).unwrap();
    let job = engine.job(&request).unwrap();
    job.on_log(log, std::ptr::null_mut()).unwrap();
    job.start().unwrap();
    job.wait(u64::MAX).unwrap();
    let said = SAID.lock().unwrap().clone();
    assert!(said[0].0 == KD_LOG_INFO && said[0].1.contains("onnx runtime"), "{said:?}");
    assert!(said.iter().any(|(level, _)| *level == KD_LOG_WARNING), "{said:?}");
    assert_eq!(job.report().unwrap()["notes"].as_array().unwrap().len(), said.len() - 1);
}

#[test]
fn a_job_has_one_life() {
    let engine = open();
    let job = engine.job(&quick()).unwrap();
    assert_eq!(job.poll(), KD_JOB_NEW);
    assert_eq!(job.wait(0).unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(job.set("preview", "1").unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(job.set("deadline_ms", "-1").unwrap_err().status, KD_BAD_REQUEST);
    job.start().unwrap();
    assert_eq!(job.start().unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(job.set("preview_every", "1").unwrap_err().status, KD_BAD_REQUEST);
    job.wait(u64::MAX).unwrap();
    assert_eq!(job.poll(), KD_JOB_DONE);
    job.cancel().unwrap();
    assert_eq!(job.poll(), KD_JOB_DONE, "one that has ended stays as it is");
    assert_eq!(job.picture(1).unwrap_err().status, KD_BAD_REQUEST);
    let report = job.report().unwrap();
    assert_eq!(report["job"]["seed"], 5);
    assert!(report["seconds"]["total"].as_f64().unwrap() > 0.0);
    // Cancelled before its start.
    let job = engine.job(&quick()).unwrap();
    job.cancel().unwrap();
    job.start().unwrap();
    assert_eq!(job.wait(u64::MAX).unwrap_err().status, KD_CANCELLED);
}

/// A job whose callback holds the engine until it is let go.
mod held {
    use super::*;

    pub struct Gate(pub Mutex<bool>, pub std::sync::Condvar);

    pub extern "C" fn hold(data: *mut c_void, _: u64, _: *const c_char, _: usize, _: u64, _: u64) {
        let gate = unsafe { &*data.cast::<Gate>() };
        let mut open = gate.0.lock().unwrap();
        while !*open {
            open = gate.1.wait(open).unwrap();
        }
    }
}

#[test]
fn who_waits_for_a_turn_can_be_cancelled_and_has_a_deadline() {
    let gate = held::Gate(Mutex::new(false), std::sync::Condvar::new());
    let engine = open();
    let first = engine.job(&quick()).unwrap();
    first.on_progress(held::hold, (&raw const gate).cast_mut().cast()).unwrap();
    first.start().unwrap();
    while first.poll() != KD_JOB_RUNNING {
        std::thread::yield_now();
    }
    assert_eq!(first.wait(20).unwrap_err().status, KD_PENDING);
    let (second, late, last) =
        (engine.job(&quick()).unwrap(), engine.job(&quick()).unwrap(), engine.job(&quick()));
    second.start().unwrap();
    late.set("deadline_ms", "30").unwrap();
    late.start().unwrap();
    let last = last.unwrap();
    last.start().unwrap();
    assert_eq!(second.poll(), KD_JOB_QUEUED);
    let begun = Instant::now();
    second.cancel().unwrap();
    assert_eq!(second.wait(u64::MAX).unwrap_err().status, KD_CANCELLED);
    let failure = late.wait(u64::MAX).unwrap_err();
    assert_eq!((failure.status, late.poll()), (KD_DEADLINE, KD_JOB_FAILED));
    // Freeing one that waits does not wait for the one that draws.
    drop(engine.job(&quick()).map(|job| job.start().map(|()| job)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    first.wait(u64::MAX).unwrap();
    last.wait(u64::MAX).unwrap();
    assert_eq!(first.picture(0).unwrap().rgb(), last.picture(0).unwrap().rgb());
}

#[test]
fn a_deadline_stops_a_job_that_draws() {
    let engine = open();
    let request = quick();
    request.set("steps", "1000").unwrap();
    let job = engine.job(&request).unwrap();
    job.set("deadline_ms", "150").unwrap();
    let begun = Instant::now();
    job.start().unwrap();
    assert_eq!(job.wait(u64::MAX).unwrap_err().status, KD_DEADLINE);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_stale_handle_is_an_error_for_ever() {
    let request = quick();
    let bits = request.0;
    drop(request);
    for _ in 0..100 {
        let next = c::Request::new();
        assert_ne!(next.0, bits);
        assert_eq!(unsafe { kd_request_free(bits) }, KD_INVALID_HANDLE);
        assert_eq!(
            std::mem::ManuallyDrop::new(c::Request(bits)).json().unwrap_err().status,
            KD_INVALID_HANDLE
        );
    }
}

#[test]
fn texts_and_lengths_are_checked() {
    let request = c::Request::new();
    let null = std::ptr::null_mut();
    let (key, key_length) = c::text("prompt");
    let set = |value: &[u8], length: usize| unsafe {
        kd_request_set(request.0, key, key_length, value.as_ptr().cast(), length, null)
    };
    assert_eq!(set(b"a fox", 5), KD_OK);
    assert_eq!(set(b"a\xff", 2), KD_BAD_REQUEST);
    assert_eq!(set("я".as_bytes(), 1), KD_BAD_REQUEST, "half a letter");
    assert_eq!(set(b"a", usize::MAX), KD_BAD_REQUEST);
    assert_eq!(set(b"", 0), KD_OK);
    let mut bytes = [0_u64; 2];
    let crooked = unsafe { bytes.as_mut_ptr().cast::<u8>().add(1) };
    assert_eq!(unsafe { kd_request_new(crooked.cast(), null) }, KD_BAD_REQUEST);
    assert_eq!(unsafe { kd_request_json(request.0, null.cast(), 5, &mut 0, null) }, KD_NULL_ARGUMENT);
    // The same place for the answer and for the error.
    let mut both = 7;
    assert_eq!(unsafe { kd_request_new(&raw mut both, &raw mut both) }, KD_OK);
    assert_eq!(unsafe { kd_request_free(both) }, KD_OK);
    let unknown = request.set("colour", "red").unwrap_err();
    assert!(
        unknown.message.contains("\"colour\"") && unknown.message.contains("negative_prior"),
        "{unknown:?}"
    );
    assert_eq!((unknown.kind.as_str(), unknown.call.as_str()), ("bad_request", "kd_request_set"));
    for (key, value) in
        [("steps", "many"), ("steps", "2.5"), ("size", "big"), ("start", "x"), ("mix.1.text", "x")]
    {
        assert_eq!(request.set(key, value).unwrap_err().status, KD_BAD_REQUEST, "{key}");
    }
    let missing = c::Picture::open(Path::new("no/such.png")).unwrap_err();
    assert_eq!(missing.status, KD_IO);
    assert!(!missing.cause.is_empty(), "the operating system's words are the cause");
}

#[test]
fn pixels_go_in_and_out_with_strides() {
    let stride = 10;
    let mut rows = vec![9_u8; stride + 6];
    rows[..6].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    rows[stride..].copy_from_slice(&[7, 8, 9, 10, 11, 12]);
    let picture = c::Picture::from_pixels(&rows, 2, 2, 3, stride).unwrap();
    assert_eq!(picture.rgb(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let mut wide = vec![77; 12 + 8];
    picture.pixels(4, 12, &mut wide).unwrap();
    assert_eq!(wide, [1, 2, 3, 255, 4, 5, 6, 255, 77, 77, 77, 77, 7, 8, 9, 255, 10, 11, 12, 255]);
    assert_eq!(picture.pixels(4, 12, &mut wide[..19]).unwrap_err().status, KD_TOO_SMALL);
    assert_eq!(picture.pixels(3, 5, &mut wide).unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(picture.pixels(2, 12, &mut wide).unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(picture.pixels(3, usize::MAX, &mut wide).unwrap_err().status, KD_BAD_REQUEST);
    for (width, height, channels, stride) in [
        (2, 3, 3, 10),
        (0, 2, 3, 10),
        (9000, 1, 3, 27000),
        (2, 2, 5, 10),
        (2, 2, 3, 5),
        (2, 2, 3, usize::MAX),
    ] {
        assert!(c::Picture::from_pixels(&rows, width, height, channels, stride).is_err());
    }
    // Clear pixels are white.
    let clear = c::Picture::from_pixels(&[0, 0, 0, 0, 10, 20, 30, 255], 2, 1, 4, 8).unwrap();
    assert_eq!(clear.rgb(), [255, 255, 255, 10, 20, 30]);
    for format in ["png", "webp", "jpeg", "jpeg:80"] {
        let bytes = picture.encode(format).unwrap();
        let again = c::Picture::decode(&bytes).unwrap();
        assert_eq!(again.size(), (2, 2));
        assert!(format.starts_with("jpeg") || again.rgb() == picture.rgb());
    }
    assert_eq!(picture.encode("jpeg:0").unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(picture.encode("gif").unwrap_err().status, KD_BAD_REQUEST);
    assert_eq!(c::Picture::decode(b"no picture").unwrap_err().status, KD_BAD_IMAGE);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.png");
    picture.save(&file, false).unwrap();
    assert_eq!(picture.save(&file, false).unwrap_err().status, KD_EXISTS);
    picture.save(&file, true).unwrap();
    let read = c::Picture::open(&file).unwrap();
    assert_eq!((read.rgb(), read.request().unwrap().as_str()), (picture.rgb(), ""));
}

#[test]
fn statuses_have_the_names_of_the_one_table() {
    for kind in kandinsky::Kind::ALL {
        let say = |function: unsafe extern "C" fn(u32, *mut c_char, usize, *mut usize) -> u32| {
            c::said(|buffer, capacity, length| unsafe {
                function(kind.exit_code().into(), buffer, capacity, length)
            })
        };
        assert_eq!(say(kd_status_name).unwrap(), kind.name());
        assert_eq!(say(kd_status_meaning).unwrap(), kind.meaning());
    }
    let mut codes: Vec<_> = kandinsky::Kind::ALL.map(kandinsky::Kind::exit_code).into();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), kandinsky::Kind::ALL.len(), "every kind has a code of its own");
    assert_eq!(unsafe { kd_status_name(1, std::ptr::null_mut(), 0, &mut 0) }, KD_BAD_REQUEST);
}

#[test]
fn a_cancel_takes_effect_within_one_network_call() {
    let engine = open();
    let request = quick();
    request.set("steps", "1000").unwrap();
    let job = engine.job(&request).unwrap();
    job.start().unwrap();
    while job.poll() != KD_JOB_RUNNING {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(60));
    let begun = Instant::now();
    job.cancel().unwrap();
    assert_eq!(job.wait(u64::MAX).unwrap_err().status, KD_CANCELLED);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn thirty_two_threads_draw_as_one_does() {
    let engine = open();
    let seeds: Vec<u64> = (0..32).collect();
    let request = |seed: u64| {
        let request = quick();
        request.set("seed", &seed.to_string()).unwrap();
        request
    };
    let alone: Vec<_> = seeds.iter().map(|seed| engine.run(&request(*seed)).unwrap().rgb()).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let draw = |seed: u64| {
            let engine = &engine;
            scope.spawn(move || {
                if seed.is_multiple_of(2) {
                    return engine.run(&request(seed)).unwrap().rgb();
                }
                let job = engine.job(&request(seed)).unwrap();
                job.start().unwrap();
                job.wait(u64::MAX).unwrap();
                job.picture(0).unwrap().rgb()
            })
        };
        let threads: Vec<_> = seeds.iter().map(|seed| draw(*seed)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(alone == together);
}
