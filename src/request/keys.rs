//! The keys of a request, which are the paths of its JSON: how a front end that has keys and texts alone, such as
//! the C library, sets what the table of settings holds.

pub use super::form::Form;
use super::form::SHOWN;
use super::settings::{SETTINGS, Setting, Shape};
use crate::error::{Error, Kind, Result};
use crate::limits;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// A key of a request.
#[derive(Debug)]
pub struct Key {
    /// Its path in the JSON of a request; `*` is a place in a list, from 0.
    pub path: String,
    /// What it takes.
    pub form: Form,
    /// What it is.
    pub about: String,
    shape: &'static Shape,
    name: &'static str,
}

/// Every key of a request, as the table of settings has them.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| SETTINGS.iter().flat_map(keys_of).collect());

fn keys_of(setting: &'static Setting) -> Vec<Key> {
    let key = |path: String, shape: &'static Shape, name, about: &str| Key {
        path,
        form: shape.form(),
        about: described(shape, about),
        shape,
        name,
    };
    let members = setting.shape.members();
    let below = members.iter().map(|member| {
        let path = format!("{}.{}", setting.name, member.path);
        let kinds = member.kinds.join(", ");
        // What several kinds of start have alike needs no kinds before it.
        let about = match member.kinds {
            [] | [_, _, _, ..] => member.about.to_owned(),
            _ => format!("{kinds}: {}", member.about),
        };
        key(path, &member.shape, member.name(), &about)
    });
    if !members.is_empty() {
        return below.collect();
    }
    let whole = key(setting.name.to_owned(), &setting.shape, setting.name, &uncapitalised(&setting.about()));
    let one_of_several = match setting.shape {
        Shape::Prompts => {
            Some(key(format!("{}.*", setting.name), &setting.shape, setting.name, "one of several prompts"))
        }
        _ => None,
    };
    std::iter::once(whole).chain(one_of_several).collect()
}

/// A description with the words or the range that may be chosen from.
fn described(shape: &Shape, about: &str) -> String {
    match (shape, shape.range()) {
        (Shape::Word(words), _) if words.listed => format!("{about}: {}", words.in_words()),
        (Shape::Strength, Some(range)) => format!("{about}, {range}"),
        (_, Some(range)) => format!("{about} ({range})"),
        _ => about.to_owned(),
    }
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Sets the setting at `path` of a request's JSON from a text in its form.
///
/// # Errors
/// [`Kind::BadRequest`] for a path that is unknown, with those that are known there, or a text of another form.
pub fn set(request: &mut Map<String, Value>, path: &str, text: &str) -> Result<()> {
    let segments: Vec<&str> = path.split('.').collect();
    let (name, shape) = find(&segments)?;
    let value = shape.typed(text);
    shape.check(name, &value)?;
    place(request, &segments, value)
}

/// Sets the picture at `path` to the one of that hash, which the caller holds.
///
/// # Errors
/// As [`set`]; also for a path that takes no picture.
pub fn set_picture(request: &mut Map<String, Value>, path: &str, sha256: &str) -> Result<()> {
    let segments: Vec<&str> = path.split('.').collect();
    match find(&segments)? {
        (_, Shape::Picture) => place(request, &segments, json!({ "sha256": sha256 })),
        (_, shape) => Err(bad(format!("{path} is no picture; it takes {}", shape.takes()))),
    }
}

/// Refuses JSON that holds a key which no request has.
///
/// # Errors
/// [`Kind::BadRequest`] that names the key and those that are known there.
pub fn check(request: &Map<String, Value>) -> Result<()> {
    check_object(request, &mut Vec::new())
}

fn check_object<'v>(object: &'v Map<String, Value>, at: &mut Vec<&'v str>) -> Result<()> {
    let known = below(at);
    for (name, value) in object {
        if name == "*" || !known.contains(&name.as_str()) {
            return Err(unknown(at, name));
        }
        at.push(name);
        check_value(value, at)?;
        at.pop();
    }
    Ok(())
}

fn check_value<'v>(value: &'v Value, at: &mut Vec<&'v str>) -> Result<()> {
    match value {
        Value::Object(object) => check_object(object, at),
        Value::Array(list) => {
            at.push("*");
            list.iter().try_for_each(|value| check_value(value, at))?;
            at.pop();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Every path with the parts of its form, in segments.
fn paths() -> impl Iterator<Item = Vec<&'static str>> {
    KEYS.iter().flat_map(|key| {
        let whole: Vec<&str> = key.path.split('.').collect();
        let parts = key.shape.parts().iter().map({
            let whole = whole.clone();
            move |(part, ..)| whole.iter().chain([part]).copied().collect()
        });
        std::iter::once(whole).chain(parts.collect::<Vec<_>>())
    })
}

/// What may stand below a place.
fn below(at: &[&str]) -> Vec<&'static str> {
    let next = paths().filter_map(|path| {
        let under = path.iter().zip(at).all(|(known, here)| known == here);
        path.get(at.len()).copied().filter(|_| under)
    });
    let mut names = Vec::new();
    next.for_each(|name| {
        if !names.contains(&name) {
            names.push(name);
        }
    });
    names
}

