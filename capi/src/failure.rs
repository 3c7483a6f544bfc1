//! The error object: a failed call, kept until its caller frees it.

use crate::handle::Kept;
use kandinsky::Error;

/// A failed call.
pub struct Failure {
    pub(super) error: Error,
    pub(super) call: &'static str,
}

impl Kept for Failure {
    const NAME: &'static str = "an error";
}

impl Failure {
    /// The failure of the function `call`.
    pub const fn new(error: Error, call: &'static str) -> Self {
        Self { error, call }
    }
}
