//! One safetensors file as [`Weights`], read in pieces; the file is never mapped, so that neither its
//! pages count as ours nor a file that shrinks can kill the process.

use super::header::{self, Dtype, Entry};
use crate::weights::Weights;
use crate::{Error, Result};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes read at a time; a multiple of every element's size.
const PIECE: usize = 1 << 20;

/// An open safetensors file.
pub struct File {
    path: PathBuf,
    file: fs::File,
    data_start: u64,
    tensors: BTreeMap<String, Entry>,
}

/// The weights of a component in one file.
struct Single {
    component: String,
    file: File,
}

/// Opens `path` as the weights of `component`.
///
/// # Errors
/// When the file cannot be read, or its header is damaged.
pub fn open(path: &Path, component: &str) -> Result<Box<dyn Weights>> {
    Ok(Box::new(Single { component: component.to_owned(), file: File::open(path)? }))
}

impl File {
    /// Reads and checks the header of `path`.
    ///
    /// # Errors
    /// When it cannot be read or is damaged, or when a tensor is of a type that is not read here.
    /// Integer `position_ids`, which old checkpoints carry and no graph needs, are left out.
    pub fn open(path: &Path) -> Result<Self> {
        let corrupt = |reason: String| Error::Corrupt { path: path.to_owned(), reason };
        let io = |e| Error::io(path, "read", e);
        let file = fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut first = [0; 8];
        if size < 8 {
            return Err(corrupt(format!("it has {size} bytes, and a safetensors file at least 10")));
        }
        (&file).read_exact(&mut first).map_err(io)?;
        let length = header::check_length(first, size).map_err(corrupt)?;
        let mut text = Vec::new();
        (&file).take(length).read_to_end(&mut text).map_err(io)?;
        let data_start = 8 + length;
        let mut tensors = header::parse(&text, size - data_start).map_err(corrupt)?;
        tensors.retain(|name, entry| !is_position_ids(name, entry.dtype));
        if let Some((name, kind)) = tensors.iter().find_map(|(name, entry)| unreadable(name, entry)) {
            return Err(corrupt(format!(
                "the tensor {name} is of type {kind}, and F32, F16 and BF16 are read"
            )));
        }
        Ok(Self { path: path.to_owned(), file, data_start, tensors })
    }

    /// Every tensor by name.
    pub fn tensors(&self) -> &BTreeMap<String, Entry> {
        &self.tensors
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Feeds a tensor to `sink` as f32, at most a MiB of the file at a time.
    ///
    /// # Errors
    /// When there is no such tensor, it cannot be read, or `sink` fails.
    pub fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let corrupt = |reason: String| Error::Corrupt { path: self.path.clone(), reason };
        let io = |e| Error::io(&self.path, "read", e);
        let entry = self.tensors.get(name).ok_or_else(|| corrupt(format!("it lacks the tensor {name}")))?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data_start + entry.begin)).map_err(io)?;
        let mut bytes = vec![0; PIECE];
        let mut floats = Vec::new();
        let mut left = entry.end - entry.begin;
        while left > 0 {
            let length = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let piece = bytes.get_mut(..length).unwrap_or_default();
            file.read_exact(piece).map_err(io)?;
            widen(entry.dtype, piece, &mut floats);
            sink(&floats)?;
            left = left.saturating_sub(u64::try_from(length).unwrap_or(left));
        }
        Ok(())
    }
}

impl Weights for Single {
    fn component(&self) -> &str {
        &self.component
    }

    fn names(&self) -> Vec<&str> {
        self.file.tensors.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.file.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        if self.shape(name).is_none() {
            return Err(Error::MissingTensor { component: self.component.clone(), name: name.to_owned() });
        }
        self.file.stream(name, sink)
    }
}

fn is_position_ids(name: &str, dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Other(..)) && name.ends_with("position_ids")
}

fn unreadable<'a>(name: &'a str, entry: &Entry) -> Option<(&'a str, &'static str)> {
    match entry.dtype {
        Dtype::Other(kind, _) => Some((name, kind)),
        _ => None,
    }
}

fn widen(dtype: Dtype, bytes: &[u8], floats: &mut Vec<f32>) {
    floats.clear();
    match dtype {
        Dtype::F32 => floats.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b))),
        Dtype::F16 => {
            let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
            floats.resize(halves.len(), 0.0);
            halves.convert_to_f32_slice(floats);
        }
        Dtype::Bf16 => {
            floats.extend(bytes.as_chunks::<2>().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()));
        }
        Dtype::Other(..) => {}
    }
}
