//! Conversions between numbers that the language has no checked form of.

pub use kandinsky_models::math::{count as float, narrow};
