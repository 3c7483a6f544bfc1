//! What a model folder is: one directory, complete and self-describing.
//!
//! `model.json` (the [`Manifest`]) names every other file with its size and SHA-256, every graph
//! with its inputs and outputs, and every number that the engine needs to run them. `export/`
//! writes such folders and `kandinsky` runs them; neither knows more of the other than this crate.

mod error;
pub mod families;
pub mod folder;
pub mod hash;
pub mod manifest;
pub mod math;
pub mod onnx;
pub mod operations;
pub mod path;

pub use error::{Error, Result};
pub use families::{FAMILIES, Family, KANDINSKY_2_1};
pub use folder::Folder;
pub use manifest::{Component, FileEntry, GraphSpec, Manifest};
