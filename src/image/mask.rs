//! Masks of inpainting. In pixels white is repainted; in latents 1 keeps a point and 0 draws it anew.

use super::movq::pad;
use super::resize::{self, Filter, Source};
use super::{Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use crate::tensor::{Tensor, tensor};
use ndarray::{Array2, ArrayView2, Axis, Ix4};

/// The darkest level that is repainted: half of white, upwards.
const THRESHOLD: u8 = 128;

/// What of a picture is repainted: a byte a pixel, 128 and more repaints. It repaints something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    size: Size,
    plane: Vec<u8>,
}

impl Mask {
    /// A mask of row-major bytes; 128 to 255 are repainted.
    ///
    /// # Errors
    /// When the bytes do not fill the size, or repaint nothing.
    pub fn new(size: Size, plane: Vec<u8>) -> Result<Self> {
        if plane.is_empty() || size.width.checked_mul(size.height) != Some(plane.len()) {
            return Err(bad(format!("{} bytes do not fill a mask of {size}", plane.len())));
        }
        if plane.iter().all(|level| *level < THRESHOLD) {
            return Err(bad(format!("the mask of {size} repaints nothing: no pixel is lighter than half")));
        }
        Ok(Self { size, plane })
    }

    /// White is repainted, by luminance.
    ///
    /// # Errors
    /// When nothing is white.
    pub fn from_picture(picture: &Picture) -> Result<Self> {
        Self::new(picture.size(), picture.pixels().iter().map(luminance).collect())
    }

    /// Black is repainted instead: the original repository's masks are that way round.
    ///
    /// # Errors
    /// When the mask repaints everything, so that nothing would be left to repaint.
    pub fn inverted(&self) -> Result<Self> {
        Self::new(self.size, self.plane.iter().map(|level| 255 - level).collect())
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Whether each pixel is repainted, rows from the top.
    pub fn repaints(&self) -> impl ExactSizeIterator<Item = bool> {
        self.plane.iter().map(|level| *level >= THRESHOLD)
    }

    /// Passes a picture of the mask's own size.
    ///
    /// # Errors
    /// [`Kind::BadImage`] for one of another size.
    pub fn check(&self, picture: &Picture) -> Result<()> {
        if picture.size() == self.size {
            return Ok(());
        }
        Err(bad(format!("the mask is of {}, but its picture of {}", self.size, picture.size())))
    }

    /// The mask at another size, as the reference resizes masks: by Lanczos' filter.
    ///
    /// # Errors
    /// When a side is 0, or nothing that is repainted is left.
    pub fn resized(&self, size: Size) -> Result<Self> {
        let (pixels, _) = self.plane.as_chunks::<1>();
        let source = Source { pixels, size: self.size };
        Self::new(size, resize::resize(source, size, Filter::Lanczos)?.into_iter().flatten().collect())
    }

    /// What is known, for the UNet: f32\[1,1,h,w\], 1 where latents are kept. The mask at `size` in the upper
    /// left of `padded` = `factor`·w x `factor`·h, its last column and row repeated beyond; the nearest pixel of
    /// every latent; then [`prepare_mask`].
    ///
    /// # Errors
    /// When the sides do not fit each other, or the mask is so fine that no latent is repainted.
    pub fn latents(&self, size: Size, padded: Size, factor: usize) -> Result<Tensor> {
        let plane = pad(&self.resized(size)?.plane, size, padded)?;
        let Some((width, height)) = padded.width.checked_div(factor).zip(padded.height.checked_div(factor))
        else {
            return Err(bad("the latents have no size".to_owned()));
        };
        let rows = plane.chunks_exact(padded.width.max(1)).step_by(factor).take(height);
        let levels = rows.flat_map(|row| row.iter().step_by(factor).take(width));
        let known: Vec<f32> = levels.map(|level| if *level < THRESHOLD { 1.0 } else { 0.0 }).collect();
        if known.iter().all(|known| *known == 1.0) {
            return Err(bad(format!(
                "the mask of {} repaints nothing: it is finer than the {factor} pixels of a latent",
                self.size
            )));
        }
        prepare_mask(&tensor(&[1, 1, height, width], known)?)
    }
}

/// ITU-R 601 in 16 fractional bits, as Pillow.
fn luminance([red, green, blue]: &Rgb) -> u8 {
    let sum = u32::from(*red) * 19_595 + u32::from(*green) * 38_470 + u32::from(*blue) * 7_471;
    u8::try_from((sum + 0x8000) >> 16).unwrap_or(u8::MAX)
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadImage, message)
}

/// Neighbours that a point to be drawn anew takes with it: rows down, columns right. Not the two of the other
/// diagonal; that is the reference's own omission (diffusers `prepare_mask`, and the original repository's).
const NEIGHBOURS: [(isize, isize); 6] = [(-1, 0), (0, -1), (-1, -1), (1, 0), (0, 1), (1, 1)];

/// Grows what is drawn anew by a point, so that the seam lies in new pixels: f32\[B,C,h,w\] to the same
/// shape. A point that is not exactly 1 counts as to be drawn anew and keeps its own value.
///
/// # Errors
/// When the mask has not four axes.
pub fn prepare_mask(mask: &Tensor) -> Result<Tensor> {
    let shape = mask.shape().to_vec();
    let view = mask.view().into_dimensionality::<Ix4>().map_err(|_| {
        Error::new(Kind::BadImage, format!("a mask has the shape {shape:?}; it needs 4 axes"))
    })?;
    let mut grown = mask.clone();
    for (old, mut new) in view.outer_iter().zip(grown.axis_iter_mut(Axis(0))) {
        for (old, mut new) in old.outer_iter().zip(new.axis_iter_mut(Axis(0))) {
            new.assign(&grow(old));
        }
    }
    Ok(grown)
}

fn grow(old: ArrayView2<'_, f32>) -> Array2<f32> {
    Array2::from_shape_fn(old.dim(), |(row, column)| {
        let hit = |(down, right): &(isize, isize)| {
            // The neighbour whose growth reaches this point lies the other way.
            let place = row.checked_add_signed(-down).zip(column.checked_add_signed(-right));
            place.and_then(|at| old.get(at)).is_some_and(|value| *value != 1.0)
        };
        let own = old.get((row, column)).copied().unwrap_or_default();
        if NEIGHBOURS.iter().any(hit) { 0.0 } else { own }
    })
}
