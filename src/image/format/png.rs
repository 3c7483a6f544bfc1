//! PNG: whole, of every depth and colour type; the request in text chunks.

use super::{Claimed, Codec, Read, exif, number, sides};
use crate::error::{Error, Kind, Result};
use crate::image::{Metadata, Picture};
use crate::limits;
use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use png::text_metadata::ITXtChunk;
use png::{ColorType, Decoder, Encoder, Info, Limits, Transformations};
use std::io::Cursor;

pub(super) const CODEC: Codec = Codec { name: "PNG", knows, size, decode, metadata };

/// The chunk that viewers of generation parameters show.
const PARAMETERS: &str = "parameters";
/// The chunk of [`Metadata::exact`].
const EXACT: &str = "kandinsky";

fn knows(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}

fn size(bytes: &[u8]) -> Claimed {
    if bytes.get(12..16).is_some_and(|name| name != b"IHDR") {
        return Err("its PNG header is missing".to_owned());
    }
    let side = |at| number(bytes, at, u32::from_be_bytes);
    Ok(side(16).zip(side(20)))
}

/// 16 bits a channel lose their lower byte, as in the reference (Pillow).
fn decode(bytes: &[u8]) -> Read<(DynamicImage, Orientation)> {
    let bad = |e: png::DecodingError| e.to_string();
    let limits = Limits { bytes: limits::PICTURE_CHUNK_BYTES };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Neither is of use here, and both unpack to a thousand times their size.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(bad)?;
    if reader.info().animation_control.is_some() {
        return Err("it is an animated PNG; a still picture is needed".to_owned());
    }
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    reader.next_frame(&mut pixels).map_err(bad)?;
    // To the last chunk, so that a file that is cut off does not pass.
    reader.finish().map_err(bad)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    let image = match reader.output_color_type().0 {
        ColorType::Grayscale => GrayImage::from_raw(width, height, pixels).map(Into::into),
        ColorType::GrayscaleAlpha => GrayAlphaImage::from_raw(width, height, pixels).map(Into::into),
        ColorType::Rgb => RgbImage::from_raw(width, height, pixels).map(Into::into),
        ColorType::Rgba => RgbaImage::from_raw(width, height, pixels).map(Into::into),
        ColorType::Indexed => None,
    };
    let image = image.ok_or("its pixels do not fill it")?;
    Ok((image, exif::orientation(info.exif_metadata.as_deref())))
}

fn metadata(bytes: &[u8]) -> Read<Option<Metadata>> {
    let limits = Limits { bytes: limits::PICTURE_TEXT_BYTES };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(|e| e.to_string())?;
    let text = |keyword| plain(reader.info(), keyword).or_else(|| unicode(reader.info(), keyword));
    Ok(text(PARAMETERS).zip(text(EXACT)).map(|(parameters, exact)| Metadata { parameters, exact }))
}

fn plain(info: &Info<'_>, keyword: &str) -> Option<String> {
    let chunk = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == keyword);
    chunk.map(|chunk| chunk.text.clone())
}

fn unicode(info: &Info<'_>, keyword: &str) -> Option<String> {
    let chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == keyword)?;
    let mut chunk: ITXtChunk = chunk.clone();
    chunk.decompress_text_with_limit(limits::PICTURE_TEXT_BYTES).ok()?;
    chunk.get_text().ok()
}

/// 8-bit RGB, and the request where the picture has one.
pub(super) fn encode(picture: &Picture) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::new(Kind::Internal, format!("PNG cannot be written: {e}"));
    let (width, height) = sides(picture)?;
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let texts = picture.metadata().into_iter();
    for (keyword, text) in texts.flat_map(|m| [(PARAMETERS, &m.parameters), (EXACT, &m.exact)]) {
        // tEXt is Latin-1 and everyone reads it; iTXt is UTF-8.
        let (keyword, text) = (keyword.to_owned(), text.clone());
        let add = if text.is_ascii() { Encoder::add_text_chunk } else { Encoder::add_itxt_chunk };
        add(&mut encoder, keyword, text).map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(picture.bytes()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
