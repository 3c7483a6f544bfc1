//! Graphs compiled once: ONNX Runtime's optimised graphs, with weights as its convolutions read them, kept for the next
//! start.
//!
//! An entry is a folder of the graph, its data and a note, named by a key of everything that goes into it: the model's
//! hashes, the library and the processor. It is made in a temporary folder under a lock and renamed into place, so it
//! is there whole or not at all; what is damaged is noticed by the note's hashes and made anew. Entries lie beside the
//! model, and in the user's cache folder where that is read-only.

use super::GraphSource;
use super::library::Library;
use crate::error::{Error, Kind, Result};
use crate::residency::is_convolutional;
use crate::{system, verification};
use kandinsky_models::{Component, Folder, hash};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder beside a model.
pub const FOLDER: &str = ".kandinsky-cache";
const GRAPH: &str = "graph.onnx";
const DATA: &str = "graph.data";
const NOTE: &str = "note.json";
/// Marks an entry that is being made; what its process left behind is removed by the next.
const UNFINISHED: &str = ".making-";
/// The least data of a graph that is large: below it, opening takes a fraction of a second.
pub(super) const LARGE: u64 = 64 << 20;

/// Which graphs are kept compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Large graphs of convolutions (the UNet, MoVQ): they gain most, and take about the disk of their weights.
    #[default]
    Auto,
    /// Every graph; those of matrix products (texts, prior) gain little, since their weights are packed anew.
    All,
    /// None, and none is read.
    Off,
}

impl CacheMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Auto, Self::All, Self::Off];

    /// The name at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::All => "all",
            Self::Off => "off",
        }
    }
}

/// Compiled graphs of one library on this processor.
#[derive(Debug, Clone)]
pub struct Cache {
    mode: CacheMode,
    maker: String,
}

/// What an entry says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    component: String,
    /// The hashes of the model's graph and data.
    source: String,
    /// What made it.
    maker: String,
    /// Where the model was.
    model: PathBuf,
    graph: Piece,
    data: Option<Piece>,
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    bytes: u64,
    sha256: String,
}

/// How an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It can be used here.
    Ready,
    /// It is of another model, library or processor.
    Stale,
    /// Its files are not those of its note.
    Damaged,
    /// Its making was cut first_line, or is under way.
    Unfinished,
}

impl State {
    /// Its name for people and for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Stale => "stale",
            Self::Damaged => "damaged",
            Self::Unfinished => "unfinished",
        }
    }
}

/// An entry as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its folder.
    pub path: PathBuf,
    /// The graph that it holds, where it says so.
    pub component: String,
    /// The model that it was made of, where it says so.
    pub model: PathBuf,
    /// Its size on the disk.
    pub bytes: u64,
    /// Whether it can be used.
    pub state: State,
}

impl Cache {
    /// Of graphs that `library` compiles.
    pub fn new(mode: CacheMode, library: &Library) -> Self {
        Self { mode, maker: maker(library) }
    }

    /// Whether a graph is kept: the mode says so, and it is there or there is room for it.
    pub fn wants(&self, source: &GraphSource) -> bool {
        let chosen = match self.mode {
            CacheMode::Off => false,
            CacheMode::All => true,
            CacheMode::Auto => source.spec.data_bytes() >= LARGE && is_convolutional(source.component),
        };
        let there = || self.places(source).iter().any(|place| place.join(NOTE).is_file());
        chosen && (there() || self.places(source).iter().any(|place| has_room(place, source).is_ok()))
    }

    /// Opens the compiled graph with `load`; where it is not there, or not whole, it is made with `compile`, which
    /// writes a graph and the data of that name beside it. Without a result the graph is to be opened as it is.
    pub fn open<T>(
        &self,
        source: &GraphSource,
        compile: &dyn Fn(&Path, &str) -> Result<()>,
        load: &dyn Fn(&Path) -> Result<T>,
    ) -> (Option<T>, Vec<String>) {
        let ready =
            |place: &PathBuf| self.check(source, place).ok().and_then(|()| load(&place.join(GRAPH)).ok());
        let places = self.places(source);
        if let Some(opened) = places.iter().find_map(ready) {
            return (Some(opened), Vec::new());
        }
        let mut notes = Vec::new();
        for place in &places {
            let opened =
                self.made(source, place, compile).and_then(|note| Ok((load(&place.join(GRAPH))?, note)));
            match opened {
                Ok((opened, note)) => return (Some(opened), note.into_iter().collect()),
                Err(reason) => notes.push(format!("{} is not kept compiled: {reason}", source.component)),
            }
        }
        (None, notes)
    }

