//! `kd_picture`: pixels in and out.

use crate::call::exported;
use crate::handle::{Handle, Kept};
use crate::pointer::{Buffer, In, Out, Text, TextBuffer};
use kandinsky::internal::image::{Rgb, read_metadata};
use kandinsky::internal::limits;
use kandinsky::{Error, Format, Input, Kind, Mask, Metadata, Picture, Result, Size};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A picture that C holds. It is never changed.
pub struct Held {
    picture: Picture,
    /// Where what it came from is transparent.
    hole: Option<Mask>,
    /// The file of the last format asked for: C asks for the length first.
    file: Mutex<Option<(Format, Arc<[u8]>)>>,
}

impl Kept for Held {
    const NAME: &'static str = "a picture";
}

impl Held {
    pub(super) const fn new(picture: Picture, hole: Option<Mask>) -> Self {
        Self { picture, hole, file: Mutex::new(None) }
    }

    /// The picture as a request reads it.
    pub(super) fn input(&self) -> Input {
        Input::pixels(self.picture.clone(), self.hole.clone())
    }

    fn file(&self, format: Format) -> Result<Arc<[u8]>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match &*file {
            Some((made, bytes)) if *made == format => Ok(bytes.clone()),
            _ => {
                let bytes: Arc<[u8]> = self.picture.encode(format)?.into();
                *file = Some((format, bytes.clone()));
                Ok(bytes)
            }
        }
    }
}

exported! {
    /// A picture of the caller's pixels, which are copied: 8 bits a channel, rows from the top, `channels` is 3
    /// (RGB) or 4 (RGBA, not premultiplied), `stride` bytes from one row to the next, `length` bytes in all.
    /// Pictures are opaque: what is transparent is laid over white, and remembered as the hole of an inpainting
    /// without a mask.
    fn kd_picture_from_pixels(pixels: In<u8>, length: usize, width: u32, height: u32, channels: u32, stride: usize, picture: Out<Handle<Held>>) = from_pixels, error;
    /// A picture of the bytes of a PNG, JPEG or WebP file.
    fn kd_picture_decode(bytes: In<u8>, length: usize, picture: Out<Handle<Held>>) = decode, error;
    /// A picture of a PNG, JPEG or WebP file.
    fn kd_picture_open(path: Text, path_length: usize, picture: Out<Handle<Held>>) = open, error;
    /// Width and height in pixels.
    fn kd_picture_size(picture: Handle<Held>, width: Out<u32>, height: Out<u32>) = size, error;
    /// Copies the pixels to the caller's buffer of `capacity` bytes: 8 bits a channel, rows from the top,
    /// `channels` is 3 (RGB) or 4 (RGBA, opaque), `stride` bytes from one row to the next; bytes between rows
    /// are left alone.
    fn kd_picture_pixels(picture: Handle<Held>, channels: u32, stride: usize, buffer: Buffer<u8>, capacity: usize) = pixels, error;
    /// The bytes of a file of the picture, which carries its request: `format` is `png`, `webp`, `jpeg`, or
    /// `jpeg:90` for a quality from 1 to 100.
    fn kd_picture_encode(picture: Handle<Held>, format: Text, format_length: usize, buffer: Buffer<u8>, capacity: usize, length: Out<usize>) = encode, error;
    /// Writes a file, of the format of its name, whole or not at all. One that exists is `KD_EXISTS`, unless
    /// `replace` is not 0.
    fn kd_picture_save(picture: Handle<Held>, path: Text, path_length: usize, replace: u32) = save, error;
    /// The JSON of the request that drew the picture, which `kd_request_set_json` takes; the empty text for a
    /// picture that carries none.
    fn kd_picture_request(picture: Handle<Held>, buffer: TextBuffer, capacity: usize, length: Out<usize>) = request, error;
    /// Frees a picture. Requests that have it keep it.
    fn kd_picture_free(picture: Handle<Held>) = free;
}

fn from_pixels(
    pixels: In<u8>,
    length: usize,
    width: u32,
    height: u32,
    channels: u32,
    stride: usize,
    picture: Out<Handle<Held>>,
) -> Result<()> {
    let size = checked_size(width, height)?;
    let row = size.width * channel_bytes(channels)?;
    let needed = stride.checked_mul(size.height - 1).and_then(|before| before.checked_add(row));
    if stride < row || needed.is_none_or(|needed| needed > length) {
        let message = format!(
            "{length} bytes with a stride of {stride} do not hold {size} pixels of {channels} channels"
        );
        return Err(Error::new(Kind::BadImage, message));
    }
    let bytes = pixels.read(needed.unwrap_or(0), usize::MAX, "pixels")?;
    let rows = bytes.chunks(stride).flat_map(|line| line.get(..row)).collect::<Vec<_>>().concat();
    let (drawn, hole) = match channels {
        3 => (Picture::new(size, rows.as_chunks::<3>().0.to_vec())?, None),
        _ => Picture::from_rgba(size, rows.as_chunks::<4>().0)?,
    };
    picture.set(Handle::of(Held::new(drawn, hole))?);
    Ok(())
}

