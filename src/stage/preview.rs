//! Pictures of unfinished latents, while the denoising loop runs.

use crate::component::{Networks, movq};
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::image::{Picture, Size};
use crate::profile::Profile;
use crate::progress::{Observer, Preview, PreviewKind};
use crate::sampler::Step;
use crate::tensor::{Tensor, rows, side, tensor};
use ndarray::{ArrayView1, ArrayView2, Axis, Ix2, Ix3};

/// What previews need to know of the run.
#[derive(Clone, Copy)]
pub struct Previewer<'a> {
    /// The model's constants, which hold the linear map.
    pub constants: &'a Constants,
    /// The request's picture that the first row of latents becomes.
    pub first: usize,
    /// Size of the pictures; previews have it too.
    pub size: Size,
    /// Whose rounding to bytes.
    pub profile: Profile,
}

/// Refuses previews that a model cannot give, before anything runs.
///
/// # Errors
/// [`Kind::BadRequest`] for previews every 0 steps, and for linear ones of a model without their map.
pub fn check(observer: &Observer<'_>, constants: &Constants) -> Result<()> {
    let Some(previews) = &observer.previews else { return Ok(()) };
    if previews.every == 0 {
        return Err(Error::new(Kind::BadRequest, "previews were asked every 0 steps; the least is 1"));
    }
    match previews.kind {
        PreviewKind::Linear => map(constants).map(|_| ()),
        PreviewKind::Decode => Ok(()),
    }
}

impl Previewer<'_> {
    /// Shows the clean latents x0 f32\[B,4,h,w\] as predicted after `step`, a picture a row, where the observer
    /// wants to see them.
    ///
    /// # Errors
    /// When the network fails, the model has no linear map, or the caller cancels.
    pub fn show(
        &self,
        networks: &mut Networks,
        x0: &Tensor,
        step: &Step,
        observer: &mut Observer<'_>,
    ) -> Result<()> {
        let (step, total) = (step.index + 1, step.total);
        let Some(kind) = observer.preview_due(step) else { return Ok(()) };
        for row in 0..side(x0.shape(), 0)? {
            let latents = rows(x0, row, row + 1)?;
            let pixels = match kind {
                PreviewKind::Linear => {
                    linear(map(self.constants)?, &latents, networks.folder().manifest().latent.factor)?
                }
                PreviewKind::Decode => movq::decode(networks, &latents)?,
            };
            let image = Picture::from_pixels(&pixels, self.size, self.profile)?;
            observer.preview(Preview { step, total, picture: self.first + row, image })?;
        }
        Ok(())
    }
}

fn map(constants: &Constants) -> Result<&Tensor> {
    constants.preview.as_ref().ok_or_else(|| {
        let message = "this model has no map for linear previews; ask for decoded ones, or export it anew";
        Error::new(Kind::BadRequest, message)
    })
}

/// Pixels f32\[1,3,f·h,f·w\] of latents f32\[1,C,h,w\]: one colour a latent, which is the map's rows f32\[C+1,3\]
/// weighted by the latent's numbers and 1.
fn linear(map: &Tensor, latents: &Tensor, factor: usize) -> Result<Tensor> {
    let wrong = || {
        let message = format!("the map of linear previews has the shape {:?}", map.shape());
        Error::new(Kind::BadModel, message)
    };
    let map = map.view().into_dimensionality::<Ix2>().map_err(|_| wrong())?;
    let latents = latents.index_axis(Axis(0), 0).into_dimensionality::<Ix3>().map_err(|_| wrong())?;
    let (channels, height, width) = latents.dim();
    if map.dim() != (channels + 1, 3) {
        return Err(wrong());
    }
    let mut pixels = Vec::with_capacity(3 * factor * factor * height * width);
    for weights in map.axis_iter(Axis(1)) {
        let mut plane = ndarray::Array2::zeros((height, width));
        plane += weights.last().copied().unwrap_or(0.0);
        weights
            .iter()
            .zip(latents.outer_iter())
            .for_each(|(weight, latent)| plane.scaled_add(*weight, &latent));
        enlarge(&plane.view(), factor, &mut pixels);
    }
    tensor(&[1, 3, factor * height, factor * width], pixels)
}

/// Appends a plane f32\[h,w\] whose points have become squares of `factor` pixels a side.
fn enlarge(plane: &ArrayView2<'_, f32>, factor: usize, pixels: &mut Vec<f32>) {
    let wide = |row: ArrayView1<'_, f32>| -> Vec<f32> {
        row.iter().flat_map(|value| std::iter::repeat_n(*value, factor)).collect()
    };
    for row in plane.outer_iter().map(wide) {
        std::iter::repeat_n(row, factor).for_each(|row| pixels.extend(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latent_becomes_a_square_of_its_colour() {
        // Red is the first channel, green the second and 1, blue -1 alone.
        let map = tensor(&[3, 3], vec![1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 1.0, -1.0]).unwrap();
        let latents = tensor(&[1, 2, 1, 2], vec![0.5, 0.25, -1.0, -0.5]).unwrap();
        let pixels = linear(&map, &latents, 2).unwrap();
        assert_eq!(pixels.shape(), [1, 3, 2, 4]);
        let row = |a: f32, b: f32| [a, a, b, b].repeat(2);
        let expected = [row(0.5, 0.25), row(-1.0, 0.0), row(-1.0, -1.0)].concat();
        assert_eq!(pixels.iter().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_map_for_other_latents_is_refused() {
        let latents = Tensor::zeros(ndarray::IxDyn(&[1, 4, 2, 2]));
        for shape in [&[4, 3][..], &[5, 4], &[15], &[5, 3, 1]] {
            let map = Tensor::zeros(ndarray::IxDyn(shape));
            assert_eq!(linear(&map, &latents, 8).unwrap_err().kind(), Kind::BadModel);
        }
    }
}
