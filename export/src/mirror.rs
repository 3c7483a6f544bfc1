//! A complete checkpoint from a folder of config files, its weights made up by [`crate::synthetic`].

use crate::checkpoint::{Checkpoint, Part, WeightSource};
use crate::checkpoint_file::{self, StoredDtype};
use crate::request::{Meter, Progress};
use crate::staging::Staging;
use crate::weights::Weights;
use crate::{Error, Result, arch::Network};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are copied: all that is no weight. Everything else in a folder of configs is left alone.
const COPIED: [&str; 3] = ["json", "txt", "model"];
/// Deepest folder that is looked into.
const DEPTH: usize = 3;

/// What checkpoint to write.
#[derive(Debug, Clone)]
pub struct SyntheticCheckpoint {
    /// The folder of config folders, laid out as [`Checkpoint::find`] wants it.
    pub configs: PathBuf,
    /// The seed; the inpainting UNet takes the next.
    pub seed: u64,
    /// The checkpoint to make; it must not be there, or be empty.
    pub out: PathBuf,
    /// Bytes of a shard; `None` for one file a component.
    pub shard_limit: Option<u64>,
    /// How elements are stored.
    pub stored: StoredDtype,
}

/// Writes the checkpoint: every repository of `configs` under its own name, with configs and tokenisers
/// byte for byte, and weights for every network that has a config. It appears whole or not at all.
///
/// # Errors
/// When a config cannot be understood, the output is there or cannot be written, or `progress` says so.
pub fn write_checkpoint(
    mirror: &SyntheticCheckpoint,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<()> {
    let found = Checkpoint::find(&mirror.configs)?;
    let staging = Staging::begin(&mirror.out, None)?;
    let mut parts = found.parts()?;
    if let Some(folder) = &found.inpaint {
        for kind in [Network::MultilingualEncoder, Network::Movq] {
            parts.extend(Part::open(kind, "inpaint", folder).ok());
        }
    }
    for repository in [Some(&found.prior), Some(&found.decoder), found.inpaint.as_ref()].into_iter().flatten()
    {
        copy(repository, &place(mirror, &staging, repository)?, DEPTH)?;
    }
    let sources: Vec<_> =
        parts.iter().map(|part| part.weights(WeightSource::Synthetic(mirror.seed))).collect::<Result<_>>()?;
    let total = sources.iter().map(|weights| bytes(weights.as_ref(), mirror.stored)).sum();
    let mut meter = Meter::new(total, progress);
    for (part, weights) in parts.iter().zip(&sources) {
        let folder = place(mirror, &staging, &part.folder)?;
        let how = (mirror.stored, mirror.shard_limit);
        let name = part.name();
        checkpoint_file::write_all(&folder, stem(part.kind), weights.as_ref(), how, &mut |n| {
            meter.add(&name, n)
        })?;
    }
    staging.commit()
}

/// Where a folder of the configs lies in the checkpoint.
fn place(mirror: &SyntheticCheckpoint, staging: &Staging, folder: &Path) -> Result<PathBuf> {
    let inside = folder.strip_prefix(&mirror.configs).map_err(|_| Error::MissingFile(folder.to_owned()))?;
    Ok(staging.path().join(inside))
}

/// How the reference calls the weights of a network.
const fn stem(kind: Network) -> &'static str {
    match kind {
        Network::TextEncoder | Network::MultilingualEncoder | Network::ImageEncoder => "model",
        Network::Prior | Network::Unet | Network::InpaintUnet | Network::Movq => "diffusion_pytorch_model",
    }
}

fn bytes(weights: &dyn Weights, stored: StoredDtype) -> u64 {
    weights.names().into_iter().map(|name| checkpoint_file::length(weights, name, stored)).sum()
}

fn copy(from: &Path, to: &Path, depth: usize) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| Error::io(to, "created", e))?;
    for entry in from.read_dir().map_err(|e| Error::io(from, "read", e))? {
        let path = entry.map_err(|e| Error::io(from, "read", e))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() && depth > 0 {
            copy(&path, &target, depth - 1)?;
        } else if is_copied(&path) {
            // Not fs::copy: it would copy the permissions too, and a read-only copy cannot be removed.
            let content = fs::read(&path).map_err(|e| Error::io(&path, "read", e))?;
            fs::write(&target, content).map_err(|e| Error::io(&target, "written", e))?;
        }
    }
    Ok(())
}

fn is_copied(path: &Path) -> bool {
    let index = path.to_string_lossy().contains(".safetensors.index");
    !index && path.is_file() && path.extension().is_some_and(|end| COPIED.iter().any(|known| end == *known))
}