/// What a path leads to: its name in messages, and what it takes.
fn find(segments: &[&str]) -> Result<(&'static str, &'static Shape)> {
    let mut at = Vec::with_capacity(segments.len());
    for segment in segments {
        let known = below(&at);
        let place = if is_place(segment) { "*" } else { *segment };
        match known.iter().find(|name| **name == place && *segment != "*") {
            Some(name) => at.push(*name),
            None => return Err(unknown(&at, segment)),
        }
    }
    let key_at = |at: &[&str]| KEYS.iter().find(|key| key.path.split('.').eq(at.iter().copied()));
    let whole = key_at(&at).map(|key| (key.name, key.shape));
    let part = || {
        let (last, before) = at.split_last()?;
        let (_, name, shape) = key_at(before)?.shape.parts().iter().find(|(part, ..)| part == last)?;
        Some((*name, shape))
    };
    whole.or_else(part).ok_or_else(|| {
        bad(format!("{} is no setting by itself; it has {}", segments.join("."), below(&at).join(", ")))
    })
}

fn is_place(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn unknown(at: &[&str], name: &str) -> Error {
    let known = below(at);
    let name: String = name.chars().take(SHOWN).collect();
    let path = at.iter().copied().chain([name.as_str()]).collect::<Vec<_>>().join(".");
    let hint = match nearest(&name, &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => "nothing is known there".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    bad(format!("a request has no key {path:?}; {hint}"))
}

/// The known name that a mistyped one is nearest to, where one is near.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let most = 1 + name.chars().count() / 5;
    let distances = known.iter().filter(|one| **one != "*").map(|one| (edits(name, one), *one));
    distances.filter(|(edits, _)| *edits <= most).min().map(|(_, one)| one)
}

/// Letters to insert, drop or replace to make one word of another (Levenshtein's distance).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((other, across), down) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            let before = next.last().copied().unwrap_or(i + 1);
            next.push((across + usize::from(*other != letter)).min(down + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Puts a value to its place; lists grow by one at a time.
fn place(request: &mut Map<String, Value>, segments: &[&str], value: Value) -> Result<()> {
    let Some((first, rest)) = segments.split_first() else { return Ok(()) };
    let mut slot = request.entry(*first).or_insert(Value::Null);
    for segment in rest {
        slot = match segment.parse::<usize>() {
            Ok(index) => in_list(slot, index, segments)?,
            Err(_) => in_object(slot, segment),
        };
    }
    *slot = value;
    if *first == "mix" {
        complete_part(request, segments);
    }
    Ok(())
}

fn in_object<'v>(slot: &'v mut Value, name: &str) -> &'v mut Value {
    if !slot.is_object() {
        *slot = json!({});
    }
    // An object takes any name.
    &mut slot[name]
}

fn in_list<'v>(slot: &'v mut Value, index: usize, segments: &[&str]) -> Result<&'v mut Value> {
    if !slot.is_array() {
        let alone = slot.take();
        *slot = Value::Array(if alone.is_null() { Vec::new() } else { vec![alone] });
    }
    let path = segments.join(".");
    let Value::Array(list) = slot else { return Err(bad(format!("{path} is in no list"))) };
    let (length, most) = (list.len(), limits::LIST_LENGTH);
    if index == length && index < most {
        list.push(Value::Null);
    }
    let full = format!("{path} is beyond the list, which has {length}; lists grow by one, up to {most}");
    list.get_mut(index).ok_or_else(|| bad(full))
}

/// A part of a mix has a weight, and is a text or a picture.
fn complete_part(request: &mut Map<String, Value>, segments: &[&str]) {
    let (Some(index), Some(set)) = (segments.get(1).and_then(|at| at.parse::<usize>().ok()), segments.get(2))
    else {
        return;
    };
    let part = request.get_mut("mix").and_then(|mix| mix.get_mut(index)).and_then(Value::as_object_mut);
    let Some(part) = part else { return };
    match *set {
        "text" => part.shift_remove("picture"),
        "picture" => part.shift_remove("text"),
        _ => None,
    };
    part.entry("weight").or_insert(json!(1.0));
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadRequest, message)
}
