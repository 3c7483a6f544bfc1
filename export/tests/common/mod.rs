//! A tiny checkpoint for the exporter's tests, synthesised once a process, and copies of it to spoil.
#![allow(dead_code, reason = "each test file uses a part")]

use kandinsky_export::weights::Weights;
use kandinsky_export::{
    Checkpoint, Error, Progress, Report, Request, Result, StoredDtype, SyntheticCheckpoint, export,
    synthetic, write_checkpoint,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

pub fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/configs")
}

pub fn mirror(out: &Path) -> SyntheticCheckpoint {
    SyntheticCheckpoint {
        configs: configs(),
        seed: synthetic::SEED,
        out: out.to_owned(),
        shard_limit: None,
        stored: StoredDtype::F32,
    }
}

/// The tiny checkpoint, in one file a component.
pub fn tiny() -> &'static Path {
    static TINY: OnceLock<TempDir> = OnceLock::new();
    TINY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_checkpoint(&mirror(&folder.path().join("tiny")), &mut |_| Ok(())).unwrap();
        folder
    })
    .path()
}

/// A copy of the tiny checkpoint that a test may spoil, and a place for what is made of it.
pub struct Copy {
    pub root: TempDir,
    pub out: TempDir,
}

impl Copy {
    pub fn new() -> Self {
        let copy = Self { root: tempfile::tempdir().unwrap(), out: tempfile::tempdir().unwrap() };
        link(&tiny().join("tiny"), copy.root.path());
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Gives a file another content; the original is linked elsewhere and stays as it is.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let _ = fs::remove_file(self.path(name));
        fs::write(self.path(name), content).unwrap();
    }

    /// Puts another text in place of one that is there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} lacks {from}");
        self.put(name, text.replace(from, to));
    }

    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::find(self.root.path()).unwrap()
    }

    pub fn request(&self) -> Request {
        Request::new(self.checkpoint(), self.out.path().join("model"))
    }

    pub fn export(&self) -> Result<Report> {
        export(&self.request(), &mut |_| Ok(()))
    }

    /// Exports, which must fail, and leave nothing.
    pub fn refused(&self) -> Error {
        self.refused_as(&self.request(), &mut |_| Ok(()))
    }

    pub fn refused_as(
        &self,
        request: &Request,
        progress: &mut dyn FnMut(Progress<'_>) -> Result<()>,
    ) -> Error {
        let error = export(request, progress).expect_err("the export must be refused");
        let left: Vec<_> = self.out.path().read_dir().unwrap().collect();
        assert!(left.is_empty(), "{error}: left {left:?}");
        error
    }
}

fn link(from: &Path, to: &Path) {
    for entry in from.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            link(&path, &target);
        } else {
            fs::hard_link(&path, &target).or_else(|_| fs::copy(&path, &target).map(drop)).unwrap();
        }
    }
}

/// Weights in memory, to be altered and written again.
pub struct Held(pub BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Held {
    /// Everything that a weights file holds.
    pub fn of(path: &Path) -> Self {
        let weights = kandinsky_export::read::open(path.parent().unwrap(), "test").unwrap();
        let tensor = |name: &&str| {
            (name.to_string(), (weights.shape(name).unwrap().to_vec(), weights.read(name).unwrap()))
        };
        Self(weights.names().iter().map(tensor).collect())
    }

    /// Writes them in place of what is there.
    pub fn write(&self, path: &Path) {
        let _ = fs::remove_file(path);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let how = (StoredDtype::F32, None);
        kandinsky_export::checkpoint_file::write_all(
            path.parent().unwrap(),
            stem,
            self,
            how,
            &mut |_| Ok(()),
        )
        .unwrap();
    }
}

impl Weights for Held {
    fn component(&self) -> &str {
        "held"
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(|(shape, _)| shape.as_slice())
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        sink(&self.0[name].1)
    }
}
