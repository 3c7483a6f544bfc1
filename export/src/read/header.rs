//! The header of a safetensors file, believed only after every claim in it was checked.
//!
//! Layout: 8 bytes little-endian length N, N bytes of JSON (name → dtype, shape, data_offsets), then the
//! tensors' bytes without holes. Nothing is allocated by a number that the file states before that
//! number was compared with the file's size and with the limits below.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest header.
pub const MAX_HEADER: u64 = 8 << 20;
/// Most tensors in one file.
pub const MAX_TENSORS: usize = 16_384;
/// Most sides of a tensor.
pub const MAX_RANK: usize = 8;
/// Longest name of a tensor, in bytes.
pub const MAX_NAME: usize = 256;

/// What a header says of one tensor, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How an element is stored.
    pub dtype: Dtype,
    /// Sides.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub elements: u64,
    /// Where its bytes begin, counted from the end of the header.
    pub begin: u64,
    /// Where they end.
    pub end: u64,
}

/// How an element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// IEEE 16-bit float.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// Not a float that is read here: its name and bytes an element.
    Other(&'static str, u64),
}

impl Dtype {
    const ALL: [(&'static str, Self); 14] = [
        ("F32", Self::F32),
        ("F16", Self::F16),
        ("BF16", Self::Bf16),
        ("F64", Self::Other("F64", 8)),
        ("I64", Self::Other("I64", 8)),
        ("I32", Self::Other("I32", 4)),
        ("I16", Self::Other("I16", 2)),
        ("I8", Self::Other("I8", 1)),
        ("U64", Self::Other("U64", 8)),
        ("U32", Self::Other("U32", 4)),
        ("U16", Self::Other("U16", 2)),
        ("U8", Self::Other("U8", 1)),
        ("BOOL", Self::Other("BOOL", 1)),
        ("F8_E4M3", Self::Other("F8_E4M3", 1)),
    ];

    /// Bytes an element.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_, bytes) => bytes,
        }
    }
}

/// The length of the header that a file of `size` bytes may have, from its first 8 bytes.
///
/// # Errors
/// With what is wrong, in words.
pub fn check_length(first: [u8; 8], size: u64) -> Result<u64, String> {
    let length = u64::from_le_bytes(first);
    let room = size.saturating_sub(8);
    if length > room {
        return Err(format!("its header claims {length} bytes, and {room} follow"));
    }
    if length > MAX_HEADER {
        return Err(format!("its header has {length} bytes; the limit is {MAX_HEADER}"));
    }
    if length < 2 {
        return Err(format!("its header has {length} bytes, which no JSON object fits"));
    }
    Ok(length)
}

/// Reads a header's text; `data` is the number of bytes that follow it in the file.
///
/// # Errors
/// With what is wrong, in words.
pub fn parse(text: &[u8], data: u64) -> Result<BTreeMap<String, Entry>, String> {
    let text = std::str::from_utf8(text).map_err(|e| format!("its header is not UTF-8: {e}"))?;
    let mut json = serde_json::Deserializer::from_str(text);
    let entries = HeaderSeed.deserialize(&mut json).map_err(|e| format!("its header is wrong: {e}"))?;
    json.end().map_err(|e| format!("its header goes on after its end: {e}"))?;
    check_layout(&entries, data)?;
    Ok(entries)
}

/// Tensors lie one after the other, from the first byte to the last.
fn check_layout(entries: &BTreeMap<String, Entry>, data: u64) -> Result<(), String> {
    let mut order: Vec<_> = entries.iter().map(|(name, entry)| (entry.begin, entry.end, name)).collect();
    order.sort_unstable();
    let mut at = 0;
    for (begin, end, name) in order {
        if end > data {
            return Err(format!("the tensor {name} ends at byte {end} of {data}"));
        }
        if begin < at {
            return Err(format!("the tensor {name} overlaps another at byte {begin}"));
        }
        if begin > at {
            return Err(format!("a hole of {} bytes lies before the tensor {name}", begin - at));
        }
        at = end;
    }
    if at < data { Err(format!("{} bytes follow the last tensor", data - at)) } else { Ok(()) }
}