    /// Makes an entry, unless another process has made it meanwhile.
    fn made(
        &self,
        source: &GraphSource,
        place: &Path,
        compile: &dyn Fn(&Path, &str) -> Result<()>,
    ) -> Result<Option<String>> {
        let root = place.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(root).map_err(|e| Error::io(root, "made", &e))?;
        let _held = lock(&place.with_extension("lock"))?;
        if self.check(source, place).is_ok() {
            return Ok(None);
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Nobody else makes this entry while we hold its lock.
        remove_unfinished(root, &name);
        remove(place)?;
        has_room(place, source)?;
        let making = tempfile::Builder::new().prefix(&format!("{UNFINISHED}{name}-")).tempdir_in(root);
        let making = making.map_err(|e| Error::io(root, "written to", &e))?;
        compile(&making.path().join(GRAPH), DATA)?;
        let note = self.note(source, making.path())?;
        let bytes = note.graph.bytes + note.data.as_ref().map_or(0, |data| data.bytes);
        let text = serde_json::to_vec_pretty(&note).map_err(|e| Error::new(Kind::Internal, e.to_string()))?;
        let file = making.path().join(NOTE);
        std::fs::write(&file, text).map_err(|e| Error::io(&file, "written", &e))?;
        std::fs::rename(making.path(), place).map_err(|e| Error::io(place, "put in place", &e))?;
        remember(&place.join(DATA), note.data.as_ref());
        let (component, megabytes) = (source.component, bytes / 1_000_000);
        Ok(Some(format!("{component} is kept compiled, {megabytes} MB, in {}", root.display())))
    }

    /// Where the entry of a graph can be, the best first.
    fn places(&self, source: &GraphSource) -> Vec<PathBuf> {
        let name = name(source.component.name(), &source_of(source), &self.maker);
        let model = source.path.parent().unwrap_or(Path::new("."));
        roots(model).into_iter().map(|root| root.join(&name)).collect()
    }

    /// Checks that an entry is what this cache would make of `source`, and whole.
    fn check(&self, source: &GraphSource, place: &Path) -> Result<()> {
        let note = read(place)?;
        if note.source != source_of(source) || note.maker != self.maker {
            return Err(bad(place, "is of another graph or library"));
        }
        whole(place, &note)
    }

    fn note(&self, source: &GraphSource, folder: &Path) -> Result<Note> {
        Ok(Note {
            component: source.component.name().to_owned(),
            source: source_of(source),
            maker: self.maker.clone(),
            model: source.path.parent().unwrap_or(Path::new(".")).to_owned(),
            graph: piece(&folder.join(GRAPH))?,
            data: folder.join(DATA).is_file().then(|| piece(&folder.join(DATA))).transpose()?,
        })
    }
}

/// Entries beside a model and in the user's cache folder; `library` is the one that would use them.
pub fn list(folder: &Folder, library: Option<&Library>) -> Vec<Entry> {
    let model = folder.root().canonicalize().unwrap_or_else(|_| folder.root().to_owned());
    let maker = library.map(maker);
    let mut entries = Vec::new();
    for root in roots(&model) {
        let found = std::fs::read_dir(&root).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
        let mut found: Vec<PathBuf> = found.filter(|path| path.is_dir()).collect();
        found.sort();
        entries.extend(found.into_iter().map(|path| entry(path, (&model, folder), maker.as_deref())));
    }
    entries
}

/// Removes an entry and its lock.
///
/// # Errors
/// When the folder cannot be changed.
pub fn prune(entry: &Entry) -> Result<()> {
    let lock = entry.path.with_extension("lock");
    remove(&entry.path)?;
    // A lock that stays does no harm.
    let _ = std::fs::remove_file(lock);
    // The cache's own folder goes with its last entry.
    let _ = entry.path.parent().map(std::fs::remove_dir);
    Ok(())
}

fn entry(path: PathBuf, (model, folder): (&Path, &Folder), maker: Option<&str>) -> Entry {
    let files = std::fs::read_dir(&path).into_iter().flatten();
    let bytes = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum();
    let unfinished = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(UNFINISHED));
    let note = read(&path);
    let state = match &note {
        _ if unfinished => State::Unfinished,
        Err(_) => State::Damaged,
        Ok(note) if whole(&path, note).is_err() => State::Damaged,
        Ok(note) if is_current(note, (model, folder), maker) => State::Ready,
        Ok(_) => State::Stale,
    };
    let (component, of) = note.map_or_else(|_| Default::default(), |note| (note.component, note.model));
    Entry { path, component, model: of, bytes, state }
}

/// Whether this model and library would use an entry; one of another model is current where that model is there.
fn is_current(note: &Note, (model, folder): (&Path, &Folder), maker: Option<&str>) -> bool {
    let lists = |folder: &Folder| {
        let named = Component::ALL.into_iter().find(|component| component.name() == note.component);
        let spec = named.and_then(|component| folder.graph(component).ok());
        spec.is_some_and(|spec| hashes(spec) == note.source)
    };
    let of_model = if note.model == model {
        lists(folder)
    } else {
        Folder::open(&note.model).is_ok_and(|folder| lists(&folder))
    };
    of_model && maker.is_none_or(|maker| maker == note.maker)
}

