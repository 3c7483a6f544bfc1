//! The one spelling of a request's settings: the paths of its JSON, what each takes, and how a door that has
//! keys and texts alone sets them.

use super::Size;
use crate::error::{Error, Kind, Result};
use crate::limits;
use serde_json::{Map, Value, json};

/// What a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A text, as it is.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Real,
    /// `true` or `false`.
    Switch,
    /// A list of whole numbers, such as `[1,2]`.
    List,
    /// A picture: the path of its file.
    Picture,
    /// Width and height, such as `512x768`.
    Size,
}

impl Form {
    /// What it takes, for messages and docs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Whole => "a whole number",
            Self::Real => "a number",
            Self::Switch => "true or false",
            Self::List => "a list of whole numbers such as [1,2]",
            Self::Picture => "a picture: the path of its file",
            Self::Size => "a size such as 512x768",
        }
    }

    /// Names of what it holds in JSON.
    const fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Picture => &["path", "sha256"],
            Self::Size => &["width", "height"],
            Self::List => &["*"],
            Self::Text | Self::Whole | Self::Real | Self::Switch => &[],
        }
    }
}

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path in the JSON of a request; `*` is a place in a list, from 0.
    pub path: &'static str,
    /// What it takes.
    pub form: Form,
    /// What it is.
    pub about: &'static str,
}

const fn key(path: &'static str, form: Form, about: &'static str) -> Key {
    Key { path, form, about }
}

/// Every setting of a request.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("prompt", Form::Text, "what the picture shows, in English or Russian"),
    key("prompt.*", Form::Text, "one of several prompts"),
    key("negative", Form::Text, "what it shall not show"),
    key("negative_prior", Form::Text, "the same for the prior alone"),
    key("negative_decoder", Form::Text, "the same for the decoder alone"),
    key("negative_picture", Form::Picture, "a picture whose look the decoder moves away from"),
    key("mix.*.text", Form::Text, "a part of a mix that is a text"),
    key("mix.*.picture", Form::Picture, "a part of a mix that is a picture"),
    key("mix.*.weight", Form::Real, "the part's share; 1 when it is not set"),
    key("blend", Form::Text, "how a mix becomes one: linear or spherical"),
    key("start.kind", Form::Text, "what the latents start from: noise, edit, inpaint or outpaint"),
    key("start.picture", Form::Picture, "the picture that is edited, inpainted or extended"),
    key("start.strength", Form::Real, "edit: how far from the picture, above 0 and at most 1"),
    key("start.mask", Form::Picture, "inpaint: white is painted anew; the transparent pixels when it is not set"),
    key("start.invert", Form::Switch, "inpaint: black is painted anew instead"),
    key("start.decoded", Form::Switch, "inpaint, outpaint: also what is kept comes from the decoder"),
    key("start.feather", Form::Whole, "inpaint, outpaint: pixels over which the painted part fades in"),
    key("start.frame.extend.left", Form::Whole, "outpaint: pixels to the left"),
    key("start.frame.extend.top", Form::Whole, "outpaint: pixels above"),
    key("start.frame.extend.right", Form::Whole, "outpaint: pixels to the right"),
    key("start.frame.extend.bottom", Form::Whole, "outpaint: pixels below"),
    key("start.frame.window.x", Form::Whole, "outpaint: the left side of a window over the picture"),
    key("start.frame.window.y", Form::Whole, "outpaint: its upper side"),
    key("start.frame.window.size", Form::Size, "outpaint: its size"),
    key("count", Form::Whole, "pictures of each prompt"),
    key("seed", Form::Whole, "seed of the first picture; picture i has seed + i"),
    key("seeds", Form::List, "a seed for each picture"),
    key("generator", Form::Text, "whose generator turns seeds into noise: torch-cpu or torch-cuda"),
    key("size", Form::Size, "size of the pictures"),
    key("aspect", Form::Text, "aspect ratio at the model's own area: 1:1, 2:3, 3:2, 9:16 or 16:9"),
    key("rounded", Form::Switch, "keep the size that was computed instead of cropping"),
    key("steps", Form::Whole, "decoder steps"),
    key("guidance", Form::Real, "decoder guidance; 1 and less turns it off"),
    key("guidance_interval", Form::Text, "the part of the way where the decoder is guided, such as 0.2..0.8"),
    key("deep_cache", Form::Whole, "run the UNet's deep levels at every n-th step alone"),
    key("sampler", Form::Text, "the decoder's sampler"),
    key("timesteps", Form::List, "the decoder's timesteps, instead of steps"),
    key("prior_steps", Form::Whole, "prior steps"),
    key("prior_guidance", Form::Real, "prior guidance; 1 and less turns it off"),
    key("prior_sampler", Form::Text, "the prior's sampler"),
    key("prior", Form::Text, "where image embeddings of texts come from: diffusion, linear, residual or none"),
    key("prior_file", Form::Text, "the file of a fitted prior"),
    key("weighted", Form::Switch, "read (word:1.3) in texts as a weight"),
    key("quantize", Form::Switch, "decode the nearest entries of MoVQ's codebook"),
    key("profile", Form::Text, "whose behaviour is reproduced: diffusers or original"),
];

