//! Pillow's resampling of 8-bit pictures, bit for bit.
//!
//! The reference prepares every picture with it, so its integer arithmetic is part of the numbers: weights
//! are normalised in f64, rounded to 22 fractional bits, and each of the two passes rounds to bytes (Pillow
//! 13.0.0, `Resample.c`). A pixel depends on nothing but its own weights, so a window of the result costs
//! no more than the window.

use super::Picture;
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use std::f64::consts::PI;

/// Fractional bits of a weight: 32, less 8 of the byte, less 2 for sums beyond it and the sign.
const BITS: u32 = 32 - 8 - 2;

/// How neighbouring pixels are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Keys' cubic with a = -1/2.
    Bicubic,
    /// The windowed sinc over three lobes.
    Lanczos,
}

impl Filter {
    const fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// The terms in Pillow's order: another order rounds differently.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { crate::math::sin_cos(x * PI).0 / (x * PI) }
}

/// A part of a picture: its upper left corner and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Columns left of it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Its own size.
    pub size: Size,
}

/// Pixels of a picture and its size.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a, const C: usize> {
    /// Rows from the top.
    pub pixels: &'a [[u8; C]],
    /// Width and height.
    pub size: Size,
}

impl<'a> From<&'a Picture> for Source<'a, 3> {
    fn from(picture: &'a Picture) -> Self {
        Self { pixels: picture.pixels(), size: picture.size() }
    }
}

/// `source` resized to `target`.
///
/// # Errors
/// When a side is 0, beyond 2^32, or the pixels do not fill the source's size.
pub fn resize<const C: usize>(source: Source<'_, C>, target: Size, filter: Filter) -> Result<Vec<[u8; C]>> {
    window(source, target, Window { left: 0, top: 0, size: target }, filter)
}

/// The part `window` of `source` resized to `target`.
///
/// # Errors
/// As [`resize`]; also when the window is not inside the target.
pub fn window<const C: usize>(
    source: Source<'_, C>,
    target: Size,
    window: Window,
    filter: Filter,
) -> Result<Vec<[u8; C]>> {
    check(source)?;
    let size = source.size;
    let span = (exact(size.width)?, exact(size.height)?);
    spanned(source, span, target, window, filter)
}

/// `source` resized to `target` in two steps: averaged over boxes of whole pixels to at least the target's
/// size, then by the filter. Pillow's `resize` with a `reducing_gap` of 1.
///
/// # Errors
/// As [`resize`].
pub fn in_two_steps<const C: usize>(
    source: Source<'_, C>,
    target: Size,
    filter: Filter,
) -> Result<Vec<[u8; C]>> {
    let Size { width, height } = source.size;
    let factor = |from: usize, to: usize| from.checked_div(to).unwrap_or(1).max(1);
    let factors = (factor(width, target.width), factor(height, target.height));
    if factors == (1, 1) {
        return resize(source, target, filter);
    }
    check(source)?;
    let (pixels, size) = reduce(source, factors);
    // A last box may be cut off by the edge, so the picture ends within the last pixel.
    let span = (exact(width)? / exact(factors.0)?, exact(height)? / exact(factors.1)?);
    let whole = Window { left: 0, top: 0, size: target };
    spanned(Source { pixels: &pixels, size }, (single(span.0), single(span.1)), target, whole, filter)
}

fn check<const C: usize>(source: Source<'_, C>) -> Result<()> {
    let Source { pixels, size } = source;
    if size.width.checked_mul(size.height) != Some(pixels.len()) || pixels.is_empty() {
        return Err(bad(format!("{} pixels do not fill a picture of {size}", pixels.len())));
    }
    Ok(())
}

/// The part `window` of the upper left `span` of `source`, which is resized to `target`.
fn spanned<const C: usize>(
    source: Source<'_, C>,
    span: (f64, f64),
    target: Size,
    window: Window,
    filter: Filter,
) -> Result<Vec<[u8; C]>> {
    let Source { pixels, size } = source;
    let side = |length, span, target| Side { length, span, target };
    let columns = side(size.width, span.0, target.width).taps(window.left, window.size.width, filter)?;
    let rows = side(size.height, span.1, target.height).taps(window.top, window.size.height, filter)?;
    if down_first(size, target) {
        return Ok(across(&down(pixels, size.width, &rows, 0), size.width, &columns));
    }
    // Only rows that the second pass reads go through the first. (Pillow leaves out the pass along a side
    // that keeps its length; its weights would be exactly 1 and 0.)
    let first = rows.first().map_or(0, |tap| tap.start);
    let last = rows.last().map_or(0, |tap| tap.start + tap.weights.len());
    let needed = pixels.get(first * size.width..last * size.width).unwrap_or_default();
    Ok(down(&across(needed, size.width, &columns), columns.len(), &rows, first))
}

/// Which pass is the first; each rounds, so it shows. Found by trying 1,500 sizes on Pillow 13.0.0, with
/// which the goldens were made: down first where that drops more than twice as many rows as columns are
/// dropped. (Older versions always went across first.)
const fn down_first(from: Size, to: Size) -> bool {
    let rows = from.height.saturating_sub(to.height);
    let columns = from.width.saturating_sub(to.width);
    let more_columns = to.width.saturating_sub(from.width);
    rows > 0 && rows + 2 * more_columns > 2 * columns
}

/// The pixels that one pixel is made of: their weights from `start` on.
struct Tap {
    start: usize,
    weights: Vec<i32>,
}

/// A side: its pixels, how much of them is resized, and to how many.
#[derive(Clone, Copy)]
struct Side {
    length: usize,
    span: f64,
    target: usize,
}

