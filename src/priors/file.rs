//! A fitted prior as one safetensors file: its card as JSON in the metadata, its numbers as f32 tensors.
//!
//! | tensor | shape |
//! | --- | --- |
//! | `text.mean`, `text.std`, `image.mean`, `image.std` | \[D\] |
//! | linear: `weight`, `bias` (y = x · weight + bias) | \[D,D\], \[D\] |
//! | residual: `blocks.I.norm.weight`, `blocks.I.norm.bias`, I from 0 to 17 | \[D\] |
//! | `blocks.I.up.weight`, `blocks.I.up.bias` | \[D,H\], \[H\] |
//! | `blocks.I.down.weight`, `blocks.I.down.bias` | \[H,D\], \[D\] |
//! | `out.weight`, `out.bias` | \[D,D\], \[D\] |
//!
//! H follows from D ([`hidden_width`]). The card says which tensors must be there, so that every claim of the
//! header is checked before a number is read.

use super::linear::Affine;
use super::pairs::Scale;
use super::residual::{BLOCKS, Block, Residual, hidden_width};
use super::{Card, FittedPrior, Map, PriorKind};
use crate::error::{Error, Kind, Result};
use crate::{atomic_file, limits};
use ndarray::{Array1, Array2, ArrayViewD};
use safetensors::{Dtype, tensor::TensorView};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Version of the format that is written and read.
pub const FORMAT: u32 = 1;
/// The metadata's key of the card.
const CARD: &str = "kandinsky_prior";

impl FittedPrior {
    /// Writes the prior to `path`, whole or not at all. Equal priors give equal bytes.
    ///
    /// # Errors
    /// As [`atomic_file::write_whole`].
    pub fn save(&self, path: impl AsRef<Path>, replace: bool) -> Result<()> {
        atomic_file::write_whole(path.as_ref(), &self.to_bytes()?, replace)
    }

    /// Reads a prior from the file at `path`.
    ///
    /// # Errors
    /// [`Kind::Io`] when there is no such file; [`Kind::BadModel`] when it is no whole fitted prior of this
    /// format, or beyond the limits.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |e: std::io::Error| Error::io(path, "read", &e);
        let named = |e: Error| Error::new(e.kind(), format!("{}: {e}", path.display()));
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !path.metadata().map_err(io)?.is_file() {
            return Err(named(bad("it is not a file")));
        }
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        read(&mut file, size).map_err(named)
    }

    /// As [`FittedPrior::open`], from the file's bytes.
    ///
    /// # Errors
    /// As [`FittedPrior::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        read(&mut Cursor::new(bytes), u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When the card holds a number that JSON cannot.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let failed = |e: &dyn fmt::Display| {
            Error::new(Kind::Internal, format!("the prior cannot be written down: {e}"))
        };
        let card = serde_json::to_string(&self.card).map_err(|e| failed(&e))?;
        let stored: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .tensors()
            .into_iter()
            .map(|(name, numbers)| {
                let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
                (name, numbers.shape().to_vec(), bytes)
            })
            .collect();
        let mut views = Vec::with_capacity(stored.len());
        for (name, shape, bytes) in &stored {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|e| failed(&e))?;
            views.push((name.as_str(), view));
        }
        let metadata = HashMap::from([(CARD.to_owned(), card)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| failed(&e))
    }

    /// Its tensors by name.
    fn tensors(&self) -> Vec<(String, ArrayViewD<'_, f32>)> {
        let mut named = Named::default();
        named.vector("text.mean", &self.text.mean);
        named.vector("text.std", &self.text.std);
        named.vector("image.mean", &self.image.mean);
        named.vector("image.std", &self.image.std);
        match &self.map {
            Map::Linear(affine) => named.affine("", affine),
            Map::Residual(network) => {
                for (index, block) in network.blocks.iter().enumerate() {
                    named.vector(&format!("blocks.{index}.norm.weight"), &block.scale);
                    named.vector(&format!("blocks.{index}.norm.bias"), &block.shift);
                    named.affine(&format!("blocks.{index}.up."), &block.up);
                    named.affine(&format!("blocks.{index}.down."), &block.down);
                }
                named.affine("out.", &network.out);
            }
        }
        named.0
    }

    /// Every number is finite, and every deviation above 0.
    pub(super) fn check_numbers(&self) -> Result<()> {
        for (name, numbers) in self.tensors() {
            if let Some(number) = numbers.iter().find(|x| !x.is_finite()) {
                return Err(bad(format!("the tensor {name} holds {number}")));
            }
            if name.ends_with(".std") && numbers.iter().any(|x| *x <= 0.0) {
                return Err(bad(format!("the tensor {name} holds a deviation that is not above 0")));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Named<'a>(Vec<(String, ArrayViewD<'a, f32>)>);

impl<'a> Named<'a> {
    fn vector(&mut self, name: &str, numbers: &'a Array1<f32>) {
        self.0.push((name.to_owned(), numbers.view().into_dyn()));
    }

    fn affine(&mut self, prefix: &str, affine: &'a Affine) {
        self.0.push((format!("{prefix}weight"), affine.weight.view().into_dyn()));
        self.0.push((format!("{prefix}bias"), affine.bias.view().into_dyn()));
    }
}

/// Reads a file of `size` bytes: header, then card, then layout, then numbers.
fn read(file: &mut impl Read, size: u64) -> Result<FittedPrior> {
    let limit = limits::PRIOR_FILE_BYTES;
    if size > limit {
        return Err(bad(format!("it has {size} bytes; the limit is {limit}")));
    }
    let mut first = [0; 8];
    file.read_exact(&mut first).map_err(|_| bad(format!("it has {size} bytes, too few for a header")))?;
    let length = u64::from_le_bytes(first);
    let room = size.saturating_sub(8);
    let limit = limits::PRIOR_HEADER_BYTES.min(room);
    if length > limit {
        return Err(bad(format!("its header claims {length} bytes; the limit is {limit}")));
    }
    let header = read_bytes(file, length)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|e| bad(format!("its header is wrong: {e}")))?;
    let card = card(&header)?;
    check_layout(&header, &card, room - length)?;
    let data = read_bytes(file, room - length)?;
    let mut numbers = Numbers { header: &header.tensors, data: &data };
    let prior = numbers.prior(card)?;
    prior.check_numbers()?;
    Ok(prior)
}

