//! JPEG: baseline and progressive, grey, colour, CMYK and YCCK; the request in EXIF and in segments of ours.

use super::{Claimed, Codec, Read, carried, exif, sides};
use crate::error::{Error, Kind, Result};
use crate::image::{Metadata, Picture};
use crate::limits;
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder};
use std::io::Cursor;

pub(super) const CODEC: Codec = Codec { name: "JPEG", knows, size, decode, metadata };

const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// EXIF's segment.
const APP1: u8 = 0xe1;
/// Segments of [`Metadata::exact`], each begun by [`OURS`].
const APP15: u8 = 0xef;
const OURS: &[u8] = b"kandinsky\0";
/// Bytes that a segment holds beside its length.
const SEGMENT: usize = 65_533;

fn knows(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// The largest of all frames, of which there should be one.
fn size(bytes: &[u8]) -> Claimed {
    let frame = |segment: Segment<'_>| match (segment.marker, segment.body) {
        // The others of this row are tables.
        (0xc4 | 0xc8 | 0xcc, _) => None,
        (0xc0..=0xcf, [_, high, low, wide, narrow, ..]) => {
            Some((u16::from_be_bytes([*wide, *narrow]), u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    };
    let frames = Segments::new(bytes).filter_map(frame).map(|(width, height)| (width.into(), height.into()));
    Ok(frames.max_by_key(|(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height)))
}

/// Without a check the decoder would fill with grey what is missing.
fn decode(bytes: &[u8]) -> Read<(DynamicImage, Orientation)> {
    if Segments::new(bytes).last().is_none_or(|last| last.marker != END) {
        return Err("the JPEG data are cut off".to_owned());
    }
    let scans = Segments::new(bytes).filter(|segment| segment.marker == SCAN).count();
    if scans > limits::PICTURE_SCANS {
        return Err(format!("it has {scans} scans; the limit is {}", limits::PICTURE_SCANS));
    }
    let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    super::check_size(decoder.dimensions())?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok((image, exif::orientation(exif_of(bytes))))
}

fn exif_of(bytes: &[u8]) -> Option<&[u8]> {
    let mut segments = Segments::new(bytes).filter(|segment| segment.marker == APP1);
    segments.find_map(|segment| segment.body.strip_prefix(exif::HEAD))
}

fn metadata(bytes: &[u8]) -> Read<Option<Metadata>> {
    let ours = Segments::new(bytes).filter(|segment| segment.marker == APP15);
    let exact: Vec<u8> =
        ours.filter_map(|segment| segment.body.strip_prefix(OURS)).flatten().copied().collect();
    carried(exif_of(bytes), &exact)
}

pub(super) fn encode(picture: &Picture, quality: u8) -> Result<Vec<u8>> {
    let (width, height) = sides(picture)?;
    let failed =
        |e: &dyn std::fmt::Display| Error::new(Kind::Internal, format!("JPEG cannot be written: {e}"));
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
    if let Some(metadata) = picture.metadata() {
        let exif = exif::with_comment(fitting(&metadata.parameters));
        encoder.set_exif_metadata(exif).map_err(|e| failed(&e))?;
    }
    encoder.write_image(picture.bytes(), width, height, ExtendedColorType::Rgb8).map_err(|e| failed(&e))?;
    if let Some(metadata) = picture.metadata() {
        let after = Segments::new(&bytes).find(|segment| !(0xe0..=APP1).contains(&segment.marker));
        let after = after.map_or(bytes.len(), |segment| segment.start);
        bytes.splice(after..after, segments_of(&metadata.exact));
    }
    Ok(bytes)
}

/// As much of the text as a segment holds in UTF-16. Prompts of the allowed length fit several times.
fn fitting(text: &str) -> &str {
    let mut room = (SEGMENT - exif::HEAD.len() - exif::OVERHEAD) / 2;
    let beyond = text.char_indices().find(|(_, character)| {
        let left = room.checked_sub(character.len_utf16());
        room = left.unwrap_or(0);
        left.is_none()
    });
    beyond.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

fn segments_of(text: &str) -> Vec<u8> {
    let segment = |part: &[u8]| {
        let length = u16::try_from(part.len() + OURS.len() + 2).unwrap_or(u16::MAX);
        [&[0xff, APP15], &length.to_be_bytes()[..], OURS, part].concat()
    };
    text.as_bytes().chunks(SEGMENT - OURS.len()).flat_map(segment).collect()
}

/// A marker, what stands under its length, and where it begins.
struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
    start: usize,
}

/// All segments after the first marker, to the end of the picture or of the data.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }

    /// Where the next marker is: scans hold 0xff only before 0 and restart markers.
    fn marker(&self) -> Option<(usize, u8)> {
        let rest = self.bytes.get(self.at..)?;
        let found = rest.windows(2).position(|two| match two {
            [0xff, second] => !matches!(second, 0 | 0xff | 0xd0..=0xd7),
            _ => false,
        })?;
        Some((self.at + found, *rest.get(found + 1)?))
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let (start, marker) = self.marker()?;
        if marker == END {
            self.at = self.bytes.len();
            return Some(Segment { marker, body: &[], start });
        }
        let rest = self.bytes.get(start + 2..)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let body = rest.get(2..length)?;
        self.at = start + 2 + length;
        Some(Segment { marker, body, start })
    }
}
