//! That the C interface leaves nothing behind: cancels at random moments, engines opened and closed, handles freed in
//! any order. The tests count objects and memory of the process, so they run one at a time and by themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::undocumented_unsafe_blocks,
    unsafe_code,
    missing_docs,
    reason = "a test fails by panicking, and calls C"
)]
#![allow(clippy::result_large_err, reason = "an error here has all that C says")]

mod common {
    #![allow(dead_code, reason = "a part of the interface is called here")]
    pub mod c;
    pub mod kd;
}

use crate::common::c;
use crate::common::kd::*;
use kandinsky_capi::handle::living;
use kandinsky_testing::model;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

const ORT: &str = r#"{"runtime":"ort","threads":1}"#;

fn open() -> c::Engine {
    c::Engine::open(&model::TINY, ORT).unwrap()
}

/// Tests that count objects or memory run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a long test repeats: fewer in the suite, `KANDINSKY_C_LONG=1` for the figures in the docs.
fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("KANDINSKY_C_LONG").is_some() { long } else { short }
}

fn quick() -> c::Request {
    let request = c::Request::new();
    let settings =
        [("prompt", "лиса"), ("steps", "3"), ("prior_steps", "2"), ("size", "64x64"), ("seed", "5")];
    settings.iter().for_each(|(key, value)| request.set(key, value).unwrap());
    request
}

#[test]
fn handles_may_be_freed_in_any_order() {
    let _alone = alone();
    let before = living();
    let engine = open();
    let request = quick();
    let expected = engine.run(&request).unwrap().rgb();
    let job = engine.job(&request).unwrap();
    job.start().unwrap();
    drop(engine);
    drop(request);
    job.wait(u64::MAX).unwrap();
    let picture = job.picture(0).unwrap();
    drop(job);
    assert_eq!(picture.rgb(), expected);
    drop(picture);
    assert_eq!(living(), before);
}

/// Cancels at random moments from another thread: each job ends once, as done or as cancelled.
#[test]
fn cancels_at_random_moments() {
    let _alone = alone();
    let (engine, request) = (open(), quick());
    let expected = engine.run(&request).unwrap().rgb();
    let begun = Instant::now();
    let timing = engine.job(&request).unwrap();
    timing.start().unwrap();
    timing.wait(u64::MAX).unwrap();
    let whole = begun.elapsed();
    drop(timing);
    let before = living();
    let (mut done, mut cancelled, mut resident) = (0, 0, 0);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let cancels = times(300, 10_000);
    for turn in 0..cancels {
        if turn == cancels / 5 {
            resident = resident_kib();
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = whole.mul_f64((random % 1200) as f64 / 1000.0);
        let job = engine.job(&request).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(moment);
                job.cancel().unwrap();
            });
            job.start().unwrap();
            let outcome = job.wait(u64::MAX).map_err(|failure| failure.status);
            let (state, count) = (job.poll(), job.count().map_err(|failure| failure.status));
            match outcome {
                Ok(()) => {
                    assert_eq!((state, count), (KD_JOB_DONE, Ok(1)));
                    assert_eq!(job.picture(0).unwrap().rgb(), expected);
                    done += 1;
                }
                Err(status) => {
                    assert_eq!((status, state, count), (KD_CANCELLED, KD_JOB_CANCELLED, Err(KD_CANCELLED)));
                    cancelled += 1;
                }
            }
        });
    }
    let growth = resident_kib().saturating_sub(resident);
    println!("{cancels} cancels: {cancelled} cancelled, {done} done, {growth} KiB more");
    assert!(done > 0 && cancelled > cancels / 4, "{done} done, {cancelled} cancelled");
    assert_eq!(living(), before);
    assert!(growth < 16 << 10, "memory has grown by {growth} KiB");
}

#[test]
fn opening_and_closing_leaves_nothing() {
    let _alone = alone();
    let cycles = times(100, 1000);
    let before = living();
    let mut resident = 0;
    for cycle in 0..cycles {
        if cycle == cycles / 4 {
            resident = resident_kib();
        }
        let engine = open();
        if cycle % 10 == 0 {
            engine.run(&quick()).unwrap();
        }
    }
    let growth = resident_kib().saturating_sub(resident);
    println!("{cycles} open/close cycles: {growth} KiB more");
    assert_eq!(living(), before);
    assert!(growth < 16 << 10, "memory has grown by {growth} KiB");
}

/// Resident memory of this process in KiB.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