fn checked_size(width: u32, height: u32) -> Result<Size> {
    let side = limits::PICTURE_SIDE;
    let pixels = u64::from(width) * u64::from(height);
    if width > side || height > side || pixels == 0 || pixels > limits::PICTURE_PIXELS {
        let limit = limits::PICTURE_PIXELS;
        let message = format!(
            "a picture of {width}x{height}; the limits are 1 to {side} a side and {limit} pixels in all"
        );
        return Err(Error::new(Kind::BadImage, message));
    }
    let side = |side| usize::try_from(side).map_err(|_| Error::new(Kind::BadImage, "a side is too long"));
    Ok(Size { width: side(width)?, height: side(height)? })
}

fn channel_bytes(channels: u32) -> Result<usize> {
    match channels {
        3 => Ok(3),
        4 => Ok(4),
        _ => Err(Error::new(Kind::BadRequest, format!("channels is {channels}; it is 3 (RGB) or 4 (RGBA)"))),
    }
}

fn decode(bytes: In<u8>, length: usize, picture: Out<Handle<Held>>) -> Result<()> {
    let limit = usize::try_from(limits::PICTURE_FILE_BYTES).unwrap_or(usize::MAX);
    let bytes = bytes.read(length, limit, "bytes")?;
    let (drawn, hole) = Picture::decode(&bytes)?;
    picture.set(Handle::of(described(drawn, hole, Metadata::of(&bytes)?))?);
    Ok(())
}

fn open(path: Text, path_length: usize, picture: Out<Handle<Held>>) -> Result<()> {
    let path = path.text(path_length, limits::PATH_BYTES, "path")?;
    let (drawn, hole) = Picture::open_with_alpha(&path)?;
    picture.set(Handle::of(described(drawn, hole, read_metadata(&path)?))?);
    Ok(())
}

fn described(mut picture: Picture, hole: Option<Mask>, metadata: Option<Metadata>) -> Held {
    metadata.into_iter().for_each(|metadata| picture.describe(metadata));
    Held::new(picture, hole)
}

fn size(picture: Handle<Held>, width: Out<u32>, height: Out<u32>) -> Result<()> {
    let size = picture.object()?.picture.size();
    let side = |side| u32::try_from(side).map_err(|_| Error::new(Kind::Internal, "a side is too long"));
    let (wide, high) = (side(size.width)?, side(size.height)?);
    width.set(wide);
    height.set(high);
    Ok(())
}

fn pixels(
    picture: Handle<Held>,
    channels: u32,
    stride: usize,
    buffer: Buffer<u8>,
    capacity: usize,
) -> Result<()> {
    let held = picture.object()?;
    let row = held.picture.size().width * channel_bytes(channels)?;
    match channels {
        3 => buffer.fill_rows(capacity, stride, row, held.picture.bytes()),
        _ => {
            let opaque = |[red, green, blue]: &Rgb| [*red, *green, *blue, u8::MAX];
            let bytes: Vec<u8> = held.picture.pixels().iter().flat_map(opaque).collect();
            buffer.fill_rows(capacity, stride, row, &bytes)
        }
    }
}

fn encode(
    picture: Handle<Held>,
    format: Text,
    format_length: usize,
    buffer: Buffer<u8>,
    capacity: usize,
    length: Out<usize>,
) -> Result<()> {
    let held = picture.object()?;
    let bytes = held.file(format_of(&format.text(format_length, limits::KEY_BYTES, "format")?)?)?;
    length.set(bytes.len());
    buffer.fill(capacity, &bytes)
}

fn format_of(name: &str) -> Result<Format> {
    let unknown =
        || Error::new(Kind::BadRequest, format!("format is {name:?}; png, webp, jpeg, jpeg:90 are known"));
    let jpeg = Format::Jpeg { quality: Format::QUALITY };
    match (name, name.strip_prefix("jpeg:")) {
        ("png", _) => Ok(Format::Png),
        ("webp", _) => Ok(Format::WebP),
        ("jpeg", _) => Ok(jpeg),
        (_, Some(quality)) => jpeg.with_quality(quality.parse().map_err(|_| unknown())?),
        _ => Err(unknown()),
    }
}

fn save(picture: Handle<Held>, path: Text, path_length: usize, replace: u32) -> Result<()> {
    let held = picture.object()?;
    let path = path.text(path_length, limits::PATH_BYTES, "path")?;
    let path = Path::new(&path);
    held.picture.write(path, Format::of(path)?, replace != 0)
}

fn request(picture: Handle<Held>, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    let held = picture.object()?;
    let carried = held.picture.metadata().map_or("", |metadata| metadata.exact.as_str());
    buffer.say(capacity, length, carried)
}

fn free(picture: Handle<Held>) -> Result<()> {
    picture.free().map(drop)
}
