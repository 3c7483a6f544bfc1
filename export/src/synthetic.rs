//! Made-up weights that every machine and language makes alike, bit for bit.
//!
//! A tensor's elements follow from its name, its shape and a seed alone: FNV-1a of the name, a
//! SplitMix64 stream, 24 bits an element, scaled so that activations neither die nor explode. Tests then
//! need no stored weights, and the full-size networks can be exercised where the real weights are not.

use crate::number::{float, narrow};
use crate::weights::Weights;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The seed of the reference's tiny checkpoint.
pub const SEED: u64 = 0x4B41_4E44_494E_5359;

/// Elements made at a time.
const PIECE: usize = 1 << 18;
/// Names of embedding tables, by their ends.
const EMBEDDINGS: [&str; 8] = [
    "token_embedding.weight",
    "position_embedding.weight",
    "class_embedding",
    "word_embeddings.weight",
    "position_embeddings.weight",
    "token_type_embeddings.weight",
    "positional_embedding",
    "prd_embedding",
];

/// A component whose weights are made when they are asked for.
#[derive(Debug, Clone)]
pub struct Synthetic {
    component: String,
    seed: u64,
    tensors: BTreeMap<String, Vec<usize>>,
}

impl Synthetic {
    /// The component of that name with these tensors.
    pub fn new(component: &str, seed: u64, tensors: impl IntoIterator<Item = (String, Vec<usize>)>) -> Self {
        Self { component: component.to_owned(), seed, tensors: tensors.into_iter().collect() }
    }
}

impl Weights for Synthetic {
    fn component(&self) -> &str {
        &self.component
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(Vec::as_slice)
    }

    fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let missing = || Error::MissingTensor { component: self.component.clone(), name: name.to_owned() };
        let shape = self.tensors.get(name).ok_or_else(missing)?;
        let mut values = Values::new(name, shape, self.seed);
        let mut left = shape.iter().product::<usize>();
        let mut piece = vec![0.0; PIECE.min(left)];
        while left > 0 {
            piece.truncate(left);
            values.fill(&mut piece);
            sink(&piece)?;
            left -= piece.len();
        }
        Ok(())
    }
}

/// The elements of one tensor in row-major order, without end.
#[derive(Debug, Clone)]
pub struct Values {
    state: u64,
    scale: f32,
    shift: f32,
}

impl Values {
    /// The tensor of that name and shape under `seed`.
    pub fn new(name: &str, shape: &[usize], seed: u64) -> Self {
        let (scale, shift) = coefficients(name, shape);
        Self { state: fnv1a(name) ^ seed, scale, shift }
    }

    /// Makes the next `piece.len()` elements.
    pub fn fill(&mut self, piece: &mut [f32]) {
        for slot in piece {
            self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let scaled = signed_unit(mix(self.state)) * self.scale;
            // Adding zero would turn -0 into 0, and the rule leaves it.
            *slot = if self.shift == 0.0 { scaled } else { scaled + self.shift };
        }
    }
}

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The upper 24 bits as a number in \[-1,1), without rounding.
fn signed_unit(z: u64) -> f32 {
    let [high, middle, low, ..] = z.to_be_bytes();
    let upper = f32::from(u16::from_be_bytes([high, middle]));
    let whole = upper * 256.0 + f32::from(low);
    (whole - 8_388_608.0) * (1.0 / 8_388_608.0)
}

/// 64-bit FNV-1a.
fn fnv1a(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Scale and shift of a tensor: the first rule that fits its name and rank.
fn coefficients(name: &str, shape: &[usize]) -> (f32, f32) {
    let ends = |end: &str| name.ends_with(end);
    if ends("clip_mean") {
        return (0.1, 0.0);
    }
    if ends("clip_std") {
        return (0.1, 1.0);
    }
    if EMBEDDINGS.into_iter().any(ends) {
        return (0.5, 0.0);
    }
    if ends("quantize.embedding.weight") {
        return (1.0, 0.0);
    }
    if name == "conv_out.bias" {
        return (0.01, 0.0);
    }
    if shape.len() <= 1 {
        let is_gain = ends(".weight") || ends(".conv_y.bias");
        return (0.1, if is_gain { 1.0 } else { 0.0 });
    }
    let factor = match name {
        "conv_out.weight" => 0.1,
        "decoder.conv_out.weight" => 0.5,
        _ => 1.0,
    };
    (narrow(factor * (3.0 / fan_in(shape)).sqrt()), 0.0)
}

/// Inputs of one output: the product of all sides but the first.
fn fan_in(shape: &[usize]) -> f64 {
    shape.iter().skip(1).map(|side| float(*side)).product()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn bits(name: &str, shape: &[usize], n: usize) -> Vec<u32> {
        let mut piece = vec![0.0; n];
        Values::new(name, shape, SEED).fill(&mut piece);
        piece.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn the_published_values_come_out() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("conv_in.weight"), 0x1ce6_9906_bdc5_74a7);
        assert_eq!(bits("conv_in.weight", &[16, 4, 3, 3], 3), [0xbcbd_3b39, 0xbe69_988b, 0xbe7d_b3a3]);
        assert_eq!(bits("conv_out.weight", &[8, 16, 3, 3], 3), [0x3a8e_4caa, 0xbc4d_b788, 0xbc1a_1f30]);
        assert_eq!(bits("conv_out.bias", &[8], 3), [0x3b94_deb3, 0x3c21_1e66, 0x3b3e_1099]);
        assert_eq!(bits("prd_embedding", &[1, 1, 64], 3), [0xbec3_7bd0, 0x3e1d_0abc, 0xbe30_ecdc]);
        assert_eq!(bits("clip_std", &[1, 24], 3), [0x3f79_b0bb, 0x3f80_becc, 0x3f76_81cc]);
        assert_eq!(bits("norm_out.weight", &[64], 3), [0x3f7b_5bb6, 0x3f81_4446, 0x3f77_cefc]);
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let shape = vec![3, PIECE / 2 + 5];
        let weights = Synthetic::new("unet", 7, [("a.weight".to_owned(), shape.clone())]);
        let all = weights.read("a.weight").unwrap();
        assert_eq!(all.len(), shape.iter().product::<usize>());
        let mut whole = vec![0.0; all.len()];
        Values::new("a.weight", &shape, 7).fill(&mut whole);
        assert_eq!(all, whole);
        assert!(matches!(weights.read("b"), Err(Error::MissingTensor { .. })));
    }
}