struct HeaderSeed;

impl<'de> DeserializeSeed<'de> for HeaderSeed {
    type Value = BTreeMap<String, Entry>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed {
    type Value = BTreeMap<String, Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        let mut metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut metadata, true) {
                    return Err(A::Error::custom("__metadata__ is there twice"));
                }
                map.next_value::<BTreeMap<String, String>>()?;
                continue;
            }
            if name.len() > MAX_NAME {
                return Err(A::Error::custom(format!(
                    "a name has {} bytes; the limit is {MAX_NAME}",
                    name.len()
                )));
            }
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("the tensor {name} is there twice")));
            }
            if entries.len() >= MAX_TENSORS {
                return Err(A::Error::custom(format!("it has more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value_seed(EntrySeed(&name))?;
            entries.insert(name, entry);
        }
        Ok(entries)
    }
}

/// Reads the claims about the tensor of that name.
struct EntrySeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Entry, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dtype, shape and data_offsets of the tensor {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut dtype: Option<String> = None;
        let mut shape: Option<Vec<u64>> = None;
        let mut offsets: Option<Vec<u64>> = None;
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dtype" => dtype = Some(map.next_value()?),
                "shape" => shape = Some(map.next_value_seed(Numbers(MAX_RANK))?),
                "data_offsets" => offsets = Some(map.next_value_seed(Numbers(2))?),
                _ => {
                    return Err(A::Error::custom(format!(
                        "the tensor {} has the unknown field {key:?}",
                        self.0
                    )));
                }
            }
            if !seen.insert(key) {
                return Err(A::Error::custom(format!("the tensor {} states a field twice", self.0)));
            }
        }
        let lacks = |field| A::Error::custom(format!("the tensor {} lacks {field}", self.0));
        let claims = Claims {
            dtype: dtype.ok_or_else(|| lacks("dtype"))?,
            shape: shape.ok_or_else(|| lacks("shape"))?,
            offsets: offsets.ok_or_else(|| lacks("data_offsets"))?,
        };
        claims.check(self.0).map_err(A::Error::custom)
    }
}

/// A list of at most so many whole numbers.
struct Numbers(usize);

