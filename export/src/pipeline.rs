//! The export itself: everything is read, checked and drawn before the first byte is written.

use crate::arch::{self, BuiltGraph, Network};
use crate::checkpoint::{Checkpoint, Part, WeightSource};
use crate::constants::{self, Constant};
use crate::manifest::{self, Described};
use crate::request::{self, Meter, Progress, Report, Request};
use crate::staging::Staging;
use crate::tokenizers::Prepared;
use crate::weights::Weights;
use crate::{Error, Result, manifest_file, read};
use kandinsky_models::hash::{Hasher, of_bytes};
use kandinsky_models::manifest::{FILE_NAME, Precision, Target};
use kandinsky_models::{FileEntry, Folder, Manifest};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a source file read at a time.
const PIECE: usize = 1 << 20;
/// Tensors of the prior that the engine applies after its loop.
const PRIOR_CONSTANTS: [&str; 2] = ["clip_mean", "clip_std"];

/// Networks that constants are computed with.
const CONSTANT_NETWORKS: [Network; 4] =
    [Network::TextEncoder, Network::ImageEncoder, Network::MultilingualEncoder, Network::Movq];

/// Computes constants of a complete model folder, before it appears in its place.
pub type Finish<'a> =
    dyn FnMut(&Path) -> std::result::Result<Vec<Constant>, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Makes the model folder that `request` asks for. `progress` is told of every piece written; its error
