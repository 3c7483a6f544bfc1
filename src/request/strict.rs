//! JSON in which no key stands twice: a reader that takes the last of two would draw what nobody meant.

use crate::error::{Error, Kind, Result};
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use std::fmt;

/// JSON, and the first key that stands twice in one of its objects.
pub(super) struct Json {
    value: Value,
    twice: Option<String>,
}

impl Json {
    /// The JSON, unless a key stands there twice.
    pub(super) fn refuse_twice(self) -> Result<Value> {
        match self.twice {
            Some(name) => Err(Error::new(Kind::BadRequest, format!("{name} is given twice; give it once"))),
            None => Ok(self.value),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut twice = None;
        let value = Reader { twice: &mut twice }.deserialize(deserializer)?;
        Ok(Self { value, twice })
    }
}

/// An object, and the first key that stands twice in it.
pub(super) struct Object(Json);

impl Object {
    /// The object, unless a key stands there twice.
    pub(super) fn refuse_twice(self) -> Result<Map<String, Value>> {
        match self.0.refuse_twice()? {
            Value::Object(object) => Ok(object),
            _ => Err(Error::new(Kind::BadRequest, "the request's JSON is no object")),
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Json::deserialize(deserializer).map(Self)
    }
}

struct Reader<'t> {
    twice: &'t mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(Reader { twice: &mut *self.twice })? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Reader { twice: &mut *self.twice })?;
            if object.contains_key(&name) {
                self.twice.get_or_insert_with(|| name.chars().take(super::form::SHOWN).collect());
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
