//! torch's CPU generator: MT19937 and its way from integers to normals.
//!
//! Integers and uniforms are torch's bit for bit. Normals are within 1e-6 of torch's, whose own differ with
//! the processor's vector unit; ours have the same bits on every machine.

use super::{Normals, elements};
use crate::error::Result;
use crate::math::{ln, narrow, sin_cos};
use crate::tensor::{Tensor, tensor};

/// Words of the Mersenne Twister's state, and how far apart the words are that it combines.
const WORDS: usize = 624;
const APART: usize = 397;
/// Normals are made in chunks of so many, halves of which are cosines and sines.
const CHUNK: usize = 16;

/// `torch.Generator("cpu").manual_seed(seed)`.
#[derive(Clone)]
pub struct TorchCpu {
    state: [u32; WORDS],
    next: usize,
    /// The second normal of the last pair that was drawn singly.
    spare: Option<f64>,
}

impl TorchCpu {
    /// A generator; torch takes the low 32 bits of a seed.
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d, ..] = seed.to_le_bytes();
        let mut word = u32::from_le_bytes([a, b, c, d]);
        let mut state = [0; WORDS];
        for (index, slot) in (0_u32..).zip(&mut state) {
            if index > 0 {
                word = (word ^ (word >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index);
            }
            *slot = word;
        }
        Self { state, next: WORDS, spare: None }
    }

    /// A number in [0, 1) with 24 random bits: `torch.rand` of 32-bit floats.
    pub fn uniform(&mut self) -> f32 {
        narrow(f64::from(self.next_u32() & 0x00ff_ffff) * (0.5_f64).powi(24))
    }

    /// A number in [0, 1) with 53 random bits: `torch.rand` of 64-bit floats.
    pub fn uniform_f64(&mut self) -> f64 {
        let bits = self.next_u64() & ((1 << 53) - 1);
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        (f64::from(high) * 4_294_967_296.0 + f64::from(low)) * (0.5_f64).powi(53)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next >= WORDS {
            self.twist();
            self.next = 0;
        }
        let mut word = self.state.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// 64 random bits, the high word drawn first.
    pub fn next_u64(&mut self) -> u64 {
        let high = u64::from(self.next_u32());
        high << 32 | u64::from(self.next_u32())
    }

    #[expect(clippy::indexing_slicing, reason = "every index is below WORDS, taken modulo WORDS")]
    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let mixed = if joined & 1 == 1 { (joined >> 1) ^ 0x9908_b0df } else { joined >> 1 };
            self.state[i] = self.state[(i + APART) % WORDS] ^ mixed;
        }
    }

    /// Fewer than 16 are drawn one by one in 64 bits; the pair's second waits for the next such draw.
    fn single_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (turn, length) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * ln(1.0 - length)).sqrt();
        let (sin, cos) = sin_cos(std::f64::consts::TAU * turn);
        self.spare = Some(radius * sin);
        radius * cos
    }

    /// 16 and more are drawn as uniforms that are turned into normals in place, in chunks of 16; the last
    /// chunk, where it is a part, is drawn anew and overlaps the one before.
    fn many_normals(&mut self, count: usize) -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..count).map(|_| self.uniform()).collect();
        numbers.chunks_exact_mut(CHUNK).for_each(make_normal);
        if !count.is_multiple_of(CHUNK)
            && let Some((_, last)) = numbers.split_last_chunk_mut::<CHUNK>()
        {
            last.iter_mut().for_each(|slot| *slot = self.uniform());
            make_normal(last);
        }
        numbers
    }
}

impl Normals for TorchCpu {
    fn normal(&mut self, shape: &[usize]) -> Result<Tensor> {
        let count = elements(shape)?;
        let drawn = if count < CHUNK {
            (0..count).map(|_| narrow(self.single_normal())).collect()
        } else {
            self.many_normals(count)
        };
        tensor(shape, drawn)
    }
}

/// Box and Muller's pairs of a chunk of uniforms; roundings to 32 bits are where torch has them.
fn make_normal(chunk: &mut [f32]) {
    let (left, right) = chunk.split_at_mut(CHUNK / 2);
    for (a, b) in left.iter_mut().zip(right) {
        let radius = (-2.0 * narrow(ln(f64::from(1.0 - *a)))).sqrt();
        let (sin, cos) = sin_cos(f64::from(std::f32::consts::TAU * *b));
        *a = radius * narrow(cos);
        *b = radius * narrow(sin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_twister() {
        let mut generator = TorchCpu::new(5489); // the first words of the published generator's default seed
        let words: Vec<u32> = (0..3).map(|_| generator.next_u32()).collect();
        assert_eq!(words, [3_499_211_612, 581_869_302, 3_890_346_734]);
        let last = (3..10_000).map(|_| generator.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995)); // the 10,000th, from the C++ standard
    }

    #[test]
    fn seeds_beyond_32_bits_wrap() {
        assert_eq!(TorchCpu::new((1 << 32) + 7).next_u64(), TorchCpu::new(7).next_u64());
    }

    #[test]
    fn normals_are_torchs() {
        // The widely known torch.manual_seed(0); torch.randn(3), and the first of a longer draw.
        let few = TorchCpu::new(0).normal(&[3]).unwrap();
        for (ours, torch) in few.iter().zip([1.540_996_f32, -0.293_428_9, -2.178_789_4]) {
            assert!((ours - torch).abs() < 1e-6, "{ours} is not {torch}");
        }
        let many = TorchCpu::new(0).normal(&[4, 5]).unwrap();
        for (ours, torch) in many.iter().zip([-1.125_840_2_f32, -1.152_360_2, -0.250_578_55, -0.433_878_8]) {
            assert!((ours - torch).abs() < 1e-6, "{ours} is not {torch}");
        }
    }

    #[test]
    fn the_spare_normal_outlives_a_long_draw() {
        let (mut one, mut two) = (TorchCpu::new(3), TorchCpu::new(3));
        one.normal(&[1]).unwrap();
        two.normal(&[2]).unwrap();
        one.normal(&[16]).unwrap();
        assert_eq!(one.normal(&[1]).unwrap().first(), TorchCpu::new(3).normal(&[2]).unwrap().last());
    }
}
