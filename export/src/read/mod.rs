//! Reading checkpoints: which files of a component's folder hold its weights, and who reads them.
//!
//! A new format is a new file here and one line in [`READERS`].

pub mod header;
pub mod safetensors;
pub mod shards;

use crate::weights::Weights;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// A way of storing a component's weights.
pub struct Reader {
    /// What it is called.
    pub name: &'static str,
    /// The file names that it reads, the preferred first; full precision before half.
    pub files: &'static [&'static str],
    /// Opens the file for the component of that name.
    pub open: fn(file: &Path, component: &str) -> Result<Box<dyn Weights>>,
}

/// Every way of storing weights that is known here, the preferred first.
pub const READERS: &[Reader] = &[
    Reader {
        name: "safetensors",
        files: &[
            "diffusion_pytorch_model.safetensors",
            "model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "model.fp16.safetensors",
        ],
        open: safetensors::open,
    },
    Reader {
        name: "sharded safetensors",
        files: &[
            "diffusion_pytorch_model.safetensors.index.json",
            "model.safetensors.index.json",
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            "model.safetensors.index.fp16.json",
            "diffusion_pytorch_model.fp16.safetensors.index.json",
            "model.fp16.safetensors.index.json",
        ],
        open: shards::open,
    },
];

/// Endings of files that are or may hold Python pickles.
const PICKLED: [&str; 4] = ["bin", "ckpt", "pt", "pth"];

/// Opens the weights of the component in `folder`; `component` is its name in messages. Headers are
/// read and checked, weights are not.
///
/// # Errors
/// When there are no weights, they are PyTorch pickles, or a header is damaged.
pub fn open(folder: &Path, component: &str) -> Result<Box<dyn Weights>> {
    let (reader, file) = find(folder)?;
    (reader.open)(&file, component)
}

/// The files that hold the weights of the component in `folder`: one, or an index and its shards.
///
/// # Errors
/// As [`open`].
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (_, file) = find(folder)?;
    if file.extension().is_some_and(|ending| ending == "json") {
        let mut all = shards::files(&file)?;
        all.insert(0, file);
        return Ok(all);
    }
    Ok(vec![file])
}

fn find(folder: &Path) -> Result<(&'static Reader, PathBuf)> {
    let candidates = READERS.iter().flat_map(|reader| reader.files.iter().map(move |name| (reader, name)));
    for (reader, name) in candidates {
        let file = folder.join(name);
        if file.is_file() {
            return Ok((reader, file));
        }
    }
    if holds_pickles(folder) {
        return Err(Error::PickledWeights(folder.to_owned()));
    }
    Err(Error::MissingFile(folder.join("diffusion_pytorch_model.safetensors or model.safetensors")))
}

fn holds_pickles(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    let pickled = |path: &Path| path.extension().is_some_and(|end| PICKLED.iter().any(|known| end == *known));
    entries.flatten().any(|entry| pickled(&entry.path()))
}
