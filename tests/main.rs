//! The engine's tests, in one program: a module a subject. What measures a process of its own stands apart
//! (`image_bombs`), and so do the golden values, each of which is a test of its own (`goldens`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

mod architecture;
mod canvas;
mod deep_cache;
mod faster;
mod image;
mod image_formats;
mod image_output;
mod jobs;
mod keys;
mod mask;
mod notices;
mod opening;
mod progress;
mod regimes;
mod requests;
mod rewrites;
mod settings;
mod split;
mod targets;
mod text;
