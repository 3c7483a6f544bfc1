//! How a picture was made, as its file says it.

use super::{decode, format};
use crate::error::{Error, Kind, Result};
use crate::request::{Job, Request};
use std::path::Path;

/// How a picture was made, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// For people and common viewers: the prompt, `Negative prompt: …`, `Steps: …, Sampler: …, …`.
    pub parameters: String,
    /// For programs: JSON with `program`, `model` and `request`.
    pub exact: String,
}

impl Metadata {
    /// Of a picture that `model` drew for `job`, whose seed is the picture's own.
    ///
    /// # Errors
    /// When the job holds a number that JSON cannot.
    pub fn new(model: &str, job: &Job) -> Result<Self> {
        let exact = Exact {
            program: concat!("kandinsky ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: model.to_owned(),
            request: job,
        };
        let exact = serde_json::to_string(&exact)
            .map_err(|e| Error::new(Kind::Internal, format!("the request cannot be written down: {e}")))?;
        Ok(Self { parameters: parameters(model, job), exact })
    }

    /// The request that draws the picture again, on the same model.
    ///
    /// # Errors
    /// [`Kind::BadImage`] when the JSON is not that of this program.
    pub fn request(&self) -> Result<Request> {
        let exact: Exact<Request> = serde_json::from_str(&self.exact)
            .map_err(|e| Error::new(Kind::BadImage, format!("the picture's request cannot be read: {e}")))?;
        Ok(exact.request)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Exact<R> {
    program: String,
    model: String,
    request: R,
}

fn parameters(model: &str, job: &Job) -> String {
    let negative = job.negative.as_ref().map(|text| format!("\nNegative prompt: {text}")).unwrap_or_default();
    let Job { prompt, steps, sampler, guidance, seed, size, prior_steps, prior_guidance, .. } = job;
    format!(
        "{prompt}{negative}\nSteps: {steps}, Sampler: {sampler}, CFG scale: {guidance}, Seed: {seed}, \
         Size: {size}, Model: {model}, Prior steps: {prior_steps}, Prior CFG scale: {prior_guidance}"
    )
}

/// Reads what a PNG, JPEG or WebP file says of how it was made; `None` when it says nothing.
///
/// # Errors
/// [`Kind::Io`] when there is no such file, [`Kind::BadImage`] when it is of no such format, beyond the
/// limits of [`Picture::open`](super::Picture::open), or its texts are too long.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<Option<Metadata>> {
    let path = path.as_ref();
    let bytes = decode::read(path, |head| format::recognise(head)?.check_size(head).map(drop))?;
    let read = || format::recognise(&bytes)?.metadata(&bytes);
    read().map_err(|reason| Error::new(Kind::BadImage, format!("{}: {reason}", path.display())))
}
