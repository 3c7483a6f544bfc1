//! WebP: lossy and lossless, with and without alpha; the request in EXIF and in a chunk of ours.

use super::{Claimed, Codec, Read, carried, exif, number, sides};
use crate::error::{Error, Kind, Result};
use crate::image::{Metadata, Picture};
use image::codecs::webp::{WebPDecoder, WebPEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder};
use std::io::Cursor;

pub(super) const CODEC: Codec = Codec { name: "WebP", knows, size, decode, metadata };

const EXIF: &[u8] = b"EXIF";
/// The chunk of [`Metadata::exact`]; readers pass over chunks that they do not know.
const OURS: &[u8] = b"KNDK";
/// The flag of an animation in the first byte of `VP8X`.
const ANIMATED: u8 = 2;

fn knows(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")
}

fn size(bytes: &[u8]) -> Claimed {
    let (Some(name), Some(body)) = (bytes.get(12..16), bytes.get(20..)) else { return Ok(None) };
    if name == b"VP8X" && body.first().is_some_and(|flags| flags & ANIMATED != 0) {
        return Err("it is an animated WebP; a still picture is needed".to_owned());
    }
    Ok(frame_size(name, body))
}

/// Width and height of the canvas or of a frame: both of 24 bits less 1, of 14 bits, or of 14 bits less 1.
fn frame_size(name: &[u8], body: &[u8]) -> Option<(u32, u32)> {
    let word = |at| number(body, at, u32::from_le_bytes);
    match name {
        b"VP8X" => Some(((word(4)? & 0xff_ffff) + 1, (word(6)? >> 8) + 1)),
        b"VP8 " => Some((word(6)? & 0x3fff, (word(6)? >> 16) & 0x3fff)),
        b"VP8L" => Some(((word(1)? & 0x3fff) + 1, ((word(1)? >> 14) & 0x3fff) + 1)),
        _ => None,
    }
}

fn decode(bytes: &[u8]) -> Read<(DynamicImage, Orientation)> {
    check_chunks(bytes)?;
    let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    super::check_size(decoder.dimensions())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok((image, exif::orientation(find(bytes, EXIF))))
}

/// The file is whole, and every frame is of the size that the header claims: the decoder would unpack it
/// before it compares.
fn check_chunks(bytes: &[u8]) -> Read<()> {
    let mut chunks = Chunks::new(bytes);
    let canvas = size(bytes)?;
    for (name, body) in chunks.by_ref() {
        if name == b"ANIM" || name == b"ANMF" {
            return Err("it is an animated WebP; a still picture is needed".to_owned());
        }
        let frame = frame_size(name, body);
        if frame.is_some() && frame != canvas {
            return Err("its WebP frame is of another size than its canvas".to_owned());
        }
    }
    if chunks.whole() { Ok(()) } else { Err("the WebP data are cut off".to_owned()) }
}

fn metadata(bytes: &[u8]) -> Read<Option<Metadata>> {
    carried(find(bytes, EXIF), find(bytes, OURS).unwrap_or_default())
}

fn find<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    Chunks::new(bytes).find(|(name, _)| *name == wanted).map(|(_, body)| body)
}

pub(super) fn encode(picture: &Picture) -> Result<Vec<u8>> {
    let (width, height) = sides(picture)?;
    let failed =
        |e: &dyn std::fmt::Display| Error::new(Kind::Internal, format!("WebP cannot be written: {e}"));
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    if let Some(metadata) = picture.metadata() {
        encoder.set_exif_metadata(exif::with_comment(&metadata.parameters)).map_err(|e| failed(&e))?;
    }
    encoder.write_image(picture.bytes(), width, height, ExtendedColorType::Rgb8).map_err(|e| failed(&e))?;
    if let Some(metadata) = picture.metadata() {
        append(&mut bytes, metadata.exact.as_bytes()).ok_or_else(|| failed(&"it is too long"))?;
    }
    Ok(bytes)
}

/// Adds our chunk and lengthens the file's own length.
fn append(bytes: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    bytes.extend_from_slice(OURS);
    bytes.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(text);
    bytes.extend(std::iter::repeat_n(0, text.len() % 2));
    let length = u32::try_from(bytes.len() - 8).ok()?.to_le_bytes();
    bytes.get_mut(4..8)?.copy_from_slice(&length);
    Some(())
}

/// Names and bodies of the chunks of a file.
struct Chunks<'a> {
    rest: &'a [u8],
    cut: bool,
}

impl<'a> Chunks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let length = number(bytes, 4, u32::from_le_bytes).and_then(|length| usize::try_from(length).ok());
        let inside = length.and_then(|length| bytes.get(8..)?.get(..length)?.get(4..));
        Self { rest: inside.unwrap_or_default(), cut: inside.is_none() }
    }

    /// Whether the file is as long as it says and the chunks that were read fill it.
    const fn whole(&self) -> bool {
        !self.cut && self.rest.is_empty()
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.rest.get(..4)?;
        let length = usize::try_from(number(self.rest, 4, u32::from_le_bytes)?).ok()?;
        let body = self.rest.get(8..)?.get(..length)?;
        // A body of odd length is followed by a byte, which some writers leave out at the end.
        self.rest = self.rest.get(8 + length + length % 2..).unwrap_or_default();
        Some((name, body))
    }
}
