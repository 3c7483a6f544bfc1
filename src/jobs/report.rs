//! What a job tells of what it drew, in JSON.

use crate::engine::Outcome;
use crate::error::{Error, Kind, Result};
use serde_json::{Map, Value, json};

/// JSON of an outcome: `runtime`, `regime`, `job` (the request with every number settled), `seconds` by stage and in
/// `total`, `notes`.
///
/// # Errors
/// When the request holds what JSON cannot.
pub fn report(outcome: &Outcome) -> Result<Value> {
    let job = serde_json::to_value(&outcome.resolved)
        .map_err(|e| Error::new(Kind::Internal, format!("no JSON: {e}")))?;
    let stages = outcome.timings.iter().map(|(stage, time)| (stage.name(), time.as_secs_f64()));
    let total = ("total", outcome.timings.total().as_secs_f64());
    let seconds: Map<_, _> = stages.chain([total]).map(|(name, s)| (name.to_owned(), s.into())).collect();
    Ok(json!({
        "runtime": outcome.runtime,
        "regime": outcome.resolved.regime(),
        "job": job,
        "seconds": seconds,
        "notes": outcome.notes,
    }))
}
