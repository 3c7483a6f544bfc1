//! Random numbers that a seed makes again: torch's two generators.

mod torch_cpu;
mod torch_cuda;

pub use torch_cpu::TorchCpu;
pub use torch_cuda::TorchCuda;

use crate::error::{Error, Kind, Result};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// A stream of standard normals.
pub trait Normals: Send {
    /// Standard normals as `torch.randn(shape)` draws them.
    ///
    /// # Errors
    /// [`Kind::OutOfMemory`] when the shape has more elements than memory can hold.
    fn normal(&mut self, shape: &[usize]) -> Result<Tensor>;
}

/// Whose generator turns seeds into noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generator {
    /// torch's on the processor, which diffusers' documentation uses for pictures that can be made again.
    #[default]
    TorchCpu,
    /// torch's on a GPU.
    TorchCuda,
}

impl Generator {
    /// Every generator.
    pub const ALL: [Self; 2] = [Self::TorchCpu, Self::TorchCuda];

    /// The name at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TorchCpu => "torch-cpu",
            Self::TorchCuda => "torch-cuda",
        }
    }

    /// A generator as `manual_seed(seed)` leaves it.
    pub fn seeded(self, seed: u64) -> Box<dyn Normals> {
        match self {
            Self::TorchCpu => Box::new(TorchCpu::new(seed)),
            Self::TorchCuda => Box::new(TorchCuda::new(seed)),
        }
    }
}

/// How many numbers fill `shape`.
fn elements(shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
    count
        .filter(|n| *n <= isize::MAX.unsigned_abs() / size_of::<f32>())
        .ok_or_else(|| Error::new(Kind::OutOfMemory, format!("noise of shape {shape:?} fits no memory")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_files() {
        for generator in Generator::ALL {
            assert_eq!(serde_json::to_value(generator).unwrap(), generator.name());
        }
    }

    #[test]
    fn shapes_beyond_memory_are_refused() {
        for generator in Generator::ALL {
            let error = generator.seeded(0).normal(&[usize::MAX, 2]).unwrap_err();
            assert_eq!(error.kind(), Kind::OutOfMemory, "{}", generator.name());
        }
    }

    #[test]
    fn a_seed_makes_the_same_numbers_again() {
        for generator in Generator::ALL {
            let (mut one, mut two) = (generator.seeded(9), generator.seeded(9));
            let first = one.normal(&[2, 40]).unwrap();
            assert_eq!(first, two.normal(&[2, 40]).unwrap(), "{}", generator.name());
            assert_ne!(first, one.normal(&[2, 40]).unwrap(), "{}", generator.name());
            assert_ne!(first, generator.seeded(10).normal(&[2, 40]).unwrap(), "{}", generator.name());
        }
    }
}