/// Sets the setting at `path` of a request's JSON from a text in its form.
///
/// # Errors
/// [`Kind::BadRequest`] for a path that is unknown, with those that are known there, or a text of another form.
pub fn set(request: &mut Map<String, Value>, path: &str, text: &str) -> Result<()> {
    let segments: Vec<&str> = path.split('.').collect();
    let value = value_of(path, form_of(&segments)?, text)?;
    place(request, &segments, value)
}

/// Sets the picture at `path` to the one of that hash, which the caller holds.
///
/// # Errors
/// As [`set`]; also for a path that takes no picture.
pub fn set_picture(request: &mut Map<String, Value>, path: &str, sha256: &str) -> Result<()> {
    let segments: Vec<&str> = path.split('.').collect();
    match form_of(&segments)? {
        Form::Picture => place(request, &segments, json!({ "sha256": sha256 })),
        form => Err(bad(format!("{path} is no picture; it takes {}", form.name()))),
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
        let parts = key.form.parts().iter().map({
            let whole = whole.clone();
            move |part| whole.iter().chain([part]).copied().collect()
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

fn form_of(segments: &[&str]) -> Result<Form> {
    let mut at = Vec::with_capacity(segments.len());
    for segment in segments {
        let known = below(&at);
        let place = if is_place(segment) { "*" } else { *segment };
        match known.iter().find(|name| **name == place && *segment != "*") {
            Some(name) => at.push(*name),
            None => return Err(unknown(&at, segment)),
        }
    }
    let whole = KEYS.iter().find(|key| key.path.split('.').eq(at.iter().copied()));
    let part = || {
        let (last, before) = at.split_last()?;
        let key = KEYS.iter().find(|key| key.path.split('.').eq(before.iter().copied()))?;
        key.form.parts().contains(last).then_some(match key.form {
            Form::Picture => Form::Text,
            _ => Form::Whole,
        })
    };
    whole.map(|key| key.form).or_else(part).ok_or_else(|| {
        bad(format!("{} is no setting by itself; it has {}", segments.join("."), below(&at).join(", ")))
    })
}

fn is_place(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn unknown(at: &[&str], name: &str) -> Error {
    let known = below(at).join(", ");
    let name: String = name.chars().take(40).collect();
    let name = at.iter().copied().chain([name.as_str()]).collect::<Vec<_>>().join(".");
    let known =
        if known.is_empty() { "nothing is known there".to_owned() } else { format!("known are {known}") };
    bad(format!("a request has no key {name:?}; {known}"))
}

fn value_of(path: &str, form: Form, text: &str) -> Result<Value> {
    let wrong = || {
        let text: String = text.chars().take(40).collect();
        bad(format!("{path} is {text:?}; it takes {}", form.name()))
    };
    let value = match form {
        Form::Text => return Ok(text.into()),
        Form::Picture => return Ok(json!({ "path": text })),
        Form::Size => match text.parse::<Size>() {
            Ok(Size { width, height }) => return Ok(json!({ "width": width, "height": height })),
            Err(_) => return Err(wrong()),
        },
        _ => serde_json::from_str(text).map_err(|_| wrong())?,
    };
    let fits = match (&value, form) {
        (Value::Number(number), Form::Whole) => number.is_u64() || number.is_i64(),
        (Value::Number(_), Form::Real) | (Value::Bool(_), Form::Switch) => true,
        (Value::Array(list), Form::List) => list.iter().all(|one| one.is_u64() || one.is_i64()),
        _ => false,
    };
    if fits { Ok(value) } else { Err(wrong()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guidance::Interval;
    use crate::request::{Blend, Frame, Generator, Input, Part, PriorKind, Profile, Request, Seam, Start};
    use std::collections::BTreeSet;

    /// Requests in which together every setting is set.
    fn full() -> Vec<Request> {
        let seam = Seam { decoded: true, feather: 3 };
        let window = Frame::Window { x: -1, y: 2, size: Size { width: 64, height: 64 } };
        let extend = Frame::Extend { left: 1, top: 2, right: 3, bottom: 4 };
        let all = Request {
            prompt: vec!["a".to_owned(), "b".to_owned()],
            negative: Some("n".to_owned()),
            negative_prior: Some("n".to_owned()),
            negative_decoder: Some("n".to_owned()),
            negative_picture: Some(Input::file("n.png")),
            mix: vec![Part::text("t", 0.5), Part::picture("p.png", 0.5)],
            blend: Blend::Spherical,
            start: Start::Edit { picture: "e.png".into(), strength: 0.5 },
            count: 2,
            seed: Some(1),
            seeds: vec![1],
            generator: Generator::TorchCuda,
            size: Some(Size { width: 64, height: 64 }),
            aspect: Some("1:1".to_owned()),
            rounded: true,
            steps: Some(1),
            guidance: Some(1.0),
            sampler: Some("ddim".to_owned()),
            timesteps: vec![1],
            prior_steps: Some(2),
            prior_guidance: Some(1.0),
            prior_sampler: Some("ddim".to_owned()),
            prior: PriorKind::None,
            prior_file: Some("f".into()),
            weighted: true,
            quantize: true,
            profile: Profile::Original,
            guidance_interval: Interval::new(0.25, 0.75).unwrap(),
            deep_cache: 2,
        };
        let inpaint =
            Start::Inpaint { picture: "i.png".into(), mask: Some("m.png".into()), invert: true, seam };
        let outpaint = |frame| Start::Outpaint { picture: "o.png".into(), frame, seam };
        let starts = [all.start.clone(), inpaint, outpaint(window), outpaint(extend)];
        let one = Request { prompt: vec!["a".to_owned()], ..all.clone() };
        starts.into_iter().map(|start| Request { start, ..all.clone() }).chain([one]).collect()
    }

    fn object(request: &Request) -> Map<String, Value> {
        match serde_json::to_value(request).unwrap() {
            Value::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    /// The paths of what a JSON holds, with `*` for places in lists.
    fn leaves(value: &Value, at: &str, found: &mut BTreeSet<String>) {
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(name, value)| leaves(value, &below(name), found))
            }
            Value::Array(list) => list.iter().for_each(|value| leaves(value, &below("*"), found)),
            _ => {
                found.insert(at.to_owned());
            }
        }
    }

    #[test]
    fn the_table_has_the_fields_of_a_request_and_no_others() {
        let mut found = BTreeSet::new();
        full().iter().for_each(|request| leaves(&Value::Object(object(request)), "", &mut found));
        let hidden = ["sha256"];
        let known: BTreeSet<String> = KEYS
            .iter()
            .flat_map(|key| {
                let parts = key.form.parts().iter().filter(|part| !hidden.contains(part));
                let parts: Vec<_> = parts.map(|part| format!("{}.{part}", key.path)).collect();
                if parts.is_empty() { vec![key.path.to_owned()] } else { parts }
            })
            .collect();
        assert_eq!(found, known);
    }

    #[test]
    fn a_request_that_is_set_by_keys_is_the_one_that_was_written() {
        for request in full() {
            let mut found = BTreeSet::new();
            let written = Value::Object(object(&request));
            places(&written, "", &mut found);
            let mut set_by_keys = Map::new();
            for (path, text) in found {
                set(&mut set_by_keys, &path, &text).unwrap();
            }
            assert_eq!(Request::from_object(&set_by_keys).unwrap(), request);
        }
    }

    /// Every leaf's path with its value as a text.
    fn places(value: &Value, at: &str, found: &mut BTreeSet<(String, String)>) {
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
        match value {
            Value::Object(object) => {
                object.iter().for_each(|(name, value)| places(value, &below(name), found))
            }
            Value::Array(list) if ["seeds", "timesteps"].contains(&at) => {
                found.insert((at.to_owned(), Value::Array(list.clone()).to_string()));
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| places(value, &below(&i.to_string()), found));
            }
            Value::String(text) => {
                found.insert((at.to_owned(), text.clone()));
            }
            other => {
                found.insert((at.to_owned(), other.to_string()));
            }
        }
    }

    #[test]
    fn what_no_request_has_is_refused_by_name() {
        let refused = |json: &str| Request::from_json(json).unwrap_err().to_string();
        for (json, named) in [
            (r#"{"colour":1}"#, "\"colour\"; known are prompt, negative"),
            (r#"{"start":{"kind":"edit","picture":{"path":"a"},"strength":1,"masc":{}}}"#, "\"start.masc\""),
            (r#"{"mix":[{"text":"a","weight":1,"junk":2}]}"#, "\"mix.*.junk\""),
            (r#"{"mix":[{"text":"a","picture":{"path":"b"},"weight":1}]}"#, "one is both"),
            (
                r#"{"start":{"kind":"edit","picture":{"path":"a"},"strength":1,"mask":{"path":"m"}}}"#,
                "`mask`",
            ),
            (r#"{"start":{"kind":"inpaint","picture":{"path":"a"},"strength":0.5}}"#, "strength"),
            (r#"{"steps":"many"}"#, "steps: invalid type"),
            (r#"{"start":{"kind":"edit"}}"#, "start: missing field"),
            ("[1]", "no object"),
            ("{", "no JSON"),
            (r#"{"*":1}"#, "no key"),
        ] {
            assert!(refused(json).contains(named), "{json}: {}", refused(json));
        }
        assert!(refused(&" ".repeat(limits::PICTURE_TEXT_BYTES + 1)).contains("the limit is"));
        let carried = r#"{"program":"p","model":"m","request":{"prompt":"a fox","steps":3}}"#;
        assert_eq!(Request::from_json(carried).unwrap(), Request::text_to_image("a fox").steps(3));
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        let mut json = Map::new();
        for (path, text) in [
            ("steps", "2.5"),
            ("steps", "many"),
            ("guidance", "x"),
            ("weighted", "1"),
            ("seeds", "[1,\"a\"]"),
            ("size", "big"),
            ("mix", "a"),
            ("mix.*.text", "a"),
            ("mix.1.text", "a"),
            ("start.frame", "x"),
            ("", "x"),
            ("prompt.x", "a"),
        ] {
            assert_eq!(set(&mut json, path, text).unwrap_err().kind(), Kind::BadRequest, "{path}");
        }
        assert!(set_picture(&mut json, "steps", "0").is_err());
        set(&mut json, "mix.0.text", "a").unwrap();
        set(&mut json, "mix.0.picture", "b.png").unwrap();
        let read = Request::from_object(&json).unwrap();
        assert_eq!(read.mix, [Part::picture("b.png", 1.0)], "the last of text and picture counts");
    }
}
