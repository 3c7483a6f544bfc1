//! Pictures as the CLIP image encoder sees them.
//!
//! transformers' `CLIPImageProcessor` on its Pillow backend, as the released code ran it. (The torchvision
//! backend, which transformers 5 prefers, resizes otherwise: a level or so apart, up to 13 on narrow
//! pictures. It is not ours.)

use super::resize::{self, Filter, Window};
use super::{Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use crate::tensor::{Tensor, tensor};
use kandinsky_models::manifest::ClipImage;

/// f32\[1,3,I,I\]: the shortest side resized to I, the middle cut out, bytes to \[0,1\], normalised.
///
/// # Errors
/// When the settings are not usable.
pub fn prepare(picture: &Picture, settings: &ClipImage) -> Result<Tensor> {
    let pixels = crop(picture, settings.size)?;
    let channels = settings.mean.iter().zip(&settings.std).enumerate();
    let values = channels.flat_map(|(channel, (mean, std))| {
        let (mean, std) = (narrow(*mean), narrow(*std));
        let bytes = pixels.iter().filter_map(move |pixel| pixel.get(channel));
        // Rescaled in f64 and rounded to f32, then normalised in f32, as the reference.
        bytes.map(move |byte| (narrow(f64::from(*byte) * (1.0 / 255.0)) - mean) / std)
    });
    tensor(&[1, 3, settings.size, settings.size], values.collect())
}

/// The middle `side` x `side` pixels of the picture whose shortest side was resized to `side`.
///
/// # Errors
/// When `side` is 0 or the resized picture would be beyond all measure.
pub fn crop(picture: &Picture, side: usize) -> Result<Vec<Rgb>> {
    let size = picture.size();
    let short = size.width.min(size.height);
    // The other side is cut off to whole pixels, not rounded.
    let scaled = |length: usize| length.checked_mul(side)?.checked_div(short);
    let (Some(width), Some(height)) = (scaled(size.width), scaled(size.height)) else {
        return Err(Error::new(Kind::BadImage, format!("a picture of {size} cannot be resized to {side}")));
    };
    let middle = Window {
        left: width.saturating_sub(side) / 2,
        top: height.saturating_sub(side) / 2,
        size: Size { width: side, height: side },
    };
    resize::window(picture.into(), Size { width, height }, middle, Filter::Bicubic)
}

#[expect(clippy::as_conversions, reason = "rounds f64 to the nearest f32, which no From offers")]
const fn narrow(value: f64) -> f32 {
    value as f32
}
