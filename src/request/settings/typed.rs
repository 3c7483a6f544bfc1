//! Values as people type them, on the command line or behind a key, as JSON.

use super::shape::Shape;
use crate::image::Size;
use serde_json::{Number, Value, json};

impl Shape {
    /// The JSON of a text. What is not of the setting's type stays a text, which [`Shape::check`] then refuses.
    pub fn typed(&self, text: &str) -> Value {
        let typed = match self {
            Self::Whole(_) | Self::Seed | Self::Offset | Self::Real(_) | Self::Strength => number(text),
            Self::Switch => text.parse().map(Value::Bool).ok(),
            Self::Seeds | Self::Timesteps => list(text),
            Self::Picture => Some(json!({ "path": text })),
            Self::Size => {
                text.parse().map(|Size { width, height }| json!({ "width": width, "height": height })).ok()
            }
            Self::Mix => part(text).map(|part| json!([part])),
            Self::Prompts | Self::Text(_) | Self::Path | Self::Word(_) | Self::Interval | Self::Start => None,
        };
        typed.unwrap_or_else(|| text.into())
    }
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let exact = serde_json::from_str::<Number>(unsigned).ok();
    // Rust also reads `.5`, which JSON does not.
    exact.or_else(|| Number::from_f64(unsigned.parse().ok()?)).map(Value::Number)
}

/// `[1,2]`, or `1,2`.
fn list(text: &str) -> Option<Value> {
    let bare = text.trim();
    let inner = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
    if inner.trim().is_empty() {
        return (inner != bare).then(|| json!([]));
    }
    inner.split(',').map(number).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// A part of a mix: `[WEIGHT=]TEXT` or `[WEIGHT=]@FILE`.
fn part(text: &str) -> Option<Value> {
    let weighed = text.split_once('=').and_then(|(weight, what)| Some((weight_of(weight)?, what)));
    let (weight, what) = weighed.unwrap_or_else(|| (json!(1.0), text));
    match what.strip_prefix('@') {
        Some("") => None,
        Some(file) => Some(json!({ "picture": { "path": file }, "weight": weight })),
        None => Some(json!({ "text": what, "weight": weight })),
    }
}

/// A number, also one that is not finite, which JSON has as a text.
fn weight_of(text: &str) -> Option<Value> {
    number(text).or_else(|| text.trim().parse::<f64>().ok().map(|_| text.trim().into()))
}
