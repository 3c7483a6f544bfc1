//! The program's tests: what it prints, writes and refuses. What measures memory stands apart (`memory`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

mod bench;
mod cache;
mod cli;
mod gpu;
mod precision;
mod priors;
mod readme;
mod settings;
