//! Fitting a prior (paper, section 3): from a folder of pictures with captions to a [`FittedPrior`].
//!
//! The model's own CLIP turns pictures and captions into embeddings; a part of the pictures is held out to
//! check the fit. The same folder, seed and embeddings give the same prior, bit for bit.

pub mod captions;

use crate::component::{Networks, image_encoder};
use crate::error::{Error, Result};
use crate::image::{Picture, clip};
use crate::priors::{self, FittedPrior, Pairs, Plan, PriorKind};
use crate::progress::{Observer, Stage};
use crate::rng::TorchCpu;
use crate::stage::encode::{Encoder, TOGETHER};
use crate::tensor::{Tensor, concat, rows};
use captions::Captioned;
use std::collections::{BTreeMap, BTreeSet};

/// Pictures of a call of the image encoder.
const PICTURES: usize = 8;
/// One picture in so many is held out, and at least two are.
const HELD_OUT: usize = 5;

/// Fits a prior on captioned pictures, at least as many as [`captions::read`] gives.
///
/// # Errors
/// [`crate::error::Kind::BadRequest`] for a kind that is not fitted,
/// [`crate::error::Kind::BadImage`] for a picture that cannot be read; when an encoder fails or the caller
/// cancels.
pub fn run(
    networks: &mut Networks,
    encoder: &Encoder<'_>,
    captioned: &[Captioned],
    kind: PriorKind,
    seed: u64,
    observer: &mut Observer<'_>,
) -> Result<FittedPrior> {
    let clip = priors::fingerprint(networks.folder().manifest())?;
    let embedded = Embedded::new(networks, encoder, captioned, observer)?;
    let (train, held_out) = split(captioned.len(), seed);
    let plan = Plan { kind, clip, pictures: train.len(), seed };
    let (train, held_out) = (embedded.pairs(captioned, &train)?, embedded.pairs(captioned, &held_out)?);
    FittedPrior::fit(plan, &train, &held_out, &mut |step, total| observer.step(Stage::Fit, step, total))
}

/// The pictures to fit on and those that are held out, each in order.
fn split(pictures: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..pictures).collect();
    priors::shuffle(&mut order, &mut TorchCpu::new(seed));
    let mut train = order.split_off((pictures / HELD_OUT).max(2).min(pictures));
    order.sort_unstable();
    train.sort_unstable();
    (train, order)
}

/// Embeddings of every picture and of every distinct caption.
struct Embedded {
    pictures: Tensor, // (pictures, D)
    captions: Tensor, // (captions, D)
    places: BTreeMap<String, usize>,
}

impl Embedded {
    fn new(
        networks: &mut Networks,
        encoder: &Encoder<'_>,
        captioned: &[Captioned],
        observer: &mut Observer<'_>,
    ) -> Result<Self> {
        let distinct: BTreeSet<&str> =
            captioned.iter().flat_map(|one| one.captions.iter().map(String::as_str)).collect();
        let distinct: Vec<&str> = distinct.into_iter().collect();
        let total = captioned.len() + distinct.len();
        let mut texts = Vec::new();
        for (part, chunk) in distinct.chunks(TOGETHER).enumerate() {
            texts.push(encoder.clip_pooled(networks, chunk)?);
            observer.step(Stage::Encode, part * TOGETHER + chunk.len(), total)?;
        }
        let mut pictures = Vec::new();
        for (part, chunk) in captioned.chunks(PICTURES).enumerate() {
            pictures.push(embed_pictures(networks, chunk)?);
            observer.step(Stage::Encode, distinct.len() + part * PICTURES + chunk.len(), total)?;
        }
        let places = distinct.iter().enumerate().map(|(place, text)| ((*text).to_owned(), place)).collect();
        Ok(Self { pictures: concat(&pictures, 0)?, captions: concat(&texts, 0)?, places })
    }

    /// A pair a caption of the pictures at these places.
    fn pairs(&self, captioned: &[Captioned], pictures: &[usize]) -> Result<Pairs> {
        let (mut text, mut image) = (Vec::new(), Vec::new());
        for (picture, one) in pictures.iter().filter_map(|at| Some((*at, captioned.get(*at)?))) {
            for place in one.captions.iter().filter_map(|caption| self.places.get(caption)) {
                text.push(rows(&self.captions, *place, place + 1)?);
                image.push(rows(&self.pictures, picture, picture + 1)?);
            }
        }
        Ok(Pairs { text: concat(&text, 0)?, image: concat(&image, 0)? })
    }
}

/// Image embeddings f32\[B,D\] of pictures in files.
fn embed_pictures(networks: &mut Networks, chunk: &[Captioned]) -> Result<Tensor> {
    let settings = networks.folder().manifest().clip_image.clone();
    let prepared: Result<Vec<Tensor>> = chunk
        .iter()
        .map(|one| {
            let named = |e: Error| Error::new(e.kind(), format!("{}: {e}", one.picture.display()));
            clip::prepare(&Picture::open(&one.picture)?, &settings).map_err(named)
        })
        .collect();
    image_encoder::encode(networks, &concat(&prepared?, 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_whole_disjoint_and_depend_on_the_seed() {
        for pictures in [8, 9, 10, 11, 90, 1000] {
            let (train, held_out) = split(pictures, 3);
            assert_eq!(held_out.len(), (pictures / 5).max(2));
            let mut all = [train.clone(), held_out.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, (0..pictures).collect::<Vec<_>>());
            assert_eq!(split(pictures, 3), (train, held_out));
        }
        assert_ne!(split(90, 3), split(90, 4));
    }
}
