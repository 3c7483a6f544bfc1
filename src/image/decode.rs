//! Pictures from files: upright, opaque, and never larger than the limits.

use super::format::{self, Read};
use super::{Mask, Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use crate::limits;
use image::DynamicImage;
use std::io::Read as _;
use std::path::Path;

/// What of a file is read before its header is judged; only a JPEG may hold more before its size.
const HEAD: u64 = 1 << 20;

impl Picture {
    /// Reads a PNG, JPEG or WebP file, whatever its name. The picture is turned as its EXIF says, and laid
    /// over white where it is transparent.
    ///
    /// # Errors
    /// [`Kind::Io`] when there is no such file; [`Kind::BadImage`] when it is no whole, still picture of
    /// these formats, or beyond the limits, which is found from its header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(open(path.as_ref())?.picture()?.0)
    }

    /// As [`Picture::open`]; also a mask that repaints what is more than half transparent, where anything
    /// is.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open_with_alpha(path: impl AsRef<Path>) -> Result<(Self, Option<Mask>)> {
        open(path.as_ref())?.picture_and_hole()
    }

    /// As [`Picture::open_with_alpha`], from the bytes of a file.
    ///
    /// # Errors
    /// [`Kind::BadImage`], as [`Picture::open`].
    pub fn decode(bytes: &[u8]) -> Result<(Self, Option<Mask>)> {
        let raster = decode(bytes);
        let bad = |reason| Error::new(Kind::BadImage, format!("the picture: {reason}"));
        raster.map_err(bad)?.picture_and_hole()
    }

    /// A picture of red, green, blue and opacity, treated as one from a file.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn from_rgba(size: Size, pixels: &[[u8; 4]]) -> Result<(Self, Option<Mask>)> {
        let colours = pixels.iter().copied().map(opaque).collect();
        let alpha = Some(pixels.iter().copied().map(alpha).collect());
        Raster { size, colours, alpha }.picture_and_hole()
    }
}

impl Mask {
    /// Reads a mask from a PNG, JPEG or WebP file: white is repainted, by luminance; transparency is passed
    /// over, as in the reference.
    ///
    /// # Errors
    /// As [`Picture::open`]; also when nothing is white.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let Raster { size, colours, .. } = open(path.as_ref())?;
        Self::from_picture(&Picture::new(size, colours)?)
    }
}

/// What a file holds, upright: its colours as they are stored, and how opaque they are where it says so.
struct Raster {
    size: Size,
    colours: Vec<Rgb>,
    alpha: Option<Vec<u8>>,
}

impl Raster {
    fn new(image: DynamicImage) -> Read<Self> {
        let side = |side: u32| usize::try_from(side).map_err(|e| e.to_string());
        let size = Size { width: side(image.width())?, height: side(image.height())? };
        if !image.color().has_alpha() {
            let colours = image.into_rgb8().pixels().map(|pixel| pixel.0).collect();
            return Ok(Self { size, colours, alpha: None });
        }
        let pixels = image.into_rgba8();
        let colours = pixels.pixels().map(|pixel| opaque(pixel.0)).collect();
        let alpha = pixels.pixels().map(|pixel| alpha(pixel.0)).collect();
        Ok(Self { size, colours, alpha: Some(alpha) })
    }

    /// Laid over white.
    fn picture(self) -> Result<(Picture, Option<Vec<u8>>)> {
        let Self { size, mut colours, alpha } = self;
        if let Some(alpha) = &alpha {
            colours.iter_mut().zip(alpha).for_each(|(colour, alpha)| *colour = over_white(*colour, *alpha));
        }
        Ok((Picture::new(size, colours)?, alpha))
    }
}

impl Raster {
    /// Laid over white, with a mask of what is more than half transparent, where anything is.
    fn picture_and_hole(self) -> Result<(Picture, Option<Mask>)> {
        let (picture, alpha) = self.picture()?;
        let clear: Option<Vec<u8>> = alpha.map(|alpha| alpha.iter().map(|alpha| 255 - alpha).collect());
        let mask = clear.and_then(|plane| Mask::new(picture.size, plane).ok());
        Ok((picture, mask))
    }
}

const fn opaque([red, green, blue, _]: [u8; 4]) -> Rgb {
    [red, green, blue]
}

const fn alpha([.., alpha]: [u8; 4]) -> u8 {
    alpha
}

fn over_white(colour: Rgb, alpha: u8) -> Rgb {
    let alpha = u32::from(alpha);
    colour.map(|colour| {
        let sum = u32::from(colour) * alpha + 255 * (255 - alpha);
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    })
}

fn open(path: &Path) -> Result<Raster> {
    let bad = |reason: String| Error::new(Kind::BadImage, format!("{}: {reason}", path.display()));
    let bytes = read(path, |head| format::recognise(head)?.check_size(head).map(drop))?;
    decode(&bytes).map_err(bad)
}

fn decode(bytes: &[u8]) -> Read<Raster> {
    let (mut image, orientation) = format::recognise(bytes)?.decode(bytes)?;
    image.apply_orientation(orientation);
    Raster::new(image)
}

/// The bytes of a file whose beginning `judge` lets pass.
pub(super) fn read(path: &Path, judge: impl Fn(&[u8]) -> Read<()>) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, "read", &e);
    let bad = |reason: String| Error::new(Kind::BadImage, format!("{}: {reason}", path.display()));
    let limit = limits::PICTURE_FILE_BYTES;
    // Asked before it is opened: a pipe would be waited for.
    let about = std::fs::metadata(path).map_err(io)?;
    if !about.is_file() {
        return Err(Error::new(Kind::BadImage, format!("{} is not a file", path.display())));
    }
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes).map_err(io)?;
    judge(&bytes).map_err(bad)?;
    // A file that grows meanwhile shall end, too.
    if about.len() <= limit {
        file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    }
    if about.len().max(u64::try_from(bytes.len()).unwrap_or(u64::MAX)) > limit {
        return Err(bad(format!("the file has more than {limit} bytes")));
    }
    Ok(bytes)
}
