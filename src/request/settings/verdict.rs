//! Whether a setting may have a value: one function with one sentence for every front end.

use super::shape::Shape;
use super::shape::members::{MIX, Member, START};
use crate::error::{Error, Kind, Result};
use crate::guidance::Interval;
use crate::limits::{self, Limit};
use crate::request::form::SHOWN;
use crate::text;
use serde_json::{Map, Value};
use std::fmt::Display;

impl Shape {
    /// Passes a value of the setting `name` as JSON has it; null is as if it were not given. A number that JSON
    /// cannot hold stands there as a text, such as `"NaN"`.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names the setting, the value and the limit; [`Kind::BadPrompt`] for a text that
    /// no encoder reads.
    pub fn check(&self, name: &'static str, value: &Value) -> Result<()> {
        let wrong =
            || Error::new(Kind::BadRequest, format!("{name} is {}; it takes {}", shown(value), self.takes()));
        match (self, value) {
            (_, Value::Null) => Ok(()),
            (Self::Text(which), Value::String(text)) => text::check(*which, text),
            (Self::Prompts, Value::String(text)) => text::check(text::Prompt::Prompt, text),
            (Self::Prompts, Value::Array(texts)) => prompts(name, texts),
            (Self::Path, Value::String(path)) => check_path(name, path),
            (Self::Word(words), Value::String(word)) if words.all().contains(&word.as_str()) => Ok(()),
            (Self::Whole(limit), value) => whole(name, limit, value).ok_or_else(wrong)?,
            (Self::Seed, value) => whole(name, &limits::SEED, value).ok_or_else(wrong)?,
            (Self::Offset, value) => whole(name, &limits::OFFSET, value).ok_or_else(wrong)?,
            (Self::Real(limit), value) => limit.named(name).check(real(value).ok_or_else(wrong)?),
            (Self::Strength, value) => limits::check_strength(real(value).ok_or_else(wrong)?),
            (Self::Switch, Value::Bool(_)) => Ok(()),
            (Self::Seeds, Value::Array(list)) => every(name, list, &limits::SEED).ok_or_else(wrong)?,
            (Self::Timesteps, Value::Array(list)) => {
                every(name, list, &limits::TIMESTEP).ok_or_else(wrong)?
            }
            (Self::Picture, Value::Object(picture)) if picture.values().all(is_text) => Ok(()),
            (Self::Size, Value::Object(size)) => check_size(size).ok_or_else(wrong)?,
            (Self::Interval, Value::String(text)) => text.parse::<Interval>().map(drop),
            (Self::Mix, Value::Array(parts)) => check_mix(parts),
            (Self::Start, Value::Object(start)) => check_start(start),
            _ => Err(wrong()),
        }
    }
}

fn prompts(name: &'static str, texts: &[Value]) -> Result<()> {
    if texts.is_empty() {
        return Err(Error::new(Kind::BadRequest, "no prompt was given; the empty one is \"\""));
    }
    texts.iter().try_for_each(|text| match text {
        Value::Null => {
            Err(Error::new(Kind::BadRequest, format!("{name} has null in its list; it takes texts")))
        }
        text => Shape::Text(text::Prompt::Prompt).check(name, text),
    })
}

fn check_path(name: &'static str, path: &str) -> Result<()> {
    limits::at_most(name, "bytes", path.len(), limits::PATH_BYTES)
}

/// The verdict on a whole number; none where the value is not one.
fn whole<T: TryFrom<i128> + PartialOrd + Display + Copy>(
    name: &'static str,
    limit: &Limit<T>,
    value: &Value,
) -> Option<Result<()>> {
    let limit = limit.named(name);
    let number = value.as_number()?;
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (exact, number.as_f64()) {
        (Some(exact), _) => {
            Some(T::try_from(exact).map_or_else(|_| Err(limit.refusal(exact)), |exact| limit.check(exact)))
        }
        // Whole numbers beyond 64 bits are read as f64, which has them without a point.
        (None, Some(huge)) if huge.abs() >= TWO_TO_63 => Some(Err(limit.refusal(huge))),
        _ => None,
    }
}

/// 2^63, from which on every f64 is whole.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A number, also one that is not finite, which is a text.
fn real(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.parse().ok().filter(|x: &f64| !x.is_finite()),
        value => value.as_f64(),
    }
}

fn every<T: TryFrom<i128> + PartialOrd + Display + Copy>(
    name: &'static str,
    list: &[Value],
    limit: &Limit<T>,
) -> Option<Result<()>> {
    if let Err(long) = limits::at_most(name, "places", list.len(), limits::LIST_LENGTH) {
        return Some(Err(long));
    }
    list.iter().map(|value| whole(name, limit, value)).collect::<Option<Result<()>>>()
}

fn is_text(value: &Value) -> bool {
    value.is_string() || value.is_null()
}

/// The verdict on a size; none where the sides are not whole numbers.
fn check_size(size: &Map<String, Value>) -> Option<Result<()>> {
    let side = |limit: &Limit<usize>| whole(limit.name, limit, size.get(limit.name)?);
    let sides = side(&limits::WIDTH)?.and(side(&limits::HEIGHT)?);
    let pixels =
        |name: &str| size.get(name).and_then(Value::as_u64).and_then(|side| usize::try_from(side).ok());
    Some(sides.and_then(|()| match (pixels("width"), pixels("height")) {
        (Some(width), Some(height)) => limits::check_size(width, height),
        _ => Ok(()),
    }))
}

fn check_mix(parts: &[Value]) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    limits::MIX_PARTS.check(parts.len())?;
    parts.iter().try_for_each(|part| {
        let Some(part) = part.as_object() else {
            return Err(Error::new(
                Kind::BadRequest,
                format!("mix has {}; a part is a text or a picture", shown(part)),
            ));
        };
        let given = |name: &str| part.get(name).is_some_and(|value| !value.is_null());
        if given("text") && given("picture") {
            return Err(Error::new(Kind::BadRequest, "mix: a part is a text or a picture, and one is both"));
        }
        // Members of a part stand behind `*.`.
        check_members(MIX, part, |path| path.get(2..).unwrap_or_default())
    })
}

fn check_start(start: &Map<String, Value>) -> Result<()> {
    check_members(START, start, |path| path)
}

fn check_members(
    members: &'static [Member],
    object: &Map<String, Value>,
    below: impl Fn(&'static str) -> &'static str,
) -> Result<()> {
    members.iter().try_for_each(|member| {
        let mut segments = below(member.path).split('.');
        let first = segments.next().and_then(|name| object.get(name));
        let found = first.and_then(|first| segments.try_fold(first, |value, name| value.get(name)));
        found.map_or(Ok(()), |value| member.shape.check(member.name(), value))
    })
}

/// A value as a sentence shows it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
