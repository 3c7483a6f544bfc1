//! The one definition of a setting: name, type, range, default and help in one entry of [`SETTINGS`].
//!
//! A new setting is one entry in [`list`](self::list), from which everything else follows: the field of
//! [`Request`] and of [`ResolvedRequest`](super::ResolvedRequest), JSON and its schema, the keys of the C library,
//! the options of the command line, the page of the docs. Whether it may have a value is said by
//! [`Shape::check`], whichever front end asks.

mod declare;
mod field;
pub mod list;
pub mod reference;
pub mod schema;
pub mod shape;
mod typed;
mod verdict;

pub use list::SETTINGS;
pub use shape::{Shape, Words};

use super::Request;
use crate::error::{Error, Kind, Result};
use field::Field;
pub(super) use field::one_line;
use serde_json::Value;

/// A setting of a request.
pub struct Setting {
    /// The name in JSON, in Rust and as a key; the command line writes `-` for `_`.
    pub name: &'static str,
    doc: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// The heading that its help stands under; none for most.
    pub heading: Option<&'static str>,
    get: fn(&Request) -> Value,
    set: fn(&mut Request, Value) -> std::result::Result<(), String>,
}

/// How the command line takes a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// As an argument of the commands that have it.
    None,
    /// By an option that takes nothing.
    Switch,
    /// By an option of this name, which stands for the word.
    SwitchTo(&'static str),
    /// By an option with a value, called so in help texts.
    Value(&'static str),
    /// By an option that may be given several times.
    Several(&'static str),
}

/// Settings whose value is written also where it is the default: what every reader of a request asks for.
const ALWAYS_WRITTEN: [&str; 2] = ["prompt", "count"];

impl Setting {
    /// The setting of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// What it is, in one sentence.
    pub fn about(&self) -> String {
        let first = self.paragraphs().into_iter().next().unwrap_or_default();
        first.strip_suffix('.').map(str::to_owned).unwrap_or(first)
    }

    /// What it is, with its range and details.
    pub fn help(&self) -> String {
        let about = self.about();
        // The range belongs to the first clause: `guidance, 0 to 30; 1 and less turns it off`.
        let clause = about.find(';').unwrap_or(about.len());
        let (first, rest) = about.split_at_checked(clause).unwrap_or((&about, ""));
        let range = self.shape.range().map(|range| format!(", {range}")).unwrap_or_default();
        let choice = match (self.flag(), self.default().as_str()) {
            (Flag::SwitchTo(word), Some(default)) => format!(": {word} instead of {default}"),
            _ => String::new(),
        };
        let details: String = self.paragraphs().into_iter().skip(1).map(|text| format!(". {text}")).collect();
        let text = format!("{first}{range}{choice}{rest}{details}");
        text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
    }

    /// How the command line takes it.
    pub const fn flag(&self) -> Flag {
        match &self.shape {
            Shape::Prompts | Shape::Start => Flag::None,
            Shape::Switch => Flag::Switch,
            Shape::Word(words) => match words.switch {
                Some(word) => Flag::SwitchTo(word),
                None => Flag::Value(words.value_name),
            },
            Shape::Mix => Flag::Several("PART"),
            Shape::Text(_) => Flag::Value("TEXT"),
            Shape::Path | Shape::Picture => Flag::Value("FILE"),
            Shape::Whole(_) | Shape::Seed | Shape::Offset => Flag::Value("N"),
            Shape::Real(_) | Shape::Strength => Flag::Value("X"),
            Shape::Seeds | Shape::Timesteps => Flag::Value("N,N,…"),
            Shape::Size => Flag::Value("WxH"),
            Shape::Interval => Flag::Value("START..END"),
        }
    }

    fn paragraphs(&self) -> Vec<String> {
        let whole = self.doc.trim().split("\n\n");
        whole.map(|lines| lines.lines().map(str::trim).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Its value in a request; null where it is not set.
    pub fn get(&self, request: &Request) -> Value {
        (self.get)(request)
    }

    /// Its value where nothing was asked for; null where that comes from the model.
    pub fn default(&self) -> Value {
        self.get(&Request::default())
    }

    /// Its value as a request's JSON has it, unless that goes without saying.
    pub fn written(&self, request: &Request) -> Option<Value> {
        let value = self.get(request);
        (ALWAYS_WRITTEN.contains(&self.name) || value != self.default()).then_some(value)
    }

    /// Sets it to a value as JSON has it; null leaves it as it is.
    ///
    /// # Errors
    /// As [`Shape::check`]; also for a mix or a start in which something is missing.
    pub fn set(&self, request: &mut Request, value: &Value) -> Result<()> {
        if value.is_null() {
            return Ok(());
        }
        self.shape.check(self.name, value)?;
        let incomplete = |why: String| Error::new(Kind::BadRequest, format!("{}: {why}", self.name));
        (self.set)(request, without_nulls(value)).map_err(incomplete)
    }

    /// Sets it to a value as people type it.
    ///
    /// # Errors
    /// As [`Setting::set`].
    pub fn set_typed(&self, request: &mut Request, text: &str) -> Result<()> {
        self.set(request, &self.shape.typed(text))
    }

    /// Passes the value that it has in a request.
    ///
    /// # Errors
    /// As [`Shape::check`].
    pub fn check(&self, request: &Request) -> Result<()> {
        self.shape.check(self.name, &self.get(request))
    }
}

/// A null in an object is as if it were not given.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let given = object.iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
