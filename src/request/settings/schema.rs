//! JSON Schema (draft 2020-12) of a request, for whoever writes one by program.

use super::shape::Shape;
use super::shape::members::{MIX, Member, START};
use super::{SETTINGS, Setting};
use crate::limits;
use serde_json::{Map, Value, json};

/// The schema of a request's JSON.
pub fn schema() -> Value {
    let properties: Map<String, Value> =
        SETTINGS.iter().map(|setting| (setting.name.to_owned(), property(setting))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kandinsky request",
        "description": "What to draw. What is not set comes from the model; null is as if it were not set.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn property(setting: &Setting) -> Value {
    let mut property = nullable(of_shape(&setting.shape));
    set(&mut property, "description", setting.help());
    let default = setting.default();
    if !default.is_null() {
        set(&mut property, "default", default);
    }
    property
}

/// The values that a shape takes, null apart.
fn of_shape(shape: &Shape) -> Value {
    let text = || json!({ "type": "string", "maxLength": limits::PROMPT_BYTES });
    match shape {
        Shape::Text(_) => text(),
        Shape::Prompts => {
            let several =
                json!({ "type": "array", "minItems": 1, "maxItems": limits::COUNT.max, "items": text() });
            json!({ "anyOf": [text(), several] })
        }
        Shape::Path => json!({ "type": "string", "maxLength": limits::PATH_BYTES }),
        Shape::Word(words) => json!({ "type": "string", "enum": words.all() }),
        Shape::Whole(limit) => json!({ "type": "integer", "minimum": limit.min, "maximum": limit.max }),
        Shape::Real(limit) => json!({ "type": "number", "minimum": limit.min, "maximum": limit.max }),
        Shape::Strength => {
            let limit = limits::STRENGTH;
            json!({ "type": "number", "exclusiveMinimum": limit.min, "maximum": limit.max })
        }
        Shape::Switch => json!({ "type": "boolean" }),
        Shape::Seed => json!({ "type": "integer", "minimum": limits::SEED.min, "maximum": limits::SEED.max }),
        Shape::Offset => {
            json!({ "type": "integer", "minimum": limits::OFFSET.min, "maximum": limits::OFFSET.max })
        }
        Shape::Seeds | Shape::Timesteps => {
            let items = shape.parts().first().map(|(_, _, one)| of_shape(one));
            json!({ "type": "array", "maxItems": limits::LIST_LENGTH, "items": items })
        }
        Shape::Picture => named_parts(shape, &[]),
        Shape::Size => named_parts(shape, &["width", "height"]),
        Shape::Interval => {
            json!({ "type": "string", "pattern": r"^\s*[0-9.eE+-]+\s*\.\.\s*[0-9.eE+-]+\s*$" })
        }
        Shape::Mix => json!({ "type": "array", "maxItems": limits::MIX_PARTS.max, "items": part_of_mix() }),
        Shape::Start => start(),
    }
}

fn named_parts(shape: &Shape, required: &[&str]) -> Value {
    let parts = shape.parts().iter().map(|(name, _, part)| ((*name).to_owned(), of_shape(part)));
    object(parts.collect(), required)
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn described(member: &Member) -> Value {
    let mut value = of_shape(&member.shape);
    set(&mut value, "description", member.about);
    value
}

/// A text or a picture with its weight.
fn part_of_mix() -> Value {
    // Members of a part stand behind `*.`.
    let named = MIX.iter().filter_map(|member| Some((member.path.get(2..)?.to_owned(), described(member))));
    let mut part = object(named.collect(), &[]);
    set(&mut part, "oneOf", json!([{ "required": ["text"] }, { "required": ["picture"] }]));
    part
}

/// One object for each kind of start.
fn start() -> Value {
    let kinds = START.iter().find_map(|member| match &member.shape {
        Shape::Word(words) => Some(words.all()),
        _ => None,
    });
    let one_of: Vec<_> = kinds.unwrap_or_default().into_iter().map(start_of).collect();
    json!({ "anyOf": one_of })
}

fn start_of(kind: &'static str) -> Value {
    let mut properties = Map::from_iter([("kind".to_owned(), json!({ "const": kind }))]);
    let members = || START.iter().filter(|member| member.kinds.contains(&kind));
    for member in members().filter(|member| !member.path.contains('.')) {
        let value = if member.is_required() { described(member) } else { nullable(described(member)) };
        properties.insert(member.path.to_owned(), value);
    }
    let mut required: Vec<&str> = vec!["kind"];
    required.extend(members().filter(|member| member.is_required()).map(|member| member.path));
    if members().any(|member| member.path.starts_with("frame.")) {
        properties.insert("frame".to_owned(), json!({ "oneOf": [frame("extend"), frame("window")] }));
        required.push("frame");
    }
    object(properties, &required)
}

/// The frame of an outpainting: one object with one key.
fn frame(name: &str) -> Value {
    let prefix = format!("frame.{name}.");
    let sides = START.iter().filter_map(|member| Some((member.path.strip_prefix(&prefix)?, member)));
    let names: Vec<&str> = sides.clone().map(|(side, _)| side).collect();
    let inner = object(sides.map(|(side, member)| (side.to_owned(), described(member))).collect(), &names);
    object(Map::from_iter([(name.to_owned(), inner)]), &[name])
}

/// The same schema, or null.
fn nullable(mut schema: Value) -> Value {
    let words = schema.get_mut("enum").and_then(Value::as_array_mut);
    words.into_iter().for_each(|words| words.push(Value::Null));
    if let Some(alternatives) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        alternatives.push(json!({ "type": "null" }));
    } else if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

fn set(schema: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(object) = schema.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
}
