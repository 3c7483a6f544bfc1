//! What tests share: model folders that are made for them, golden values, pictures, made-up inputs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs,
    reason = "a test fails by panicking, and what tests share says what it is where it is not plain"
)]

pub mod component;
pub mod golden;
pub mod image;
pub mod made_up;
pub mod model;
pub mod onnx;
pub mod pictures;
pub mod pipeline;
pub mod scheduler;
pub mod settings;
pub mod skips;
pub mod tokenizer;
pub mod written_out;

use std::path::{Path, PathBuf};

/// The bundled model.
pub const EMOJI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/emoji");

/// The runtimes that every machine can have; numbers are the reference's on each.
pub const RUNTIMES: [&str; 2] = ["ort", "tract"];

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}
