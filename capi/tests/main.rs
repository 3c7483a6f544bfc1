//! The C interface's tests. What measures memory (`c_memory`) and what makes it panic (`c_faults`) stand apart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::undocumented_unsafe_blocks,
    clippy::result_large_err,
    unsafe_code,
    missing_docs,
    reason = "a test fails by panicking, and calls C"
)]

mod common {
    #![allow(dead_code, reason = "a part of the interface is called here")]
    pub mod c;
    pub mod c_header;
    pub mod door_c;
    pub mod door_rust;
    pub mod kd;
}

mod c_api;
mod c_header;
mod c_library;