/// Exactly `length` bytes, which the file was found to have.
fn read_bytes(file: &mut impl Read, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let found = file.take(length).read_to_end(&mut bytes);
    match found.map(u64::try_from) {
        Ok(Ok(found)) if found == length => Ok(bytes),
        Ok(_) => Err(bad("it ends early")),
        Err(e) => Err(Error::new(Kind::Io, format!("it cannot be read: {e}"))),
    }
}

/// The card, with a width and a kind that can be.
fn card(header: &Header) -> Result<Card> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let text = header.metadata.get(CARD).ok_or_else(|| bad("it is no fitted prior: it has no card"))?;
    let wrong = |e: serde_json::Error| bad(format!("its card is wrong: {e}"));
    let Version { format } = serde_json::from_str(text).map_err(wrong)?;
    if format != FORMAT {
        return Err(bad(format!("it has format {format}, and this program reads format {FORMAT}")));
    }
    let card: Card = serde_json::from_str(text).map_err(wrong)?;
    if !card.kind.is_fitted() {
        return Err(bad(format!("it claims to be a {} prior, which is not fitted", card.kind)));
    }
    let limit = limits::EMBED_WIDTH;
    if card.width == 0 || card.width > limit {
        return Err(bad(format!("its embeddings have {} numbers; the limit is 1 to {limit}", card.width)));
    }
    Ok(card)
}

/// The tensors of such a prior with their shapes.
fn layout(kind: PriorKind, width: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors: Vec<(String, Vec<usize>)> = ["text.mean", "text.std", "image.mean", "image.std"]
        .map(|name| (name.to_owned(), vec![width]))
        .into();
    let mut affine = |prefix: &str, from: usize, to: usize| {
        tensors.push((format!("{prefix}weight"), vec![from, to]));
        tensors.push((format!("{prefix}bias"), vec![to]));
    };
    if kind == PriorKind::Linear {
        affine("", width, width);
        return tensors;
    }
    let hidden = hidden_width(width);
    for index in 0..BLOCKS {
        affine(&format!("blocks.{index}.up."), width, hidden);
        affine(&format!("blocks.{index}.down."), hidden, width);
    }
    affine("out.", width, width);
    for index in 0..BLOCKS {
        tensors.push((format!("blocks.{index}.norm.weight"), vec![width]));
        tensors.push((format!("blocks.{index}.norm.bias"), vec![width]));
    }
    tensors
}