impl<'de> DeserializeSeed<'de> for Numbers {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<u64>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} whole numbers", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element()? {
            if numbers.len() == self.0 {
                return Err(A::Error::custom(format!("a list has more than {} numbers", self.0)));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// What a header says of one tensor, not yet believed.
struct Claims {
    dtype: String,
    shape: Vec<u64>,
    offsets: Vec<u64>,
}

impl Claims {
    fn check(&self, name: &str) -> Result<Entry, String> {
        let known = Dtype::ALL.iter().find(|(text, _)| *text == self.dtype);
        let (_, dtype) =
            known.ok_or_else(|| format!("the tensor {name} has the unknown type {:?}", self.dtype))?;
        let &[begin, end] = self.offsets.as_slice() else {
            return Err(format!("the tensor {name} has {} offsets instead of 2", self.offsets.len()));
        };
        if begin > end {
            return Err(format!("the tensor {name} begins at byte {begin} and ends before it, at {end}"));
        }
        let overflow = || format!("the shape {:?} of the tensor {name} overflows", self.shape);
        let product = self.shape.iter().try_fold(1_u64, |all, side| all.checked_mul(*side));
        let elements = product.ok_or_else(overflow)?;
        let bytes = elements.checked_mul(dtype.bytes()).ok_or_else(overflow)?;
        if bytes != end - begin {
            let stated = end - begin;
            let Self { shape, dtype, .. } = self;
            return Err(format!(
                "the tensor {name} has {stated} bytes, and {shape:?} of {dtype} needs {bytes}"
            ));
        }
        let shape: Result<_, _> = self.shape.iter().map(|side| usize::try_from(*side)).collect();
        Ok(Entry { dtype: *dtype, shape: shape.map_err(|_| overflow())?, elements, begin, end })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn refused(text: &str, data: u64, part: &str) {
        let error = parse(text.as_bytes(), data).unwrap_err();
        assert!(error.contains(part), "{text:.200}: {error}");
    }

    #[test]
    fn a_plain_header_is_read() {
        let text = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},
            "b":{"dtype":"BF16","shape":[],"data_offsets":[12,14]}}   "#;
        let entries = parse(text.as_bytes(), 14).unwrap();
        assert_eq!(entries["a"].shape, [2, 3]);
        assert_eq!(entries["b"].elements, 1);
        assert_eq!(entries["b"].dtype, Dtype::Bf16);
        assert!(parse(b"{}", 0).unwrap().is_empty());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (length, part) in [
            (0, "no JSON object"),
            (1, "no JSON object"),
            (93, "claims 93"),
            (1 << 63, "claims 9223372036854775808"),
            (u64::MAX, "claims 18446744073709551615"),
        ] {
            let error = check_length(u64::to_le_bytes(length), 100).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = check_length(u64::to_le_bytes(MAX_HEADER + 1), 1 << 40).unwrap_err();
        assert!(error.contains("limit is 8388608"), "{error}");
        assert_eq!(check_length(u64::to_le_bytes(MAX_HEADER), 1 << 40), Ok(MAX_HEADER));
        assert_eq!(check_length(u64::to_le_bytes(92), 100), Ok(92));
    }

    #[test]
    fn every_lie_has_its_sentence() {
        let one = |shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        refused(&one("[1]", "[0,5]"), 5, "has 5 bytes");
        refused(&one("[1]", "[4,0]"), 4, "ends before it");
        refused(&one("[1]", "[-4,0]"), 4, "integer `-4`");
        refused(&one("[-1]", "[0,4]"), 4, "integer `-1`");
        refused(&one("[1]", "[0]"), 4, "1 offsets instead of 2");
        refused(&one("[1]", "[0,4,8]"), 4, "more than 2 numbers");
        refused(&one("[1]", "[0,4]"), 3, "ends at byte 4 of 3");
        refused(&one("[1]", "[0,4]"), 9, "5 bytes follow");
        refused(&one("[1]", "[4,8]"), 8, "hole of 4 bytes");
        refused(&one("[4294967296,4294967296]", "[0,4]"), 4, "overflows");
        refused(&one("[4611686018427387904]", "[0,4]"), 4, "overflows");
        refused(&one("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 8 numbers");
        refused(r#"{"a":{"dtype":"X","shape":[],"data_offsets":[0,1]}}"#, 1, "unknown type");
        refused(r#"{"a":{"shape":[],"data_offsets":[0,1]}}"#, 1, "lacks dtype");
        refused(r#"{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}"#, 1, "a field twice");
        refused(r#"{"a":{"dtype":"U8","x":1,"shape":[],"data_offsets":[0,1]}}"#, 1, "unknown field");
        refused("{} {}", 0, "goes on");
        refused("[]", 0, "expected an object");
    }

    #[test]
    fn duplicates_overlaps_and_crowds_are_refused() {
        let tensor = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
        refused(&format!(r#"{{"a":{tensor},"a":{tensor}}}"#), 1, "a is there twice");
        refused(&format!(r#"{{"a":{tensor},"b":{tensor}}}"#), 1, "overlaps");
        refused(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "__metadata__ is there twice");
        refused(&format!(r#"{{"{}":{tensor}}}"#, "n".repeat(257)), 1, "257 bytes");
        let empty = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
        let crowd = |n: usize| {
            let all: Vec<_> = (0..n).map(|i| format!(r#""{i}":{empty}"#)).collect();
            format!("{{{}}}", all.join(","))
        };
        assert_eq!(parse(crowd(MAX_TENSORS).as_bytes(), 0).unwrap().len(), MAX_TENSORS);
        refused(&crowd(MAX_TENSORS + 1), 0, "more than 16384 tensors");
        refused(&"[".repeat(200_000), 0, "expected an object");
        refused(&format!(r#"{{"a":{{"x":{}"#, "[".repeat(200_000)), 0, "unknown field");
        assert!(parse(b"{\"\xff\":1}", 0).unwrap_err().contains("UTF-8"));
    }
}
