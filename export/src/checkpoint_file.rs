//! Writing safetensors: one file, or shards with an index; hashed on the way, the same bytes every time.

use crate::weights::Weights;
use crate::{Error, Result};
use half::{bf16, f16};
use kandinsky_models::hash::HashingWriter;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// How elements are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoredDtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// IEEE 16-bit floats, rounded to nearest even.
    F16,
    /// The upper halves of 32-bit floats, rounded to nearest even.
    Bf16,
}

impl StoredDtype {
    const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    const fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Writes all of `weights` into `folder` as `<stem>.safetensors`, or, where they are longer than
/// `limit` bytes, as numbered shards of at most that (a longer tensor has a shard of its own) with an
/// index. `progress` is told the bytes written since it was last told; its error stops the writing.
///
/// # Errors
/// When a weight cannot be read, a file cannot be written, or `progress` says so.
pub fn write_all(
    folder: &Path,
    stem: &str,
    weights: &dyn Weights,
    (stored, limit): (StoredDtype, Option<u64>),
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let shards = split(weights, stored, limit.unwrap_or(u64::MAX));
    if let [names] = shards.as_slice() {
        let path = folder.join(format!("{stem}.safetensors"));
        return write(&path, weights, names, stored, progress).map(drop);
    }
    let mut map = Map::new();
    for (i, names) in shards.iter().enumerate() {
        let file = format!("{stem}-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        write(&folder.join(&file), weights, names, stored, progress)?;
        map.extend(names.iter().map(|name| ((*name).to_owned(), Value::from(file.as_str()))));
    }
    map.sort_keys();
    let total: u64 = weights.names().into_iter().map(|name| length(weights, name, stored)).sum();
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    let path = folder.join(format!("{stem}.safetensors.index.json"));
    std::fs::write(&path, format!("{index:#}\n")).map_err(|e| Error::io(&path, "written", e))
}

/// Tensors in the order of their names, cut where the next would pass the limit.
fn split(weights: &dyn Weights, stored: StoredDtype, limit: u64) -> Vec<Vec<&str>> {
    let mut shards = vec![Vec::new()];
    let mut filled = 0_u64;
    for name in weights.names() {
        let bytes = length(weights, name, stored);
        if filled > 0 && filled.saturating_add(bytes) > limit {
            shards.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        shards.last_mut().into_iter().for_each(|shard| shard.push(name));
    }
    shards
}

/// Bytes of a tensor as stored.
pub(crate) fn length(weights: &dyn Weights, name: &str, stored: StoredDtype) -> u64 {
    let sides = weights.shape(name).unwrap_or_default().iter();
    sides.fold(stored.bytes(), |all, side| all.saturating_mul(u64::try_from(*side).unwrap_or(u64::MAX)))
}

/// Writes the named tensors into one file; gives its SHA-256 and size.
///
/// # Errors
/// As [`write_all`].
pub(crate) fn write(
    path: &Path,
    weights: &dyn Weights,
    names: &[&str],
    stored: StoredDtype,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<(String, u64)> {
    let io = |e| Error::io(path, "written", e);
    let mut file = HashingWriter::new(BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?));
    file.write_all(&header(weights, names, stored)).map_err(io)?;
    let mut bytes = Vec::new();
    for name in names {
        weights.stream(name, &mut |piece| {
            encode(piece, stored, &mut bytes);
            file.write_all(&bytes).map_err(io)?;
            progress(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        })?;
    }
    file.flush().map_err(io)?;
    let (_, sha256, size) = file.finish();
    Ok((sha256, size))
}

fn header(weights: &dyn Weights, names: &[&str], stored: StoredDtype) -> Vec<u8> {
    let mut tensors = Map::new();
    tensors.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut at = 0_u64;
    for name in names {
        let end = at.saturating_add(length(weights, name, stored));
        let shape = weights.shape(name).unwrap_or_default();
        let entry = json!({"dtype": stored.name(), "shape": shape, "data_offsets": [at, end]});
        tensors.insert((*name).to_owned(), entry);
        at = end;
    }
    let mut text = Value::Object(tensors).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut all = u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes().to_vec();
    all.append(&mut text);
    all
}

fn encode(piece: &[f32], stored: StoredDtype, bytes: &mut Vec<u8>) {
    bytes.clear();
    match stored {
        StoredDtype::F32 => piece.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes())),
        StoredDtype::F16 => {
            piece.iter().for_each(|x| bytes.extend_from_slice(&f16::from_f32(*x).to_le_bytes()))
        }
        StoredDtype::Bf16 => {
            piece.iter().for_each(|x| bytes.extend_from_slice(&bf16::from_f32(*x).to_le_bytes()))
        }
    }
}
