//! Whose noise a row gets: every picture has a generator of its own, so that it is the same alone and
//! in a batch, and the same as diffusers' with a list of generators handed to both pipelines.

use crate::error::{Error, Kind, Result};
use crate::rng::{Generator, Normals};
use crate::sampler::Noise;
use crate::tensor::{Tensor, concat, rows};

/// A generator a picture.
pub struct PictureNoise {
    generators: Vec<Box<dyn Normals>>,
}

impl PictureNoise {
    /// Generators of a kind, one for each seed.
    pub fn new(kind: Generator, seeds: &[u64]) -> Self {
        Self { generators: seeds.iter().map(|seed| kind.seeded(*seed)).collect() }
    }

    /// The generators of pictures `start..end`, for a part of the batch; the others stay here.
    pub fn part(&mut self, start: usize, end: usize) -> Part<'_> {
        Part { generators: self.generators.get_mut(start..end).unwrap_or_default() }
    }
}

/// The generators of some of the pictures.
pub struct Part<'a> {
    generators: &'a mut [Box<dyn Normals>],
}

impl Noise for Part<'_> {
    /// Normals of `shape`, whose rows are one or several blocks of a row a picture: picture i draws row
    /// i of every block in one go, as it would alone.
    fn draw(&mut self, shape: &[usize]) -> Result<Tensor> {
        let pictures = self.generators.len();
        let (Some(total), Some(rest)) = (shape.first().copied(), shape.get(1..)) else {
            return Err(Error::new(Kind::Internal, "noise needs a shape with rows"));
        };
        if pictures == 0 || total % pictures != 0 {
            let message = format!("{total} rows of noise cannot be shared by {pictures} pictures");
            return Err(Error::new(Kind::Internal, message));
        }
        let blocks = total / pictures;
        let own: Vec<usize> = std::iter::once(blocks).chain(rest.iter().copied()).collect();
        let drawn: Result<Vec<_>> = self.generators.iter_mut().map(|g| g.normal(&own)).collect();
        let drawn = drawn?;
        let mut ordered = Vec::with_capacity(total);
        for block in 0..blocks {
            for picture in &drawn {
                ordered.push(rows(picture, block, block + 1)?);
            }
        }
        concat(&ordered, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_same_noise_alone_and_in_a_batch() {
        for kind in Generator::ALL {
            let seeds = [u64::MAX, 0, 41];
            let mut all = PictureNoise::new(kind, &seeds);
            let mut batch = all.part(0, 3);
            let (first, second) = (batch.draw(&[6, 4, 2]).unwrap(), batch.draw(&[3, 5]).unwrap());
            for (picture, seed) in seeds.iter().enumerate() {
                let mut alone = PictureNoise::new(kind, &[*seed]);
                let mut alone = alone.part(0, 1);
                let both = alone.draw(&[2, 4, 2]).unwrap();
                let apart = [picture, picture + 3].map(|row| rows(&first, row, row + 1).unwrap());
                assert_eq!(concat(&apart, 0).unwrap(), both, "{} {seed}", kind.name());
                assert_eq!(rows(&second, picture, picture + 1).unwrap(), alone.draw(&[1, 5]).unwrap());
            }
            assert!(all.part(0, 2).draw(&[3, 1]).is_err());
        }
    }
}
