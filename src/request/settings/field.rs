//! Types of a request's fields, to and from JSON.

use crate::guidance::Interval;
use crate::image::Size;
use crate::priors::PriorKind;
use crate::profile::Profile;
use crate::request::{Blend, Input, Part, Start};
use crate::rng::Generator;
use serde_json::Value;
use std::path::PathBuf;

/// A field of a request.
pub(super) trait Field: Sized {
    /// As JSON has it; null where it is not set.
    fn to_value(&self) -> Value;

    /// From JSON that has been checked.
    fn from_value(value: Value) -> Result<Self, String>;
}

macro_rules! as_serde_has_it {
    ($($name:ty),+) => {$(
        impl Field for $name {
            fn to_value(&self) -> Value {
                // A path that is not UTF-8 has no JSON: it stands in a list, which is refused.
                serde_json::to_value(self).unwrap_or_else(|_| vec![format!("{self:?}")].into())
            }

            fn from_value(value: Value) -> Result<Self, String> {
                serde_json::from_value(value).map_err(|error| one_line(&error))
            }
        }
    )+};
}

as_serde_has_it!(Vec<Part>, Vec<u64>, Vec<i32>, Option<Input>, Option<String>, Option<PathBuf>, Option<u64>);
as_serde_has_it!(
    Option<usize>,
    Option<Size>,
    usize,
    bool,
    Blend,
    Start,
    Generator,
    Interval,
    PriorKind,
    Profile
);

/// One text as itself, several as a list.
impl Field for Vec<String> {
    fn to_value(&self) -> Value {
        match self.as_slice() {
            [one] => one.as_str().into(),
            many => many.into(),
        }
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(vec![text]),
            texts => serde_json::from_value(texts).map_err(|error| one_line(&error)),
        }
    }
}

// JSON has no NaN, and null means that a value was not given: `number` keeps the two apart.
impl Field for f64 {
    fn to_value(&self) -> Value {
        number(*self)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|error| one_line(&error))
    }
}

impl Field for Option<f64> {
    fn to_value(&self) -> Value {
        self.map_or(Value::Null, number)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        serde_json::from_value(value).map_err(|error| one_line(&error))
    }
}

/// A number in JSON; one that is not finite, which JSON cannot hold, as its name.
fn number(x: f64) -> Value {
    serde_json::Number::from_f64(x).map_or_else(|| x.to_string().into(), Value::Number)
}

/// A message of the JSON reader as one short line.
pub(in crate::request) fn one_line(error: &serde_json::Error) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
