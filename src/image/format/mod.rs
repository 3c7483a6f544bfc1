//! Formats of picture files: how each is known, read and written.
//!
//! A file is what its first bytes say, whatever its name. Animations are refused. Colour profiles and gamma
//! are passed over, as the reference passes over them.

mod exif;
mod jpeg;
mod png;
mod webp;

use super::{Metadata, Picture};
use crate::error::{Error, Kind, Result};
use crate::limits;
use image::DynamicImage;
use image::metadata::Orientation;
use std::path::Path;

/// What a codec says when it cannot read; the caller names the file.
pub(super) type Read<T> = std::result::Result<T, String>;

/// Width and height as a header claims them; `None` where they lie beyond the bytes that were given.
type Claimed = Read<Option<(u32, u32)>>;

/// How files of one format are known and read.
pub(super) struct Codec {
    name: &'static str,
    /// Whether the first bytes are those of the format.
    knows: fn(&[u8]) -> bool,
    size: fn(&[u8]) -> Claimed,
    /// The picture, of 8 bits a channel, and how it is to be turned.
    decode: fn(&[u8]) -> Read<(DynamicImage, Orientation)>,
    /// What the file says of how it was made.
    metadata: fn(&[u8]) -> Read<Option<Metadata>>,
}

const CODECS: [Codec; 3] = [png::CODEC, jpeg::CODEC, webp::CODEC];

/// Formats that are refused by name: the bytes that tell them, and where those stand.
const OTHERS: [(&str, usize, &[u8]); 26] = [
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("TIFF", 0, b"II+\0"),
    ("TIFF", 0, b"MM\0+"),
    ("BMP", 0, b"BM"),
    ("ICO", 0, b"\0\0\x01\0"),
    ("AVIF", 4, b"ftypavi"),
    ("HEIC", 4, b"ftyphei"),
    ("HEIC", 4, b"ftyphev"),
    ("HEIC", 4, b"ftypmif1"),
    ("HEIC", 4, b"ftypmsf1"),
    ("video", 4, b"ftyp"),
    ("JPEG XL", 0, b"\xff\x0a"),
    ("JPEG XL", 0, b"\0\0\0\x0cJXL "),
    ("JPEG 2000", 0, b"\0\0\0\x0cjP  "),
    ("JPEG 2000", 0, b"\xff\x4f\xff\x51"),
    ("Photoshop", 0, b"8BPS"),
    ("PDF", 0, b"%PDF"),
    ("OpenEXR", 0, b"\x76\x2f\x31\x01"),
    ("QOI", 0, b"qoif"),
    ("DDS", 0, b"DDS "),
    ("Netpbm", 0, b"P4\n"),
    ("Netpbm", 0, b"P5\n"),
    ("Netpbm", 0, b"P6\n"),
    ("RAW", 0, b"FUJIFILMCCD-RAW"),
];

/// The codec of a file that begins with `bytes`.
pub(super) fn recognise(bytes: &[u8]) -> Read<&'static Codec> {
    const READ: &str = "PNG, JPEG and WebP pictures are read";
    if let Some(codec) = CODECS.iter().find(|codec| (codec.knows)(bytes)) {
        return Ok(codec);
    }
    let other = OTHERS.iter().find(|(_, at, magic)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic)));
    match other.map(|(name, ..)| *name).or_else(|| svg(bytes)) {
        Some(name) => Err(format!("its format is {name}; {READ}")),
        None if bytes.is_empty() => Err(format!("it is empty; {READ}")),
        None => Err(format!("it is no picture of a known format; {READ}")),
    }
}

fn svg(bytes: &[u8]) -> Option<&'static str> {
    let head = bytes.get(..bytes.len().min(1024))?.trim_ascii_start();
    let text = head.starts_with(b"<") && head.windows(4).any(|four| four == b"<svg");
    text.then_some("SVG")
}

impl Codec {
    /// Refuses a size beyond the limits; `false` where these bytes do not tell it yet.
    pub fn check_size(&self, bytes: &[u8]) -> Read<bool> {
        let Some(size) = (self.size)(bytes)? else { return Ok(false) };
        check_size(size).map(|()| true)
    }

