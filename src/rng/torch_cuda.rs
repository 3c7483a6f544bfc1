//! torch's CUDA generator: Philox 4x32 of 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2,
//! 3") and curand's way from words to normals.
//!
//! Every element has a thread, so a normal depends on its place and on how many draws came before. A draw of
//! more elements than a GPU runs threads gives a thread several; ours are then those of an A100.

use super::{Normals, elements};
use crate::error::Result;
use crate::math::{ln, narrow, sin_cos};
use crate::tensor::{Tensor, tensor};

/// Threads of an A100: 108 multiprocessors of 2048.
const THREADS: usize = 108 * 2048;
/// Normals that one run of the rounds gives a thread.
const WORDS: usize = 4;
const ROUNDS: usize = 10;
const MULTIPLIERS: (u32, u32) = (0xd251_1f53, 0xcd9e_8d57);
/// What the key grows by a round: the golden ratio and the root of 3 less 1.
const WEYL: (u32, u32) = (0x9e37_79b9, 0xbb67_ae85);

/// `torch.Generator("cuda").manual_seed(seed)`.
#[derive(Debug, Clone)]
pub struct TorchCuda {
    seed: u64,
    /// Runs of the rounds that earlier draws took.
    offset: u64,
}

impl TorchCuda {
    /// A generator; all 64 bits of a seed count.
    pub const fn new(seed: u64) -> Self {
        Self { seed, offset: 0 }
    }

    /// The 128 random bits that `thread` has in the next draw.
    pub fn words(&self, thread: usize) -> [u32; WORDS] {
        self.words_at(thread, 0)
    }

    fn words_at(&self, thread: usize, run: usize) -> [u32; WORDS] {
        let run = u64::try_from(run).unwrap_or(0);
        let (low, high) = halves(self.offset.wrapping_add(run));
        let (thread, above) = halves(u64::try_from(thread).unwrap_or(0));
        philox([low, high, thread, above], halves(self.seed))
    }

    /// The normal of element `place`.
    fn at(&self, place: usize) -> f32 {
        let turn = place / THREADS;
        let [a, b, c, d] = self.words_at(place % THREADS, turn / WORDS);
        match turn % WORDS {
            0 => pair(a, b).0,
            1 => pair(a, b).1,
            2 => pair(c, d).0,
            _ => pair(c, d).1,
        }
    }
}

impl Normals for TorchCuda {
    fn normal(&mut self, shape: &[usize]) -> Result<Tensor> {
        let count = elements(shape)?;
        let drawn = (0..count).map(|place| self.at(place)).collect();
        let runs = count.div_ceil(THREADS * WORDS);
        self.offset = self.offset.wrapping_add(u64::try_from(runs).unwrap_or(0));
        tensor(shape, drawn)
    }
}

/// Low and high half.
fn halves(whole: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = whole.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn philox(counter: [u32; WORDS], mut key: (u32, u32)) -> [u32; WORDS] {
    let mut words = counter;
    for _ in 0..ROUNDS {
        let [a, b, c, d] = words;
        let (low0, high0) = halves(u64::from(MULTIPLIERS.0) * u64::from(a));
        let (low1, high1) = halves(u64::from(MULTIPLIERS.1) * u64::from(c));
        words = [high1 ^ b ^ key.0, low1, high0 ^ d ^ key.1, low0];
        key = (key.0.wrapping_add(WEYL.0), key.1.wrapping_add(WEYL.1));
    }
    words
}

/// Box and Muller's pair, sine first; roundings to 32 bits are where curand has them.
fn pair(a: u32, b: u32) -> (f32, f32) {
    let unit = narrow((0.5_f64).powi(32));
    let turn = unit * std::f32::consts::TAU;
    let (a, b) = (narrow(f64::from(a)), narrow(f64::from(b)));
    let radius = (-2.0 * narrow(ln(f64::from(a * unit + unit / 2.0)))).sqrt();
    let (sin, cos) = sin_cos(f64::from(b * turn + turn / 2.0));
    (radius * narrow(sin), radius * narrow(cos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_paper() {
        // Known answers that the authors publish beside their code.
        assert_eq!(philox([0; 4], (0, 0)), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = u32::MAX;
        assert_eq!(philox([ones; 4], (ones, ones)), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn all_bits_of_a_seed_count() {
        assert_ne!(TorchCuda::new((1 << 32) + 7).words(0), TorchCuda::new(7).words(0));
    }

    #[test]
    fn draws_beyond_the_threads_use_the_other_words() {
        let mut generator = TorchCuda::new(3);
        let few = generator.clone().normal(&[16]).unwrap();
        let before = generator.clone();
        let many = generator.normal(&[THREADS * WORDS + 1]).unwrap();
        let flat = many.as_slice().unwrap();
        assert_eq!(&flat[..16], few.as_slice().unwrap());
        let [a, b, c, d] = before.words(0);
        assert_eq!(
            [flat[THREADS], flat[2 * THREADS], flat[3 * THREADS]],
            [pair(a, b).1, pair(c, d).0, pair(c, d).1]
        );
        let [a, b, ..] = before.words_at(0, 1);
        assert_eq!(flat[WORDS * THREADS], pair(a, b).0);
        assert_eq!(generator.words(5), before.words_at(5, 2)); // two runs were used up
    }
}