/// (such as [`Error::Cancelled`]) stops the export and leaves nothing behind.
///
/// # Errors
/// When the checkpoint is incomplete, damaged or unknown, the output is there or cannot be written, or
/// `progress` says so.
pub fn export(request: &Request, progress: &mut dyn FnMut(Progress<'_>) -> Result<()>) -> Result<Report> {
    export_with(request, progress, None)
}

/// As [`export`], and adds the constants that `finish` computes before the folder appears in its place. The folder
/// that `finish` gets is complete; of an export for a GPU it is a portable one of the networks that constants are
/// computed with.
///
/// # Errors
/// As [`export`]; those of `finish` as [`Error::Finish`].
pub fn export_then(
    request: &Request,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
    finish: &mut Finish<'_>,
) -> Result<Report> {
    export_with(request, progress, Some(finish))
}

fn export_with(
    request: &Request,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
    finish: Option<&mut Finish<'_>>,
) -> Result<Report> {
    request::check(request)?;
    let drawn = Drawn::of(request, |_| true)?;
    let staging = Staging::begin(&request.out, request.force.then_some(FILE_NAME))?;
    write(request, drawn, staging.path(), progress)?;
    match finish {
        Some(finish) if request.target.is_portable() => {
            let computed = finish(staging.path()).map_err(Error::Finish)?;
            constants::add_constants(staging.path(), &computed)?;
        }
        Some(finish) => finish_portable(request, staging.path(), progress, finish)?,
        None => {}
    }
    let report = Report::of(Folder::open(staging.path())?.manifest());
    staging.commit()?;
    Ok(report)
}

/// Lets `finish` compute constants on portable graphs of the same checkpoint, and takes them over.
fn finish_portable(
    request: &Request,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
    finish: &mut Finish<'_>,
) -> Result<()> {
    let request = Request { target: Target::Portable, precision: Precision::F16, ..request.clone() };
    let drawn = Drawn::of(&request, |kind| CONSTANT_NETWORKS.contains(&kind))?;
    let portable = folder.join("portable");
    let io = |e| Error::io(&portable, "created", e);
    std::fs::create_dir(&portable).map_err(io)?;
    write(&request, drawn, &portable, progress)?;
    let computed = finish(&portable).map_err(Error::Finish)?;
    std::fs::remove_dir_all(&portable).map_err(|e| Error::io(&portable, "removed", e))?;
    constants::add_constants(folder, &computed)
}

/// A checkpoint, read and drawn, before anything is written.
struct Drawn {
    described: Described,
    networks: Vec<BuiltNetwork>,
}

impl Drawn {
    /// Draws the networks that `wanted` names.
    fn of(request: &Request, wanted: impl Fn(Network) -> bool) -> Result<Self> {
        let parts = request.checkpoint.parts()?;
        let described = manifest::describe(request, &parts, request.origin != WeightSource::Files)?;
        let parts = parts.into_iter().filter(|part| wanted(part.kind));
        let networks = parts.map(|part| BuiltNetwork::draw(part, request)).collect::<Result<_>>()?;
        Ok(Self { described, networks })
    }
}

/// A network, its weights, and the graphs drawn of it.
struct BuiltNetwork {
    part: Part,
    weights: Box<dyn Weights>,
    drawings: Vec<BuiltGraph>,
}

impl BuiltNetwork {
    fn draw(part: Part, request: &Request) -> Result<Self> {
        let weights = part.weights(request.origin)?;
        part.check_extra(weights.as_ref())?;
        let (config, path) = (&part.config.value, &part.config.path);
        let drawings = arch::draw_for(&request.style(), part.kind, config, path, weights.as_ref())?;
        Ok(Self { part, weights, drawings })
    }

    /// Bytes that its graphs will have, about.
    fn bytes(&self, precision: Precision) -> u64 {
        let width = if precision == Precision::F16 { 2 } else { 4 };
        let names = self.drawings.iter().flat_map(|drawing| drawing.graph.used());
        let elements = |shape: &[usize]| u64::try_from(shape.iter().product::<usize>()).unwrap_or(u64::MAX);
        let counts = names.filter_map(|name| self.weights.shape(name)).map(elements);
        counts.fold(0, u64::saturating_add).saturating_mul(width)
    }
}

fn write(
    request: &Request,
    drawn: Drawn,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
) -> Result<()> {
    let Drawn { described: Described { mut manifest, tokenizers, mut sources }, networks } = drawn;
    if request.origin == WeightSource::Files {
        for network in &networks {
            sources.extend(read::files(&network.part.folder)?);
        }
    }
    let sources = named(&request.checkpoint, sources)?;
    let graphs: u64 = networks.iter().map(|network| network.bytes(request.stored())).sum();
    let hashed: u64 = sources.values().map(|(_, bytes)| bytes).sum();
    let mut meter = Meter::new(graphs.saturating_add(hashed), progress);
    write_graphs(&mut manifest, &networks, folder, &mut meter)?;
    for (role, prepared) in tokenizers {
        manifest.files.insert(role.to_owned(), write_tokenizer(folder, role, &prepared)?);
    }
    let constants = prior_constants(&networks)?;
    manifest.files.insert(constants::ROLE.to_owned(), constants::write(folder, &constants)?);
    for (name, (path, _)) in sources {
        let sha256 = hash(&path, &name, &mut meter)?;
        manifest.source.files.insert(name, sha256);
    }
    manifest_file::write(folder, &manifest)
}

fn write_graphs(
    manifest: &mut Manifest,
    networks: &[BuiltNetwork],
    folder: &Path,
    meter: &mut Meter<'_>,
) -> Result<()> {
    for network in networks {
        for drawing in &network.drawings {
            let stem = drawing.component.name();
            let precision = manifest.precision;
            let mut tell = |bytes| meter.add(stem, bytes);
            let spec = drawing.graph.write(network.weights.as_ref(), folder, stem, precision, &mut tell)?;
            manifest.components.insert(stem.to_owned(), spec);
        }
    }
    Ok(())
}

fn write_tokenizer(folder: &Path, role: &str, prepared: &Prepared) -> Result<FileEntry> {
    let name = format!("{role}.json");
    let path = folder.join(&name);
    std::fs::write(&path, &prepared.text).map_err(|e| Error::io(&path, "written", e))?;
    let bytes = u64::try_from(prepared.text.len()).unwrap_or(u64::MAX);
    Ok(FileEntry { path: name, bytes, sha256: of_bytes(prepared.text.as_bytes()) })
}

fn prior_constants(networks: &[BuiltNetwork]) -> Result<Vec<Constant>> {
    let mut constants = Vec::new();
    for network in networks.iter().filter(|network| network.part.kind == Network::Prior) {
        for name in PRIOR_CONSTANTS {
            let weights = network.weights.as_ref();
            let component = || weights.component().to_owned();
            let shape = weights.shape(name);
            let shape = shape
                .ok_or_else(|| Error::MissingTensor { component: component(), name: name.to_owned() })?;
            let expected = [1, network.part.config.whole("embedding_dim")?];
            if shape != expected {
                let (found, expected) = (shape.to_vec(), expected.to_vec());
                return Err(Error::Shape { component: component(), name: name.to_owned(), found, expected });
            }
            constants.push((name.to_owned(), shape.to_vec(), weights.read(name)?));
        }
    }
    Ok(constants)
}

/// Files of the checkpoint as `repository/path`, with their sizes. The repository's own folder may be
/// called anything, and the manifest does not depend on it.
fn named(checkpoint: &Checkpoint, files: Vec<PathBuf>) -> Result<BTreeMap<String, (PathBuf, u64)>> {
    let Checkpoint { prior, decoder, inpaint } = checkpoint;
    let repositories = [("prior", Some(prior)), ("decoder", Some(decoder)), ("inpaint", inpaint.as_ref())];
    let mut all = BTreeMap::new();
    for path in files {
        let size = path.metadata().map_err(|e| Error::io(&path, "read", e))?.len();
        let inside = repositories.iter().find_map(|(name, folder)| {
            let inside = path.strip_prefix(folder.as_ref()?).ok()?;
            let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            Some(format!("{name}/{}", parts.join("/")))
        });
        all.insert(inside.ok_or_else(|| Error::MissingFile(path.clone()))?, (path, size));
    }
    Ok(all)
}

fn hash(path: &Path, name: &str, meter: &mut Meter<'_>) -> Result<String> {
    let io = |e| Error::io(path, "read", e);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut hasher = Hasher::default();
    let mut piece = vec![0; PIECE];
    loop {
        let n = file.read(&mut piece).map_err(io)?;
        let Some(bytes) = piece.get(..n).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        meter.add(name, u64::try_from(n).unwrap_or(u64::MAX))?;
    }
    Ok(hasher.finish().0)
}
