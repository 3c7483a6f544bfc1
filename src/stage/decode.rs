//! Latents to pixels: MoVQ without quantisation, as the released code decodes.

use crate::component::{Networks, movq};
use crate::error::Result;
use crate::image::Picture;
use crate::progress::{Stage, Watch};
use crate::request::Size;
use crate::tensor::{Tensor, rows};

/// Pictures of latents f32\[B,4,h,w\], cropped to `size`.
///
/// # Errors
/// When the network fails or the caller cancels.
pub fn pictures(
    networks: &mut Networks,
    latents: &Tensor,
    size: Size,
    watch: &mut Watch<'_>,
    place: Place,
) -> Result<Vec<Picture>> {
    let count = latents.shape().first().copied().unwrap_or(0);
    let mut pictures = Vec::with_capacity(count);
    for row in 0..count {
        watch.check()?;
        let pixels = movq::decode(networks, rows(latents, row, row + 1)?)?;
        pictures.push(Picture::from_pixels(&pixels, size)?);
        watch.step(Stage::Decode, place.done + row + 1, place.total)?;
    }
    Ok(pictures)
}

/// Which of all pictures these are, for progress.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Pictures decoded before.
    pub done: usize,
    /// Pictures in all.
    pub total: usize,
}