/// The header names exactly the tensors of the card's prior, and they fill `data` bytes without holes.
fn check_layout(header: &Header, card: &Card, data: u64) -> Result<()> {
    let layout = layout(card.kind, card.width);
    let mut ranges = Vec::with_capacity(layout.len());
    for (name, shape) in &layout {
        let entry = header.tensors.get(name).ok_or_else(|| bad(format!("the tensor {name} is missing")))?;
        if entry.dtype != "F32" || entry.shape != *shape {
            let Entry { dtype, shape: found, .. } = entry;
            return Err(bad(format!("the tensor {name} is {dtype}{found:?}, and F32{shape:?} is expected")));
        }
        let (begin, end) = entry.data_offsets;
        ranges.push((begin, end, name));
        let bytes = shape.iter().try_fold(4_u64, |all, side| all.checked_mul(u64::try_from(*side).ok()?));
        if end.checked_sub(begin) != bytes || end > data {
            return Err(bad(format!("the tensor {name} lies at bytes {begin} to {end} of {data}")));
        }
    }
    let is_known = |name: &&String| layout.iter().any(|(known, _)| known == *name);
    if let Some(other) = header.tensors.keys().find(|name| !is_known(name)) {
        return Err(bad(format!("the tensor {other} is none of a {} prior", card.kind)));
    }
    ranges.sort_unstable();
    let mut at = 0;
    for (begin, end, name) in ranges {
        if begin != at {
            return Err(bad(format!("the tensor {name} begins at byte {begin} instead of {at}")));
        }
        at = end;
    }
    if at == data { Ok(()) } else { Err(bad(format!("{} bytes follow the last tensor", data - at))) }
}

/// A safetensors header in which nothing is there twice.
#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        json.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header::default();
        let mut metadata = None;
        while let Some(name) = map.next_key::<String>()? {
            let twice = if name == "__metadata__" {
                metadata.replace(map.next_value()?).is_some()
            } else {
                header.tensors.insert(name.clone(), map.next_value()?).is_some()
            };
            if twice {
                return Err(serde::de::Error::custom(format!("{name} is there twice")));
            }
        }
        header.metadata = metadata.unwrap_or_default();
        Ok(header)
    }
}

/// The numbers of a file whose layout was checked.
struct Numbers<'a> {
    header: &'a BTreeMap<String, Entry>,
    data: &'a [u8],
}

impl Numbers<'_> {
    fn prior(&mut self, card: Card) -> Result<FittedPrior> {
        let scale = |numbers: &Self, of: &str| -> Result<Scale> {
            let (mean, std) = (numbers.vector(&format!("{of}.mean"))?, numbers.vector(&format!("{of}.std"))?);
            Ok(Scale { mean, std })
        };
        let (text, image) = (scale(self, "text")?, scale(self, "image")?);
        let map = match card.kind {
            PriorKind::Linear => Map::Linear(self.affine("")?),
            _ => Map::Residual(self.residual()?),
        };
        Ok(FittedPrior { card, text, image, map })
    }

    fn residual(&self) -> Result<Residual> {
        let block = |index: usize| -> Result<Block> {
            Ok(Block {
                scale: self.vector(&format!("blocks.{index}.norm.weight"))?,
                shift: self.vector(&format!("blocks.{index}.norm.bias"))?,
                up: self.affine(&format!("blocks.{index}.up."))?,
                down: self.affine(&format!("blocks.{index}.down."))?,
            })
        };
        let blocks: Result<Vec<_>> = (0..BLOCKS).map(block).collect();
        Ok(Residual { blocks: blocks?, out: self.affine("out.")? })
    }

    fn affine(&self, prefix: &str) -> Result<Affine> {
        let bias = self.vector(&format!("{prefix}bias"))?;
        let numbers = self.vector(&format!("{prefix}weight"))?;
        let rows = numbers.len().checked_div(bias.len()).unwrap_or(0);
        let weight = Array2::from_shape_vec((rows, bias.len()), numbers.into_raw_vec_and_offset().0);
        Ok(Affine { weight: weight.map_err(|e| bad(e.to_string()))?, bias })
    }

    fn vector(&self, name: &str) -> Result<Array1<f32>> {
        let missing = || bad(format!("the tensor {name} is missing"));
        let (begin, end) = self.header.get(name).ok_or_else(missing)?.data_offsets;
        let (begin, end) = (usize::try_from(begin).ok(), usize::try_from(end).ok());
        let range = begin.zip(end).and_then(|(begin, end)| self.data.get(begin..end)).ok_or_else(missing)?;
        let (chunks, _) = range.as_chunks::<4>();
        Ok(chunks.iter().map(|four| f32::from_le_bytes(*four)).collect())
    }
}

fn bad(reason: impl fmt::Display) -> Error {
    Error::new(Kind::BadModel, format!("the fitted prior cannot be used: {reason}"))
}
