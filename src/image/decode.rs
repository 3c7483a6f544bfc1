//! Pictures from files: PNG, JPEG and WebP, upright, opaque, and never larger than the limits.

use super::{Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::request::Size;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::{Cursor, Read};
use std::path::Path;

impl Picture {
    /// Reads a PNG, JPEG or WebP file. The picture is turned as its EXIF says, and laid over white where it
    /// is transparent.
    ///
    /// # Errors
    /// [`Kind::Io`] when there is no such file; [`Kind::BadImage`] when it is no whole picture of these
    /// formats, or beyond the limits, which is found from its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bad = |reason: String| Error::new(Kind::BadImage, format!("{}: {reason}", path.display()));
        let bytes = read(path)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limits::PICTURE_FILE_BYTES {
            return Err(bad(format!("the file has more than {} bytes", limits::PICTURE_FILE_BYTES)));
        }
        Self::decode(&bytes).map_err(bad)
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
        let format =
            reader.format().filter(|f| matches!(f, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP));
        let format = format.ok_or("it is no PNG, JPEG or WebP picture")?;
        if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
            return Err("the JPEG data are cut off".to_owned());
        }
        let mut reader = reader;
        reader.limits(decoder_limits());
        let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
        check_header(decoder.dimensions())?;
        let orientation = decoder.orientation().map_err(|e| e.to_string())?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
        picture.apply_orientation(orientation);
        let side = |side: u32| usize::try_from(side).map_err(|e| e.to_string());
        let size = Size { width: side(picture.width())?, height: side(picture.height())? };
        let pixels = match picture {
            DynamicImage::ImageRgb8(rgb) => rgb.pixels().map(|pixel| pixel.0).collect(),
            other => other.into_rgba8().pixels().map(|pixel| over_white(pixel.0)).collect(),
        };
        Self::new(size, pixels).map_err(|e| e.to_string())
    }
}

/// At most one byte more than the limit, so that an endless file ends.
fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, "read", &e);
    let file = std::fs::File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Error::new(Kind::BadImage, format!("{} is not a file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(limits::PICTURE_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn decoder_limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(limits::PICTURE_SIDE);
    limits.max_image_height = Some(limits::PICTURE_SIDE);
    limits.max_alloc = Some(limits::PICTURE_DECODER_BYTES);
    limits
}

fn check_header((width, height): (u32, u32)) -> std::result::Result<(), String> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits::PICTURE_PIXELS {
        let limit = limits::PICTURE_PIXELS;
        return Err(format!("it claims {width}x{height}, which is {pixels} pixels; the limit is {limit}"));
    }
    Ok(())
}

/// Whether the last scan ends; the decoder would fill what is missing with grey. (Earlier scans may be
/// those of a preview, which lies before the picture.)
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut pairs = bytes.windows(2).rev();
    pairs
        .find_map(|pair| match pair {
            [0xff, 0xd9] => Some(true),
            [0xff, 0xda] => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

fn over_white([red, green, blue, alpha]: [u8; 4]) -> Rgb {
    let alpha = u32::from(alpha);
    let mix = |colour: u8| {
        let sum = u32::from(colour) * alpha + 255 * (255 - alpha);
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    };
    [red, green, blue].map(mix)
}
