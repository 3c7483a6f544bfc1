//! Requests from JSON and to JSON, strictly: the one reader for every front end.

use super::settings::{SETTINGS, Setting, one_line};
use super::{Request, ResolvedRequest, keys, strict};
use crate::error::{Error, Kind, Result};
use crate::limits;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

impl Request {
    /// Reads a request from its JSON, or from the JSON that a picture carries (`program`, `model`, `request`).
    /// A null is as if its setting were not given.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for what is no JSON, a key that no request has (with the nearest that one has) or that
    /// stands there twice, or a value that the setting does not take.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_object(&object(text)?)
    }

    /// As [`Request::from_json`], of JSON that has been parsed.
    ///
    /// # Errors
    /// As [`Request::from_json`].
    pub fn from_object(object: &Map<String, Value>) -> Result<Self> {
        keys::check(object)?;
        let mut request = Self::default();
        for (name, value) in object {
            // The keys have been checked, so each is a setting's.
            if let Some(setting) = Setting::find(name) {
                setting.set(&mut request, value)?;
            }
        }
        check_start(&request, object)?;
        Ok(request)
    }
}

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for setting in SETTINGS {
            if let Some(value) = setting.written(self) {
                object.serialize_entry(setting.name, &value)?;
            }
        }
        object.end()
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let object = strict::Object::deserialize(deserializer)?;
        object.refuse_twice().and_then(|object| Self::from_object(&object)).map_err(D::Error::custom)
    }
}

impl Serialize for ResolvedRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_request().serialize(serializer)
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
    let value: strict::Json =
        serde_json::from_str(text).map_err(|e| bad(format!("the request is no JSON: {}", one_line(&e))))?;
    let Value::Object(mut object) = value.refuse_twice()? else {
        return Err(bad("the request's JSON is no object".to_owned()));
    };
    let carried = object.keys().all(|name| ["program", "model", "request"].contains(&name.as_str()));
    match object.get_mut("request").map(Value::take) {
        Some(Value::Object(request)) if carried => Ok(request),
        _ => Ok(object),
    }
}

/// Refuses a setting of another kind of start than the one asked for.
fn check_start(read: &Request, request: &Map<String, Value>) -> Result<()> {
    let Some(given) = request.get("start").and_then(Value::as_object) else { return Ok(()) };
    let kept = serde_json::to_value(&read.start).map_err(|e| bad(one_line(&e)))?;
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

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::BadRequest, message)
}
