//! A panic in any exported function, and on the thread of a job, is a status; the next call works.
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
use kandinsky_capi::call::faults::arm;
use kandinsky_testing::model;

/// One test, since a panic is armed for the whole process.
#[test]
fn a_panic_in_any_function_is_a_status_and_the_next_call_works() {
    let engine = c::Engine::open(&model::TINY, r#"{"runtime":"ort","threads":1}"#).unwrap();
    let request = c::Request::new();
    let settings =
        [("prompt", "лиса"), ("steps", "2"), ("prior_steps", "2"), ("size", "64x64"), ("seed", "5")];
    settings.iter().for_each(|(key, value)| request.set(key, value).unwrap());
    let expected = engine.run(&request).unwrap().rgb();
    assert!(CALLS.len() >= 40);
    for (name, takes_error, call) in CALLS {
        arm(name);
        if *takes_error {
            let failure = c::checked(call).unwrap_err();
            assert_eq!(
                (failure.status, failure.kind.as_str(), failure.call.as_str()),
                (KD_PANIC, "panic", *name)
            );
            assert!(failure.cause.contains("on demand") && failure.cause.contains("call.rs:"), "{failure:?}");
        }
        arm(name);
        assert_eq!(call(std::ptr::null_mut()), KD_PANIC, "{name}");
        // The next call says what is wrong with it, or works.
        let next = call(std::ptr::null_mut());
        assert!([KD_OK, KD_NULL_ARGUMENT, KD_INVALID_HANDLE].contains(&next), "{name} gave {next}");
        assert!(engine.describe().is_ok(), "after {name}");
    }
    arm("the thread of a job");
    let job = engine.job(&request).unwrap();
    job.start().unwrap();
    let failure = job.wait(u64::MAX).unwrap_err();
    assert_eq!((failure.status, job.poll()), (KD_PANIC, KD_JOB_FAILED));
    assert!(failure.cause.contains("on demand"), "{failure:?}");
    // The engine draws as before.
    assert_eq!(engine.run(&request).unwrap().rgb(), expected);
    let again = engine.job(&request).unwrap();
    again.start().unwrap();
    again.wait(u64::MAX).unwrap();
    assert_eq!(again.picture(0).unwrap().rgb(), expected);
}
