//! Requests from JSON, strictly: the one reader for every door.

use super::{Request, keys};
use crate::error::{Error, Kind, Result};
use crate::limits;
use serde_json::{Map, Value, json};

impl Request {
    /// Reads a request from its JSON, or from the JSON that a picture carries (`program`, `model`, `request`).
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for what is no JSON, a key that no request has (with those that are known), or a
    /// value of another form.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_object(&object(text)?)
    }

    /// As [`Request::from_json`], of JSON that has been parsed.
    ///
    /// # Errors
    /// As [`Request::from_json`].
    pub fn from_object(request: &Map<String, Value>) -> Result<Self> {
        keys::check(request)?;
        request.iter().try_for_each(|(name, value)| check_alone(name, value))?;
        let read: Self = read(Value::Object(request.clone())).map_err(bad)?;
        check_start(&read, request)?;
        Ok(read)
    }
}

/// The object of a request in a text.
///
/// # Errors
/// As [`Request::from_json`].
pub fn object(text: &str) -> Result<Map<String, Value>> {
    let limit = limits::PICTURE_TEXT_BYTES;
    if text.len() > limit {
        return Err(bad(format!("the request's JSON has {} bytes; the limit is {limit}", text.len())));
    }
    let value: Value =
        serde_json::from_str(text).map_err(|e| bad(format!("the request is no JSON: {}", short(&e))))?;
    let Value::Object(mut object) = value else {
        return Err(bad("the request's JSON is no object".to_owned()));
    };
    let carried = object.keys().all(|name| ["program", "model", "request"].contains(&name.as_str()));
    match object.get_mut("request").map(Value::take) {
        Some(Value::Object(request)) if carried => Ok(request),
        _ => Ok(object),
    }
}

/// Reads one setting by itself, so that the message can name it.
fn check_alone(name: &str, value: &Value) -> Result<()> {
    if let ("mix", Some(parts)) = (name, value.as_array()) {
        let both = |part: &Value| part.get("text").is_some() && part.get("picture").is_some();
        if parts.iter().any(both) {
            return Err(bad("mix: a part is a text or a picture, and one is both".to_owned()));
        }
    }
    read(json!({ name: value })).map(drop).map_err(|e| bad(format!("{name}: {e}")))
}

fn read(value: Value) -> std::result::Result<Request, String> {
    serde_json::from_value(value).map_err(|e| short(&e))
}

/// Refuses a setting of another kind of start than the one asked for.
fn check_start(read: &Request, request: &Map<String, Value>) -> Result<()> {
    let Some(given) = request.get("start").and_then(Value::as_object) else { return Ok(()) };
    let kept = serde_json::to_value(&read.start).map_err(|e| bad(short(&e)))?;
    let idle = |value: &Value| value.is_null() || *value == json!(false) || *value == json!(0);
    let lost = given.iter().find(|(name, value)| kept.get(name).is_none() && !idle(value));
    match lost {
        Some((name, _)) => {
            let kind = kept.get("kind").and_then(Value::as_str).unwrap_or_default();
            Err(bad(format!("start.{name} is not for the start {kind:?}")))
        }
        None => Ok(()),
    }
}

/// A message of the JSON reader as one short line.
fn short(error: &serde_json::Error) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::BadRequest, message)
}