    /// The picture, of 8 bits a channel, and how it is to be turned.
    pub fn decode(&self, bytes: &[u8]) -> Read<(DynamicImage, Orientation)> {
        if !self.check_size(bytes)? {
            return Err(format!("the {} data are cut off", self.name));
        }
        (self.decode)(bytes)
    }

    /// What the file says of how it was made.
    pub fn metadata(&self, bytes: &[u8]) -> Read<Option<Metadata>> {
        (self.metadata)(bytes)
    }
}

fn check_size((width, height): (u32, u32)) -> Read<()> {
    let side = limits::PICTURE_SIDE;
    if width > side || height > side {
        return Err(format!("it claims {width}x{height} pixels; the limit of a side is {side}"));
    }
    let (pixels, limit) = (u64::from(width) * u64::from(height), limits::PICTURE_PIXELS);
    if pixels > limit {
        return Err(format!("it claims {width}x{height}, which is {pixels} pixels; the limit is {limit}"));
    }
    Ok(())
}

/// Formats that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// PNG, 8-bit RGB.
    Png,
    /// JPEG without subsampling.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// WebP, lossless.
    WebP,
}

impl Format {
    /// The quality of a JPEG for which nobody asked another.
    pub const QUALITY: u8 = 95;

    /// Endings of names, and what they stand for.
    const EXTENSIONS: [(&'static str, Self); 4] = [
        ("png", Self::Png),
        ("jpg", Self::Jpeg { quality: Self::QUALITY }),
        ("jpeg", Self::Jpeg { quality: Self::QUALITY }),
        ("webp", Self::WebP),
    ];

    /// The format that the name of a file asks for; PNG where it has no ending.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for the ending of another format.
    pub fn of(path: &Path) -> Result<Self> {
        let Some(extension) = path.extension() else { return Ok(Self::Png) };
        let known = Self::EXTENSIONS.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
        known.map(|(_, format)| *format).ok_or_else(|| {
            let message = format!(
                "{} is no name for a picture: PNG (.png), JPEG (.jpg, .jpeg) and WebP (.webp) are written",
                path.display()
            );
            Error::new(Kind::BadRequest, message)
        })
    }

    /// The same format at another quality, which only JPEG has.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for another format, or a quality outside `limits::QUALITY`.
    pub fn with_quality(self, quality: usize) -> Result<Self> {
        limits::QUALITY.check(quality)?;
        match (self, u8::try_from(quality)) {
            (Self::Jpeg { .. }, Ok(quality)) => Ok(Self::Jpeg { quality }),
            _ => Err(Error::new(Kind::BadRequest, "a quality is for JPEG only; PNG and WebP lose nothing")),
        }
    }

    pub(super) fn encode(self, picture: &Picture) -> Result<Vec<u8>> {
        match self {
            Self::Png => png::encode(picture),
            Self::Jpeg { quality } => jpeg::encode(picture, quality),
            Self::WebP => webp::encode(picture),
        }
    }
}

/// How a picture was made, where the comment of its EXIF and `exact` say it.
fn carried(exif: Option<&[u8]>, exact: &[u8]) -> Read<Option<Metadata>> {
    if exact.len() > limits::PICTURE_TEXT_BYTES {
        return Err(format!("its request has more than {} bytes", limits::PICTURE_TEXT_BYTES));
    }
    let exact = std::str::from_utf8(exact).ok().filter(|exact| !exact.is_empty());
    let parameters = exif.and_then(exif::comment);
    Ok(parameters.zip(exact).map(|(parameters, exact)| Metadata { parameters, exact: exact.to_owned() }))
}

/// Width and height as image libraries want them.
fn sides(picture: &Picture) -> Result<(u32, u32)> {
    let side = |side: usize| u32::try_from(side).map_err(|e| Error::new(Kind::Internal, e.to_string()));
    let size = picture.size();
    Ok((side(size.width)?, side(size.height)?))
}

/// The first four bytes at `at` as `take` puts them together.
fn number(bytes: &[u8], at: usize, take: fn([u8; 4]) -> u32) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(take)
}
