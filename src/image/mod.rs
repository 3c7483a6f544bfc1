//! Pictures: pixels, files, and what the networks want to see of them.

mod canvas;
pub mod clip;
mod composite;
mod decode;
mod format;
mod grid;
pub mod mask;
mod metadata;

pub mod movq;
mod read_metadata;
pub mod resize;
mod save;
mod size;

pub use canvas::{Canvas, Sides, View};
pub use composite::composite;
pub use format::Format;
pub use mask::Mask;
pub use metadata::Metadata;
pub use read_metadata::read_metadata;
pub use save::check_target;
pub use size::Size;

use crate::error::{Error, Kind, Result};
use crate::profile::Profile;
use crate::tensor::Tensor;
use std::sync::Arc;

/// A red, green and blue byte.
pub type Rgb = [u8; 3];

/// A picture of 8-bit RGB, rows from the top. Clones share the pixels, which never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    pixels: Arc<Vec<Rgb>>,
    metadata: Option<Metadata>,
}

impl Picture {
    /// A picture of row-major `pixels`.
    ///
    /// # Errors
    /// When the pixels do not fill the size, or there are none.
    pub fn new(size: Size, pixels: Vec<Rgb>) -> Result<Self> {
        if pixels.is_empty() || size.width.checked_mul(size.height) != Some(pixels.len()) {
            let message = format!("{} pixels do not fill a picture of {size}", pixels.len());
            return Err(Error::new(Kind::BadImage, message));
        }
        Ok(Self { size, pixels: Arc::new(pixels), metadata: None })
    }

    /// The upper left `size` of pixels f32\[3,H,W\] or \[1,3,H,W\] in \[-1,1\], as bytes in the rounding of a
    /// code base: both round halves to even, diffusers on the scale of 255 and the original on that of 127.5.
    ///
    /// # Errors
    /// When the tensor has another shape, is smaller than `size`, or holds something that is no number.
    pub fn from_pixels(pixels: &Tensor, size: Size, profile: Profile) -> Result<Self> {
        let byte = match profile {
            Profile::Diffusers => byte,
            Profile::Original => original_byte,
        };
        let (planes, width) = planes(pixels, size)?;
        let [red, green, blue] = planes.map(|plane| {
            let rows = plane.chunks_exact(width).take(size.height);
            rows.flat_map(|row| row.iter().take(size.width)).map(|value| byte(*value))
        });
        let bytes = red.zip(green).zip(blue).map(|((red, green), blue)| Some([red?, green?, blue?]));
        let bytes: Option<Vec<Rgb>> = bytes.collect();
        let bytes = bytes.ok_or_else(|| Error::new(Kind::RuntimeFault, "a drawn pixel is not a number"))?;
        Self::new(size, bytes)
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The pixels, rows from the top.
    pub fn pixels(&self) -> &[Rgb] {
        &self.pixels
    }

    /// The bytes red, green, blue, red, green, …
    pub fn bytes(&self) -> &[u8] {
        self.pixels.as_flattened()
    }

    /// What the file will say of the picture.
    pub const fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// Notes how the picture was made; files carry it.
    pub fn describe(&mut self, metadata: Metadata) {
        self.metadata = Some(metadata);
    }
}

/// The three colour planes of f32\[3,H,W\] or \[1,3,H,W\], and W.
fn planes(pixels: &Tensor, size: Size) -> Result<([&[f32]; 3], usize)> {
    let bad = || {
        let message = format!("pixels of the shape {:?} do not hold a picture of {size}", pixels.shape());
        Error::new(Kind::Internal, message)
    };
    let (&[3, height, width] | &[1, 3, height, width]) = pixels.shape() else { return Err(bad()) };
    if height < size.height || width < size.width || width == 0 || height == 0 {
        return Err(bad());
    }
    let mut planes = pixels.as_slice().ok_or_else(bad)?.chunks_exact(height * width);
    match (planes.next(), planes.next(), planes.next()) {
        (Some(red), Some(green), Some(blue)) => Ok(([red, green, blue], width)),
        _ => Err(bad()),
    }
}

/// A value in \[-1,1\] as a byte; `None` for NaN (diffusers `numpy_to_pil`).
fn byte(value: f32) -> Option<u8> {
    whole((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0)
}

/// As [`byte`] (ai-forever/Kandinsky-2 `process_images`).
fn original_byte(value: f32) -> Option<u8> {
    whole(((value + 1.0) * 127.5).clamp(0.0, 255.0))
}

#[expect(clippy::as_conversions, reason = "the value is a whole number from 0 to 255 by then")]
fn whole(level: f32) -> Option<u8> {
    (!level.is_nan()).then(|| level.round_ties_even() as u8)
}
