//! One JSON object, field by field; every complaint names the file, the field and what would do.

use crate::number::narrow;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::path::Path;

/// Largest width, count or vocabulary that is believed.
const MAX_SIZE: usize = 1 << 20;
/// Longest text that is believed.
const MAX_TOKENS: usize = 4096;
/// Most layers or levels that are drawn.
const MAX_LAYERS: usize = 256;

/// The fields of a `config.json`.
pub(super) struct Fields<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(config: &'a Value, path: &'a Path) -> Result<Self> {
        match config {
            Value::Object(map) => Ok(Self { path, map }),
            _ => {
                Err(Error::BadConfig { path: path.to_owned(), reason: "it is not a JSON object".to_owned() })
            }
        }
    }

    /// A whole number from 1 up.
    pub(super) fn size(&self, name: &str) -> Result<usize> {
        self.within(name, self.field(name)?, 1, MAX_SIZE)
    }

    /// A whole number from 0 up.
    pub(super) fn count(&self, name: &str) -> Result<usize> {
        self.within(name, self.field(name)?, 0, MAX_SIZE)
    }

    /// A number of layers.
    pub(super) fn layers(&self, name: &str) -> Result<usize> {
        self.within(name, self.field(name)?, 1, MAX_LAYERS)
    }

    /// A number of tokens.
    pub(super) fn tokens(&self, name: &str) -> Result<usize> {
        self.within(name, self.field(name)?, 1, MAX_TOKENS)
    }

    /// Refuses a computed width that is too large.
    pub(super) fn width(&self, name: &str, width: usize) -> Result<()> {
        let fits = width <= MAX_SIZE;
        if fits { Ok(()) } else { Err(self.bad(name, width, &format!("at most {MAX_SIZE}"))) }
    }

    /// A list of whole numbers from 1 up.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<usize>> {
        let list = self.list(name)?;
        if list.is_empty() || list.len() > 16 {
            return Err(self.bad(name, format!("{} entries", list.len()), "1 to 16 entries"));
        }
        list.iter().map(|value| self.within(name, value, 1, MAX_SIZE)).collect()
    }

    /// A number between 0 and 1.
    pub(super) fn epsilon(&self, name: &str) -> Result<f32> {
        let value = self.field(name)?;
        let number = value.as_f64().filter(|x| *x > 0.0 && *x < 1.0);
        number.map(narrow).ok_or_else(|| self.bad(name, value, "a number between 0 and 1"))
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str> {
        let value = self.field(name)?;
        value.as_str().ok_or_else(|| self.bad(name, value, "a text"))
    }

    /// True or false, or `absent` where the field is not there.
    pub(super) fn switch(&self, name: &str, absent: bool) -> Result<bool> {
        match self.map.get(name) {
            None => Ok(absent),
            Some(value) => value.as_bool().ok_or_else(|| self.bad(name, value, "true or false")),
        }
    }

    /// For each of `count` entries, whether it is the second of two names.
    pub(super) fn choices(&self, name: &str, [no, yes]: [&str; 2], count: usize) -> Result<Vec<bool>> {
        let list = self.list(name)?;
        if list.len() != count {
            return Err(self.bad(name, format!("{} entries", list.len()), &format!("{count} entries")));
        }
        let choice = |value: &Value| match value.as_str() {
            Some(text) if text == no => Ok(false),
            Some(text) if text == yes => Ok(true),
            _ => Err(self.unknown(name, value, &format!("{no} or {yes}"))),
        };
        list.iter().map(choice).collect()
    }

    /// Refuses all values but one; absence is that one.
    pub(super) fn only(&self, name: &str, known: &Value) -> Result<()> {
        match self.map.get(name) {
            None => Ok(()),
            Some(value) if value == known || equal_numbers(value, known) => Ok(()),
            Some(value) => Err(self.unknown(name, value, &known.to_string())),
        }
    }

    /// As [`Fields::only`], where null means the same as absence.
    pub(super) fn only_or_null(&self, name: &str, known: &Value) -> Result<()> {
        if self.map.get(name).is_some_and(Value::is_null) { Ok(()) } else { self.only(name, known) }
    }

    /// Refuses all values but one, and absence.
    pub(super) fn required(&self, name: &str, known: &Value) -> Result<()> {
        self.field(name)?;
        self.only(name, known)
    }

    /// Refuses a number that is no multiple of another.
    pub(super) fn multiple(&self, name: &str, number: usize, of: usize) -> Result<()> {
        if number.is_multiple_of(of) {
            Ok(())
        } else {
            Err(self.bad(name, number, &format!("a multiple of {of}")))
        }
    }

    pub(super) fn bad(&self, name: &str, found: impl Display, expected: &str) -> Error {
        let reason = format!("{name} is {found}, and should be {expected}");
        Error::BadConfig { path: self.path.to_owned(), reason }
    }

    pub(super) fn unknown(&self, name: &str, found: impl Display, known: &str) -> Error {
        Error::Unknown {
            what: format!("{} of {}", name, self.path.display()),
            found: found.to_string().trim_matches('"').to_owned(),
            known: known.trim_matches('"').to_owned(),
        }
    }

    fn field(&self, name: &str) -> Result<&'a Value> {
        let reason = || format!("the field {name} is missing");
        self.map.get(name).ok_or_else(|| Error::BadConfig { path: self.path.to_owned(), reason: reason() })
    }

    fn list(&self, name: &str) -> Result<&'a Vec<Value>> {
        let value = self.field(name)?;
        value.as_array().ok_or_else(|| self.bad(name, value, "a list"))
    }

    fn within(&self, name: &str, value: &Value, from: usize, to: usize) -> Result<usize> {
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        let number = number.filter(|n| (from..=to).contains(n));
        number.ok_or_else(|| self.bad(name, value, &format!("a whole number from {from} to {to}")))
    }
}

/// 1 and 1.0 are one number to Python, and to us.
fn equal_numbers(a: &Value, b: &Value) -> bool {
    a.as_f64().is_some_and(|a| Some(a) == b.as_f64())
}
