//! What the table of runtimes says of each: its name, what it computes in, whether it works here, and how it opens.

use super::precision::Precision;
use super::{Opened, RuntimeOptions};
use crate::error::Result;
use crate::residency::Coefficients;
use kandinsky_models::manifest::Target;
use std::fmt;

/// A runtime as one row of [`super::RUNTIMES`].
pub struct RuntimeEntry {
    /// The name that `--runtime` takes.
    pub name: &'static str,
    /// The library behind it, as sentences call it.
    pub title: &'static str,
    /// One line for a list of runtimes.
    pub about: &'static str,
    /// Precisions that it computes in, the quickest first.
    pub precisions: &'static [Tier],
    /// Precisions for which `auto` considers it; `auto` tries runtimes in the order of the table.
    pub automatic: &'static [Precision],
    /// The target of an export whose graphs no other runtime runs.
    pub target: Option<Target>,
    /// Whether it can measure each operator.
    pub profiles: bool,
    /// Looks for what it needs, without opening a graph.
    pub check: fn(&RuntimeOptions) -> Availability,
    /// Brings it up for a precision that it lists.
    pub open: fn(&RuntimeOptions, Precision) -> Result<Opened>,
    /// What graphs take of memory on it.
    pub memory: fn(Opening) -> Coefficients,
}

impl RuntimeEntry {
    /// What the row says of a precision.
    pub fn tier(&self, precision: Precision) -> Option<&'static Tier> {
        self.precisions.iter().find(|tier| tier.precision == precision)
    }
}

impl fmt::Debug for RuntimeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A precision that a runtime computes in.
pub struct Tier {
    /// The precision.
    pub precision: Precision,
    /// What speaks for it on this machine, or what the machine lacks.
    pub here: fn() -> std::result::Result<String, String>,
    /// What it needs beside the runtime.
    pub needs: &'static str,
    /// What a machine that lacks it can do.
    pub otherwise: Option<&'static str>,
}

impl Tier {
    /// 32-bit floats, which every machine has.
    pub const F32: Self = Self {
        precision: Precision::F32,
        here: || Ok("the reference's numbers".to_owned()),
        needs: "nothing",
        otherwise: None,
    };
}

/// Whether a runtime can run graphs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Whether it can.
    pub works: bool,
    /// Its version and where it was found, or why it does not work.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Availability {
    /// It works.
    pub const fn works(found: String) -> Self {
        Self { works: true, found, remedy: None }
    }

    /// It does not, for the reason `found`.
    pub const fn fails(found: String, remedy: Option<String>) -> Self {
        Self { works: false, found, remedy }
    }
}

/// How a runtime opens a graph, on which the memory depends that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// From the model folder, in f32 or f16.
    Plain,
    /// From the cache of compiled graphs.
    Compiled,
    /// In bfloat16.
    Bf16,
}
