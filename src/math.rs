//! Elementary functions with the same bits on every machine, shared with the exporter.

pub use kandinsky_models::math::*;
