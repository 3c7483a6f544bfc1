//! Pictures as MoVQ's encoder sees them (diffusers' img2img and inpainting pipelines, which agree bit for
//! bit in this).

use super::Picture;
use super::resize::{self, Filter};
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use crate::tensor::{Tensor, tensor};

impl Picture {
    /// The picture at another size, as the reference resizes: averaged down by whole factors, then bicubic
    /// (Pillow's `resize` with a `reducing_gap` of 1). Its metadata stay behind.
    ///
    /// # Errors
    /// When a side is 0.
    pub fn resized(&self, size: Size) -> Result<Self> {
        Self::new(size, resize::in_two_steps(self.into(), size, Filter::Bicubic)?)
    }
}

/// f32\[1,3,H,W\] in \[-1,1\]: the picture at `size` in the upper left of `padded` = WxH, its last column and
/// row repeated beyond.
///
/// # Errors
/// When a side of `size` is 0 or longer than that of `padded`.
pub fn pixels(picture: &Picture, size: Size, padded: Size) -> Result<Tensor> {
    let resized = picture.resized(size)?;
    let pixels = pad(resized.pixels(), size, padded)?;
    let channels = (0..3).flat_map(|channel| pixels.iter().filter_map(move |pixel| pixel.get(channel)));
    let values = channels.map(|byte| f32::from(*byte) / 127.5 - 1.0).collect();
    tensor(&[1, 3, padded.height, padded.width], values)
}

/// `pixels` of `size`, the last column and row repeated to fill `padded`.
pub(super) fn pad<P: Copy>(pixels: &[P], size: Size, padded: Size) -> Result<Vec<P>> {
    let (Some(right), Some(below)) =
        (padded.width.checked_sub(size.width), padded.height.checked_sub(size.height))
    else {
        let message = format!("a picture of {size} does not fit into {padded}");
        return Err(Error::new(Kind::Internal, message));
    };
    let rows: Vec<&[P]> = pixels.chunks_exact(size.width.max(1)).collect();
    let repeated = rows.last().into_iter().cycle().take(below);
    let filled = rows.iter().chain(repeated).flat_map(|row| {
        let beyond = row.last().into_iter().cycle().take(right);
        row.iter().chain(beyond).copied()
    });
    Ok(filled.collect())
}
