//! From a drawing to files: `<stem>.onnx`, and `<stem>.data` beside it with the large weights.
//!
//! Weights pass through in pieces, hashed on the way; only a matrix whose sides are exchanged is held
//! whole. The same drawing and weights give the same bytes.

use super::model::narrow;
use super::scope::check_tensor;
use super::{Content, Element, Graph, Initializer};
use crate::weights::Weights;
use crate::{Error, Result};
use kandinsky_models::hash::HashingWriter;
use kandinsky_models::manifest::Precision;
use kandinsky_models::onnx::{StringStringEntryProto, TensorProto, data_type};
use kandinsky_models::{FileEntry, GraphSpec};
use prost::Message;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Weights of at least so many bytes lie in the data file.
const EXTERNAL: u64 = 1024;
/// Where tensors begin in the data file: pages, so that they can be mapped.
const ALIGNMENT: u64 = 4096;
/// Elements of a transposed matrix that are put in order at a time.
const BAND: usize = 1 << 18;

impl Graph {
    /// Writes `<stem>.onnx`, and `<stem>.data` where there are weights of 1 KiB or more, into `folder`.
    /// `progress` is told how many bytes have been written since it was last told; its error stops the
    /// writing and is passed on. Files already there are replaced; after an error they are incomplete.
    ///
    /// # Errors
    /// When a weight cannot be read, is not finite or does not fit `precision`, a file cannot be
    /// written, or `progress` says so.
    pub fn write(
        &self,
        weights: &dyn Weights,
        folder: &Path,
        stem: &str,
        precision: Precision,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<GraphSpec> {
        self.asked.iter().try_for_each(|(name, shape)| check_tensor(weights, name, shape))?;
        let mut writer = Writer {
            weights,
            widens: self.widens(precision),
            element: Element::F32,
            data: DataFile::new(folder, stem),
            progress,
            parameters: 0,
            buffer: vec![],
        };
        let initializer = self.initializers.iter().map(|i| writer.initializer(i)).collect::<Result<_>>()?;
        let parameters = writer.parameters;
        let data = writer.data.finish()?;
        let bytes = self.model(initializer, precision).encode_to_vec();
        let graph = write_text(folder, stem, &bytes)?;
        progress(graph.bytes)?;
        Ok(GraphSpec { graph, data, parameters, inputs: self.inputs.clone(), outputs: self.outputs.clone() })
    }
}

fn write_text(folder: &Path, stem: &str, bytes: &[u8]) -> Result<FileEntry> {
    let name = format!("{stem}.onnx");
    let path = folder.join(&name);
    std::fs::write(&path, bytes).map_err(|e| Error::io(&path, "written", e))?;
    let sha256 = kandinsky_models::hash::of_bytes(bytes);
    Ok(FileEntry { path: name, bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX), sha256 })
}

