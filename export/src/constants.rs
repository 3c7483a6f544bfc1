//! `constants.safetensors` of a model folder: small tensors that the engine needs beside the graphs.

use crate::checkpoint_file::{self, StoredDtype};
use crate::weights::Weights;
use crate::{Error, Result, manifest_file, read};
use kandinsky_models::{FileEntry, Folder};
use std::collections::BTreeMap;
use std::path::Path;

/// Its name in the folder.
pub const FILE_NAME: &str = "constants.safetensors";
/// Its role in the manifest.
pub const ROLE: &str = "constants";

/// A name, sides and elements.
pub type Constant = (String, Vec<usize>, Vec<f32>);

/// Tensors that are held in memory.
#[derive(Default)]
struct Held(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

/// Puts `tensors` beside those that `constants.safetensors` of the model folder has, replacing those of
/// the same name, and tells the manifest. Each of the two files is replaced as a whole, the manifest
/// last.
///
/// # Errors
/// When the folder is no model folder, a file cannot be read or written, or a shape does not fit.
pub fn add_constants(folder: &Path, tensors: &[Constant]) -> Result<()> {
    let opened = Folder::open(folder)?;
    let mut manifest = opened.manifest().clone();
    let mut held = Held::default();
    if let Some(entry) = manifest.files.get(ROLE) {
        let path = opened.locate(entry)?;
        held.take(read::safetensors::open(&path, ROLE)?.as_ref())?;
    }
    for (name, shape, values) in tensors {
        held.put(name, shape, values)?;
    }
    let entry = held.write(folder)?;
    manifest.files.insert(ROLE.to_owned(), entry);
    manifest_file::write(folder, &manifest)
}

/// Writes the first `constants.safetensors` of a model folder.
///
/// # Errors
/// When it cannot be written, or a shape does not fit.
pub(crate) fn write(folder: &Path, tensors: &[Constant]) -> Result<FileEntry> {
    let mut held = Held::default();
    for (name, shape, values) in tensors {
        held.put(name, shape, values)?;
    }
    held.write(folder)
}

impl Held {
    fn take(&mut self, weights: &dyn Weights) -> Result<()> {
        for name in weights.names() {
            self.put(name, weights.shape(name).unwrap_or_default(), &weights.read(name)?)?;
        }
        Ok(())
    }

    fn put(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
        let elements = shape.iter().try_fold(1_usize, |all, side| all.checked_mul(*side));
        if elements != Some(values.len()) {
            let (component, name) = (ROLE.to_owned(), name.to_owned());
            return Err(Error::Shape {
                component,
                name,
                found: vec![values.len()],
                expected: shape.to_vec(),
            });
        }
        if let Some((index, value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { name: name.to_owned(), index, value: *value, precision: "f32" });
        }
        self.0.insert(name.to_owned(), (shape.to_vec(), values.to_vec()));
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<FileEntry> {
        let path = folder.join(FILE_NAME);
        let partial = folder.join(format!("{FILE_NAME}.partial"));
        let names: Vec<_> = self.0.keys().map(String::as_str).collect();
        let written = checkpoint_file::write(&partial, self, &names, StoredDtype::F32, &mut |_| Ok(()))
            .and_then(|entry| {
                std::fs::rename(&partial, &path).map(|()| entry).map_err(|e| Error::io(&path, "written", e))
            });
        let (sha256, bytes) = written.inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })?;
        Ok(FileEntry { path: FILE_NAME.to_owned(), bytes, sha256 })
    }
}

impl Weights for Held {
    fn component(&self) -> &str {
        ROLE
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(|(shape, _)| shape.as_slice())
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let missing = || Error::MissingTensor { component: ROLE.to_owned(), name: name.to_owned() };
        let (_, values) = self.0.get(name).ok_or_else(missing)?;
        values.chunks(1 << 18).try_for_each(sink)
    }
}
