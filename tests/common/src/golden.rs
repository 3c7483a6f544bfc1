//! Golden values of the reference: an index of cases and a safetensors file each.

use kandinsky::Tensor;
use kandinsky::internal::tensor::tensor;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One case of the index.
pub struct Case {
    /// Its name, such as `pipeline/t2i_ddim`.
    pub id: String,
    /// `component`, `scheduler`, `pipeline`, `rng`, `tokenizer` or `original`.
    pub kind: String,
    /// What was called, in words.
    pub call: String,
    /// What the reference was called with.
    pub params: Value,
    /// What the reference raised.
    pub error: Option<String>,
    /// Where the tensors are.
    pub file: PathBuf,
    /// Where the set is: `data/` or `extra/`.
    pub folder: PathBuf,
    bytes: Vec<u8>,
}

impl Case {
    /// A tensor as f32, whatever it is stored as.
    pub fn find(&self, name: &str) -> Option<Tensor> {
        if self.bytes.is_empty() {
            return None;
        }
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).ok()?;
        let data = view.data();
        let numbers: Vec<f32> = match view.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            Dtype::F64 => {
                data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            Dtype::I32 => {
                data.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32).collect()
            }
            Dtype::U8 | Dtype::BOOL => data.iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{} holds {other:?}", self.id),
        };
        Some(tensor(view.shape(), numbers).unwrap())
    }

    /// As [`Case::find`], for a tensor that must be there.
    pub fn need(&self, name: &str) -> Tensor {
        self.find(name).unwrap_or_else(|| panic!("{} has no {name}", self.id))
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A side of a tensor; 0 where there is no such tensor.
    pub fn side(&self, name: &str, axis: usize) -> usize {
        self.find(name).and_then(|tensor| tensor.shape().get(axis).copied()).unwrap_or(0)
    }

    /// Files that the call names, such as `images/a.png`, below the folder of the set.
    pub fn images(&self) -> Vec<PathBuf> {
        let words = self.call.split([' ', ',', ';']).filter(|word| word.starts_with("images/"));
        words.map(|word| self.folder.join(word)).collect()
    }

    /// A tensor of whole numbers.
    pub fn whole(&self, name: &str) -> ndarray::ArrayD<i64> {
        self.need(name).mapv(|x| x as i64)
    }

    /// Whole numbers that f32 could not hold.
    pub fn whole_exact(&self, name: &str) -> Vec<i64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        assert_eq!(view.dtype(), Dtype::I64, "{name}");
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// Names of the tensors that are required.
    pub fn outputs(&self) -> Vec<String> {
        if self.bytes.is_empty() {
            return Vec::new();
        }
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let mut names: Vec<String> =
            file.names().into_iter().filter(|n| n.starts_with("out.")).map(ToString::to_string).collect();
        names.sort();
        names
    }
}

/// The directory with `data/`, `extra/` and `checkpoint/` or `configs/`: `KANDINSKY_REFERENCE`, else the
/// repository's copy.
pub fn directory() -> PathBuf {
    match std::env::var_os("KANDINSKY_REFERENCE") {
        Some(directory) => directory.into(),
        None => crate::root().join("tests/reference"),
    }
}

/// Every case of `data/` and, where it is there, `extra/`.
pub fn cases(directory: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for set in ["data", "extra"] {
        let folder = directory.join(set);
        let Ok(text) = std::fs::read_to_string(folder.join("index.json")) else {
            assert!(set == "extra", "{} has no index.json", folder.display());
            continue;
        };
        // Python writes infinities, which JSON has not; no check reads them.
        let index: Value = serde_json::from_str(&text.replace("-Infinity", "null")).unwrap();
        for case in index["cases"].as_array().unwrap() {
            cases.push(read(&folder, case));
        }
    }
    cases
}

fn read(folder: &Path, case: &Value) -> Case {
    let text = |key: &str| case[key].as_str().map(str::to_owned);
    let file = text("file").map(|file| folder.join(file)).unwrap_or_default();
    let tensors = file.extension().is_some_and(|e| e == "safetensors");
    let bytes = if tensors { std::fs::read(&file).unwrap() } else { Vec::new() };
    Case {
        id: text("id").unwrap(),
        kind: text("kind").unwrap(),
        call: text("call").unwrap_or_default(),
        params: case["params"].clone(),
        error: text("error"),
        file,
        folder: folder.to_owned(),
        bytes,
    }
}

/// Largest difference, and the largest magnitude expected.
fn distance(ours: &Tensor, theirs: &Tensor) -> (f32, f32) {
    let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, nan_max);
    (worst, theirs.iter().map(|x| x.abs()).fold(0.0, f32::max))
}

/// The larger one, where NaN is the largest of all.
fn nan_max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// Equal to within `tolerance` of the largest magnitude.
pub fn close(name: &str, ours: &Tensor, theirs: &Tensor, tolerance: f32) -> Result<(), String> {
    let (_, scale) = distance(ours, theirs);
    close_abs(name, ours, theirs, tolerance * scale)
}

/// Equal to within `tolerance`.
pub fn close_abs(name: &str, ours: &Tensor, theirs: &Tensor, tolerance: f32) -> Result<(), String> {
    if ours.shape() != theirs.shape() {
        return Err(format!("{name} has the shape {:?}, not {:?}", ours.shape(), theirs.shape()));
    }
    let (worst, scale) = distance(ours, theirs);
    if worst <= tolerance {
        return Ok(());
    }
    Err(format!("{name} is off by {worst:e} of {scale}; {tolerance:e} is allowed"))
}
