//! A component's weights in several safetensors files with an index, as large checkpoints have them.

use super::header::MAX_TENSORS;
use super::safetensors::File;
use crate::weights::Weights;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Largest index that is read.
const MAX_INDEX: u64 = 8 << 20;
/// Most shards of one component.
const MAX_SHARDS: usize = 256;

struct Sharded {
    component: String,
    shards: BTreeMap<String, File>,
    map: BTreeMap<String, String>,
}

/// Opens the shards of the index at `path` as the weights of `component`.
///
/// # Errors
/// When the index or a shard cannot be read, a shard lies outside the folder, or the tensors of the
/// shards are not those of the index.
pub fn open(path: &Path, component: &str) -> Result<Box<dyn Weights>> {
    let corrupt = |reason: String| Error::Corrupt { path: path.to_owned(), reason };
    let map = read_map(path)?;
    let mut shards = BTreeMap::new();
    for name in map.values().collect::<BTreeSet<_>>() {
        shards.insert(name.clone(), File::open(&locate(path, name)?)?);
    }
    for (tensor, shard) in &map {
        let held = shards.get(shard).is_some_and(|file| file.tensors().contains_key(tensor));
        if !held && !tensor.ends_with("position_ids") {
            return Err(corrupt(format!("it puts the tensor {tensor} into {shard}, which lacks it")));
        }
    }
    for (shard, file) in &shards {
        let stray = file.tensors().keys().find(|tensor| map.get(*tensor) != Some(shard));
        if let Some(tensor) = stray {
            return Err(corrupt(format!("it does not put the tensor {tensor} into {shard}, which holds it")));
        }
    }
    let map = map
        .into_iter()
        .filter(|(tensor, shard)| shards.get(shard).is_some_and(|file| file.tensors().contains_key(tensor)));
    Ok(Box::new(Sharded { component: component.to_owned(), map: map.collect(), shards }))
}

/// The shards that the index at `path` names, sorted.
///
/// # Errors
/// When the index cannot be read, or names a file that is missing or outside the folder.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let map = read_map(path)?;
    let names: BTreeSet<_> = map.values().collect();
    names.into_iter().map(|name| locate(path, name)).collect()
}

fn locate(index: &Path, name: &str) -> Result<PathBuf> {
    let corrupt = |reason: String| Error::Corrupt { path: index.to_owned(), reason };
    let plain = kandinsky_models::path::check_name(name).is_ok() && !name.contains('/');
    if !plain || !name.ends_with(".safetensors") {
        return Err(corrupt(format!("its shard {name:?} is not a .safetensors file of the same folder")));
    }
    let file = index.with_file_name(name);
    if file.is_file() { Ok(file) } else { Err(Error::MissingFile(file)) }
}

fn read_map(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let corrupt = |reason: String| Error::Corrupt { path: path.to_owned(), reason };
    let size = path.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    if size > MAX_INDEX {
        return Err(corrupt(format!("it has {size} bytes; the limit is {MAX_INDEX}")));
    }
    let text = std::fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| corrupt(e.to_string()))?;
    let count = index.weight_map.len();
    if count == 0 || count > MAX_TENSORS {
        return Err(corrupt(format!("it names {count} tensors; the limits are 1 and {MAX_TENSORS}")));
    }
    let shards = index.weight_map.values().collect::<BTreeSet<_>>().len();
    if shards > MAX_SHARDS {
        return Err(corrupt(format!("it names {shards} shards; the limit is {MAX_SHARDS}")));
    }
    Ok(index.weight_map)
}

impl Sharded {
    fn file(&self, tensor: &str) -> Option<&File> {
        self.shards.get(self.map.get(tensor)?)
    }
}

impl Weights for Sharded {
    fn component(&self) -> &str {
        &self.component
    }

    fn names(&self) -> Vec<&str> {
        self.map.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(self.file(name)?.tensors().get(name)?.shape.as_slice())
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let missing = || Error::MissingTensor { component: self.component.clone(), name: name.to_owned() };
        self.file(name).ok_or_else(missing)?.stream(name, sink)
    }
}