/// The folders of entries: beside the model, and the user's.
fn roots(model: &Path) -> Vec<PathBuf> {
    let user = verification::cache_folder().map(|folder| folder.join("graphs"));
    std::iter::once(model.join(FOLDER)).chain(user).collect()
}

fn name(component: &str, source: &str, maker: &str) -> String {
    let key: String = hash::of_bytes(format!("{source}|{maker}").as_bytes()).chars().take(16).collect();
    format!("{component}-{key}")
}

fn source_of(source: &GraphSource) -> String {
    hashes(&source.spec)
}

fn hashes(spec: &kandinsky_models::GraphSpec) -> String {
    format!("{} {}", spec.graph.sha256, spec.data.as_ref().map_or("", |data| &data.sha256))
}

/// What an entry depends on beside the model: this format, the library, the processor, and how graphs are compiled.
/// Threads are not among it: weights are packed the same for any number of them.
fn maker(library: &Library) -> String {
    let bytes = library.path.metadata().map_or(0, |meta| meta.len());
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let features = features().join(" ");
    format!("1 onnxruntime {} of {bytes} bytes, {os} {arch} {features}, all optimisations", library.version)
}

/// Features of the processor by which the library chooses its kernels and their layouts.
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look {
        ($test:ident: $($name:tt)*) => { $(if std::arch::$test!($name) { found.push($name); })* };
    }
    #[cfg(target_arch = "x86_64")]
    look!(is_x86_feature_detected: "sse4.1" "avx" "avx2" "fma" "avxvnni" "avx512f" "avx512bw" "avx512dq" "avx512vl"
        "avx512vnni" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    look!(is_aarch64_feature_detected: "fp16" "dotprod" "i8mm" "bf16" "sve" "sve2");
    found
}

/// Waits for the lock of an entry; file systems without locks do without, since entries are renamed into place.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(|e| Error::io(path, "written", &e))?;
    match file.lock() {
        Ok(()) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(None),
        Err(e) => Err(Error::io(path, "locked", &e)),
    }
}

/// The disk must hold twice what an entry can take, so that keeping it never fills one.
fn has_room(place: &Path, source: &GraphSource) -> Result<()> {
    let bytes = source.spec.data_bytes() + source.spec.graph.bytes;
    // Half floats are widened, and channels rounded up to whole vectors.
    let need = bytes / 4 * 5;
    let there = place.ancestors().find(|folder| folder.is_dir());
    match there.and_then(system::free_disk) {
        Some(free) if free < 2 * need => {
            let (need, free) = (2 * need / 1_000_000, free / 1_000_000);
            Err(Error::new(Kind::Io, format!("the disk has {free} MB to spare, and {need} MB are asked for")))
        }
        _ => Ok(()),
    }
}

fn read(place: &Path) -> Result<Note> {
    let file = place.join(NOTE);
    let text = std::fs::read(&file).map_err(|e| Error::io(&file, "read", &e))?;
    serde_json::from_slice(&text).map_err(|_| bad(place, "has a note that cannot be read"))
}

/// Checks that the files of an entry are those of its note. The graph's bytes are hashed each time, the data's once.
fn whole(place: &Path, note: &Note) -> Result<()> {
    if piece(&place.join(GRAPH))? != note.graph {
        return Err(bad(place, "has another graph than its note says"));
    }
    let path = place.join(DATA);
    let Some(data) = &note.data else { return Ok(()) };
    let length = path.metadata().map_err(|e| Error::io(&path, "read", &e))?.len();
    let known = verification::note("compiled", &path).and_then(|note| std::fs::read_to_string(note).ok());
    if length == data.bytes && known.as_ref() == Some(&data.sha256) {
        return Ok(());
    }
    if length != data.bytes || piece(&path)? != *data {
        return Err(bad(place, "has other data than its note says"));
    }
    remember(&path, Some(data));
    Ok(())
}

fn remember(path: &Path, data: Option<&Piece>) {
    if let (Some(note), Some(data)) = (verification::note("compiled", path), data) {
        // What cannot be remembered is hashed again.
        let _ = verification::remember(&note, &data.sha256);
    }
}

fn piece(path: &Path) -> Result<Piece> {
    let (sha256, bytes) = hash::of_file(path)?;
    Ok(Piece { bytes, sha256 })
}

fn remove_unfinished(root: &Path, name: &str) {
    let prefix = format!("{UNFINISHED}{name}-");
    let found = std::fs::read_dir(root).into_iter().flatten().filter_map(|e| Some(e.ok()?.path()));
    found.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&prefix))).for_each(
        |path| {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(path);
        },
    );
}

fn remove(place: &Path) -> Result<()> {
    match std::fs::remove_dir_all(place) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(place, "removed", &e)),
        _ => Ok(()),
    }
}

fn bad(place: &Path, what: &str) -> Error {
    Error::new(Kind::BadModel, format!("{} {what}", place.display()))
}