/// Turns initialisers into protobuf, their large contents into the data file.
struct Writer<'a> {
    weights: &'a dyn Weights,
    /// Whether weights are f16 in the file and f32 in the graph.
    widens: bool,
    /// What the initialiser at hand is stored as.
    element: Element,
    data: DataFile,
    progress: &'a mut dyn FnMut(u64) -> Result<()>,
    parameters: u64,
    /// Encoded elements, kept for their capacity.
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn initializer(&mut self, initializer: &Initializer) -> Result<TensorProto> {
        let narrow_weights = initializer.narrows() && self.widens;
        self.element = if narrow_weights { Element::F16 } else { initializer.element };
        let (data_type, width) = match self.element {
            Element::F16 => (data_type::FLOAT16, 2),
            Element::F32 => (data_type::FLOAT, 4),
            Element::I64 | Element::Bool => (data_type::INT64, 8),
        };
        let count = u64::try_from(initializer.count()).unwrap_or(u64::MAX);
        self.parameters += if initializer.is_weight() { count } else { 0 };
        let mut tensor = TensorProto {
            dims: initializer.dims.iter().filter_map(|side| i64::try_from(*side).ok()).collect(),
            data_type: Some(data_type),
            name: Some(if narrow_weights { narrow(&initializer.name) } else { initializer.name.clone() }),
            ..TensorProto::default()
        };
        let length = count.saturating_mul(width);
        if length < EXTERNAL {
            let mut bytes = Vec::new();
            self.content(initializer, &mut Sink::Inline(&mut bytes))?;
            tensor.raw_data = Some(bytes);
            return Ok(tensor);
        }
        let offset = self.data.align()?;
        self.content(initializer, &mut Sink::External)?;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        tensor.external_data = vec![
            entry("location", self.data.name.clone()),
            entry("offset", offset.to_string()),
            entry("length", length.to_string()),
        ];
        tensor.data_location = Some(1);
        Ok(tensor)
    }

    fn content(&mut self, initializer: &Initializer, sink: &mut Sink<'_>) -> Result<()> {
        match &initializer.content {
            Content::Ints(values) => {
                self.buffer.clear();
                values.iter().for_each(|value| self.buffer.extend_from_slice(&value.to_le_bytes()));
                self.put(sink)
            }
            Content::Floats(values) => {
                self.check(&initializer.name, 0, values)?;
                self.encode(values);
                self.put(sink)
            }
            Content::Rows(names) => {
                let mut count = 0;
                for name in names {
                    count += self.rows(name, sink)?;
                }
                self.check_count(initializer, count)
            }
            Content::Transposed(name) => self.transposed(initializer, name, sink),
            Content::Fold(fold) => {
                let (weights, mut count) = (self.weights, 0);
                fold.stream(weights, &mut |piece| {
                    self.check(&initializer.name, count, piece)?;
                    count += piece.len();
                    self.encode(piece);
                    self.put(sink)
                })?;
                self.check_count(initializer, count)
            }
            Content::ChannelsLast(name) => self.channels_last(initializer, name, sink),
        }
    }

    /// Passes a tensor on as it comes.
    fn rows(&mut self, name: &str, sink: &mut Sink<'_>) -> Result<usize> {
        let mut count = 0;
        let weights = self.weights;
        weights.stream(name, &mut |piece| {
            self.check(name, count, piece)?;
            count += piece.len();
            self.encode(piece);
            self.put(sink)
        })?;
        Ok(count)
    }

    /// Passes a matrix on with rows and columns exchanged, a band of its columns at a time.
    fn transposed(&mut self, initializer: &Initializer, name: &str, sink: &mut Sink<'_>) -> Result<()> {
        let mut matrix = Vec::with_capacity(initializer.count());
        self.weights.stream(name, &mut |piece| {
            self.check(name, matrix.len(), piece)?;
            matrix.extend_from_slice(piece);
            Ok(())
        })?;
        self.check_count(initializer, matrix.len())?;
        let &[columns, rows] = &initializer.dims[..] else {
            return Err(Error::Drawing {
                graph: name.to_owned(),
                reason: "a matrix of other than two sides".into(),
            });
        };
        let width = (BAND / rows.max(1)).clamp(1, columns.max(1));
        let mut band = Vec::new();
        for start in (0..columns).step_by(width) {
            let width = width.min(columns - start);
            band.clear();
            band.resize(width * rows, 0.0);
            transpose_band(&matrix, columns, start..start + width, &mut band);
            self.encode(&band);
            self.put(sink)?;
        }
        Ok(())
    }

    /// Passes a kernel on with its input channels last, one output channel at a time.
    fn channels_last(&mut self, initializer: &Initializer, name: &str, sink: &mut Sink<'_>) -> Result<()> {
        let &[_, height, width, channels] = &initializer.dims[..] else {
            let reason = "a kernel of other than four sides".to_owned();
            return Err(Error::Drawing { graph: name.to_owned(), reason });
        };
        let (area, weights) = ((height * width).max(1), self.weights);
        let (mut count, mut waiting) = (0, Vec::new());
        weights.stream(name, &mut |piece| {
            self.check(name, count, piece)?;
            count += piece.len();
            waiting.extend_from_slice(piece);
            let whole = waiting.len() - waiting.len() % (area * channels).max(1);
            for kernel in waiting.get(..whole).unwrap_or_default().chunks_exact(area * channels) {
                let pixel = |at: usize| kernel.iter().skip(at).step_by(area).copied();
                self.encode(&(0..area).flat_map(pixel).collect::<Vec<_>>());
                self.put(sink)?;
            }
            waiting.drain(..whole);
            Ok(())
        })?;
        self.check_count(initializer, count)
    }

    /// Refuses elements that are not finite in the precision asked for.
    fn check(&self, name: &str, before: usize, piece: &[f32]) -> Result<()> {
        let (precision, fits): (_, fn(f32) -> bool) = match self.element {
            Element::F16 => ("f16", |x| half::f16::from_f32(x).is_finite()),
            _ => ("f32", f32::is_finite),
        };
        match piece.iter().enumerate().find(|(_, x)| !fits(**x)) {
            None => Ok(()),
            Some((index, value)) => Err(Error::NotFinite {
                name: name.to_owned(),
                index: before + index,
                value: *value,
                precision,
            }),
        }
    }

    fn check_count(&self, initializer: &Initializer, found: usize) -> Result<()> {
        let expected = initializer.count();
        if found == expected {
            return Ok(());
        }
        let reason = format!("{} gave {found} elements instead of {expected}", initializer.name);
        Err(Error::Corrupt { path: PathBuf::from(self.weights.component()), reason })
    }

    fn encode(&mut self, piece: &[f32]) {
        self.buffer.clear();
        match self.element {
            Element::F16 => {
                piece
                    .iter()
                    .for_each(|x| self.buffer.extend_from_slice(&half::f16::from_f32(*x).to_le_bytes()));
            }
            _ => piece.iter().for_each(|x| self.buffer.extend_from_slice(&x.to_le_bytes())),
        }
    }

    fn put(&mut self, sink: &mut Sink<'_>) -> Result<()> {
        match sink {
            Sink::Inline(bytes) => {
                bytes.extend_from_slice(&self.buffer);
                Ok(())
            }
            Sink::External => {
                self.data.put(&self.buffer)?;
                (self.progress)(u64::try_from(self.buffer.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Where a tensor's bytes go.
enum Sink<'a> {
    Inline(&'a mut Vec<u8>),
    External,
}

/// Columns `from` of `matrix`, which has `columns` of them, as the rows of `band`.
fn transpose_band(matrix: &[f32], columns: usize, from: std::ops::Range<usize>, band: &mut [f32]) {
    let rows = matrix.len() / columns.max(1);
    for (i, row) in matrix.chunks_exact(columns).enumerate() {
        let elements = row.get(from.clone()).unwrap_or_default();
        for (target, x) in band.chunks_exact_mut(rows).zip(elements) {
            target.iter_mut().skip(i).take(1).for_each(|slot| *slot = *x);
        }
    }
}

/// The data file, begun when the first tensor goes into it.
struct DataFile {
    path: PathBuf,
    name: String,
    file: Option<HashingWriter<BufWriter<File>>>,
    length: u64,
}

impl DataFile {
    fn new(folder: &Path, stem: &str) -> Self {
        let name = format!("{stem}.data");
        Self { path: folder.join(&name), name, file: None, length: 0 }
    }

    /// Fills up to the next place where a tensor may begin, and gives that place.
    fn align(&mut self) -> Result<u64> {
        let target = self.length.next_multiple_of(ALIGNMENT);
        let padding = usize::try_from(target - self.length).unwrap_or(0);
        self.put(&vec![0; padding])?;
        Ok(target)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let io = |e| Error::io(&self.path, "written", e);
        let mut file = match self.file.take() {
            Some(file) => file,
            None => HashingWriter::new(BufWriter::new(File::create(&self.path).map_err(io)?)),
        };
        file.write_all(bytes).map_err(io)?;
        self.file = Some(file);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn finish(self) -> Result<Option<FileEntry>> {
        let Some(file) = self.file else { return Ok(None) };
        let (mut file, sha256, bytes) = file.finish();
        file.flush().map_err(|e| Error::io(&self.path, "written", e))?;
        Ok(Some(FileEntry { path: self.name, bytes, sha256 }))
    }
}
