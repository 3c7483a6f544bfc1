//! Kandinsky 2.1 outside Python.
pub mod error;
pub mod progress;
pub mod tensor;
