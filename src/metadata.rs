//! What a picture's file says of the request that drew it.

use crate::error::{Error, Kind, Result};
use crate::image::Metadata;
use crate::request::{Interval, Request, ResolvedRequest};
use serde::{Deserialize, Serialize};

/// Of a picture that `model` drew for `request`, whose prompt and seed are the picture's own.
///
/// # Errors
/// When the request holds a number that JSON cannot.
pub fn describe(model: &str, resolved: &ResolvedRequest) -> Result<Metadata> {
    let exact = Exact {
        program: concat!("kandinsky ", env!("CARGO_PKG_VERSION")).to_owned(),
        model: model.to_owned(),
        request: resolved,
    };
    let exact = serde_json::to_string(&exact)
        .map_err(|e| Error::new(Kind::Internal, format!("the request cannot be written down: {e}")))?;
    Ok(Metadata { parameters: parameters(model, resolved), exact })
}

/// The request that draws the picture again, and the model that drew it.
///
/// # Errors
/// [`Kind::BadImage`] when the JSON is not that of this program.
pub fn request(metadata: &Metadata) -> Result<(Request, String)> {
    let exact: Exact<Request> = serde_json::from_str(&metadata.exact)
        .map_err(|e| Error::new(Kind::BadImage, format!("the picture's request cannot be read: {e}")))?;
    Ok((exact.request, exact.model))
}

#[derive(Serialize, Deserialize)]
struct Exact<R> {
    program: String,
    model: String,
    request: R,
}

/// The form that common viewers of generation parameters understand.
fn parameters(model: &str, resolved: &ResolvedRequest) -> String {
    let negative = Some(resolved.decoder_negative()).filter(|text| !text.is_empty());
    let negative = negative.map(|text| format!("\nNegative prompt: {text}")).unwrap_or_default();
    let ResolvedRequest { steps, sampler, guidance, seed, size, prior_steps, prior_guidance, .. } = resolved;
    let prompt = resolved.prompt_of(0);
    let interval = match resolved.guidance_interval {
        Interval::WHOLE => String::new(),
        part => format!(", CFG interval: {part}"),
    };
    let deep = if resolved.deep_cache == 1 {
        String::new()
    } else {
        format!(", DeepCache: {}", resolved.deep_cache)
    };
    let regime = resolved.regime();
    format!(
        "{prompt}{negative}\nSteps: {steps}, Sampler: {sampler}, CFG scale: {guidance}, Seed: {seed}, \
         Size: {size}, Model: {model}, Regime: {regime}, Prior steps: {prior_steps}, \
         Prior CFG scale: {prior_guidance}{interval}{deep}"
    )
}
