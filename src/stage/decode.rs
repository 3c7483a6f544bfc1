//! Latents to pixels: MoVQ, without quantisation as the released code decodes, or with it as the paper says.

use crate::component::{Networks, movq};
use crate::error::Result;
use crate::image::{Picture, Size};
use crate::profile::Profile;
use crate::progress::{Observer, Stage};
use crate::tensor::{Tensor, rows, side};

/// How latents become pictures.
#[derive(Debug, Clone, Copy)]
pub struct Decode {
    /// Size of the pictures; what was computed beyond it is cropped.
    pub size: Size,
    /// Whether the nearest codebook entries are decoded instead of the latents.
    pub quantize: bool,
    /// Whose rounding to bytes.
    pub profile: Profile,
    /// Pictures decoded before, for progress.
    pub done: usize,
    /// Pictures in all, for progress.
    pub total: usize,
}

/// Pictures of latents f32\[B,4,h,w\].
///
/// # Errors
/// When the network fails or the caller cancels.
pub fn pictures(
    networks: &mut Networks,
    latents: &Tensor,
    how: &Decode,
    observer: &mut Observer<'_>,
) -> Result<Vec<Picture>> {
    let count = side(latents.shape(), 0)?;
    let mut pictures = Vec::with_capacity(count);
    for row in 0..count {
        observer.check()?;
        let mut latents = rows(latents, row, row + 1)?;
        if how.quantize {
            (latents, _) = movq::quantize(networks, &latents)?;
            observer.check()?;
        }
        let pixels = movq::decode(networks, &latents)?;
        pictures.push(Picture::from_pixels(&pixels, how.size, how.profile)?);
        observer.step(Stage::Decode, how.done + row + 1, how.total)?;
    }
    Ok(pictures)
}