impl Side {
    /// The taps of pixels `first..first + count` of the result.
    fn taps(self, first: usize, count: usize, filter: Filter) -> Result<Vec<Tap>> {
        let Self { length, span, target } = self;
        let end = first.checked_add(count).filter(|end| *end <= target && count > 0);
        let (Some(end), Ok(pixels)) = (end, u32::try_from(length)) else {
            return Err(bad(format!(
                "pixels {first} to {first}+{count} of a side resized from {length} to {target}"
            )));
        };
        let scale = span / exact(target)?;
        (first..end)
            .map(|at| u32::try_from(at).map_err(|e| bad(e.to_string())))
            .map(|at| at.map(|at| tap(at, scale, pixels, filter)))
            .collect()
    }
}

/// A length in pixels.
fn exact(length: usize) -> Result<f64> {
    u32::try_from(length).map(f64::from).map_err(|_| bad(format!("a side of {length} pixels")))
}

/// Rounded to f32 as the reference keeps positions.
#[expect(clippy::as_conversions, reason = "rounds f64 to the nearest f32, which no From offers")]
const fn single(value: f64) -> f64 {
    value as f32 as f64
}

/// The mean of every box of `across` x `down` pixels, less at the right and lower edge (Pillow's `Reduce.c`).
fn reduce<const C: usize>(source: Source<'_, C>, (across, down): (usize, usize)) -> (Vec<[u8; C]>, Size) {
    let Source { pixels, size } = source;
    let Size { width, height } = size;
    let band = |band: &[[u8; C]]| {
        let mut sums = vec![([0; C], 0); width.div_ceil(across)];
        for row in band.chunks_exact(width) {
            sums.iter_mut().zip(row.chunks(across)).for_each(|(sums, pixels)| gather(sums, pixels));
        }
        sums.into_iter().map(|(sums, count)| sums.map(|sum| mean(sum, count)))
    };
    let reduced = pixels.chunks(width * down).flat_map(band).collect();
    (reduced, Size { width: width.div_ceil(across), height: height.div_ceil(down) })
}

fn gather<const C: usize>((sums, count): &mut ([u64; C], u32), pixels: &[[u8; C]]) {
    for pixel in pixels {
        sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
        *count += 1;
    }
}

/// The mean by the reference's multiplication, which now and then is a level less than division.
fn mean(sum: u64, count: u32) -> u8 {
    let inverse = whole(single(single(f64::from(1_u32 << 24)) / single(f64::from(count))));
    let product = (sum + u64::from(count / 2)) * u64::from(inverse);
    u8::try_from(product >> 24).unwrap_or(u8::MAX)
}

fn tap(at: u32, scale: f64, length: u32, filter: Filter) -> Tap {
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let center = (f64::from(at) + 0.5) * scale;
    let low = whole(center - support + 0.5);
    let high = whole(center + support + 0.5).min(length);
    let step = 1.0 / stretch;
    let exact: Vec<f64> = (low..high).map(|x| filter.weight((f64::from(x) - center + 0.5) * step)).collect();
    // Summed in order, as the reference does.
    let sum = exact.iter().fold(0.0, |sum, weight| sum + weight);
    let weights = exact.into_iter().map(|w| fixed(if sum == 0.0 { w } else { w / sum })).collect();
    Tap { start: usize::try_from(low).unwrap_or(usize::MAX), weights }
}

/// Half a unit, so that cutting off rounds.
const HALF: i32 = 1 << (BITS - 1);

/// Every row of `width` pixels to a row of a pixel a tap.
fn across<const C: usize>(pixels: &[[u8; C]], width: usize, taps: &[Tap]) -> Vec<[u8; C]> {
    let pixel = |row: &[[u8; C]], tap: &Tap| {
        let mut sums = [HALF; C];
        let read = row.get(tap.start..).unwrap_or_default();
        tap.weights.iter().zip(read).for_each(|(weight, pixel)| add(&mut sums, *weight, pixel));
        sums.map(clip)
    };
    pixels.chunks_exact(width).flat_map(|row| taps.iter().map(move |tap| pixel(row, tap))).collect()
}

/// Rows of `width` pixels, of which the first is row `first`, to a row a tap.
fn down<const C: usize>(pixels: &[[u8; C]], width: usize, taps: &[Tap], first: usize) -> Vec<[u8; C]> {
    let row = |tap: &Tap| {
        let mut sums = vec![[HALF; C]; width];
        let read = pixels.chunks_exact(width).skip(tap.start.saturating_sub(first));
        for (weight, row) in tap.weights.iter().zip(read) {
            sums.iter_mut().zip(row).for_each(|(sums, pixel)| add(sums, *weight, pixel));
        }
        sums.into_iter().map(|sums| sums.map(clip))
    };
    taps.iter().flat_map(row).collect()
}

fn add<const C: usize>(sums: &mut [i32; C], weight: i32, pixel: &[u8; C]) {
    for (sum, value) in sums.iter_mut().zip(pixel) {
        *sum += weight * i32::from(*value);
    }
}

fn clip(sum: i32) -> u8 {
    u8::try_from((sum >> BITS).clamp(0, 255)).unwrap_or(u8::MAX)
}

/// A weight in fixed point, halves away from zero.
#[expect(clippy::as_conversions, reason = "rounds by truncation as the reference; a weight is below 2^9")]
fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_u32 << BITS);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// The whole part; 0 for what is negative.
#[expect(
    clippy::as_conversions,
    reason = "saturating truncation is what the reference does with this position"
)]
const fn whole(position: f64) -> u32 {
    position as u32
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadImage, format!("a picture cannot be resized: {message}"))
}
