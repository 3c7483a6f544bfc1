//! What was drawn, laid into the picture that it was drawn for.

use super::{Mask, Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::limits;

/// `drawn` where the mask repaints, `original` everywhere else, bit for bit. Over `feather` pixels inside the
/// repainted area `drawn` fades in from its edge; 0 is a hard edge. The metadata are those of `drawn`.
///
/// # Errors
/// When the three are not of one size, or the feather is beyond `limits::FEATHER`.
pub fn composite(original: &Picture, drawn: &Picture, mask: &Mask, feather: usize) -> Result<Picture> {
    limits::FEATHER.check(feather)?;
    mask.check(original)?;
    if drawn.size() != original.size() {
        let message = format!("{} was drawn for a picture of {}", drawn.size(), original.size());
        return Err(Error::new(Kind::BadImage, message));
    }
    let weights = weights(mask, feather);
    let both = original.pixels.iter().zip(drawn.pixels.iter());
    let pixels = both.zip(weights).map(|((old, new), weight)| mix(*old, *new, weight)).collect::<Vec<_>>();
    Ok(Picture { size: drawn.size, pixels: pixels.into(), metadata: drawn.metadata.clone() })
}

/// A weight of the drawn pixel that leaves nothing of the original.
const ONE: u32 = 1 << 16;

fn mix(old: Rgb, new: Rgb, weight: u32) -> Rgb {
    let [red, green, blue] = old;
    let [other_red, other_green, other_blue] = new;
    [(red, other_red), (green, other_green), (blue, other_blue)].map(|(old, new)| {
        let sum = u32::from(old) * (ONE - weight) + u32::from(new) * weight;
        u8::try_from((sum + ONE / 2) / ONE).unwrap_or(u8::MAX)
    })
}

/// How much of the drawn pixel each pixel shows: its distance from the nearest kept one, of `feather` + 1.
fn weights(mask: &Mask, feather: usize) -> Vec<u32> {
    let width = mask.size().width;
    let reach = feather + 1;
    let columns = columns(mask, reach);
    let steps: Vec<u32> = (0..=reach * reach).map(|square| fraction(square, reach)).collect();
    let weight = |row: &[usize], x: usize| {
        let near = x.saturating_sub(feather)..(x + reach).min(width);
        let squares = near.clone().zip(row.get(near).unwrap_or_default());
        let square = squares.map(|(at, rows)| rows.pow(2) + at.abs_diff(x).pow(2)).min().unwrap_or(0);
        steps.get(square).copied().unwrap_or(ONE)
    };
    columns
        .chunks_exact(width)
        .flat_map(|row| (0..width).map(move |x| (row, x)))
        .map(|(row, x)| weight(row, x))
        .collect()
}

/// For each pixel, how many rows away the nearest kept pixel of its column is, at most `reach`.
fn columns(mask: &Mask, reach: usize) -> Vec<usize> {
    let width = mask.size().width;
    let mut rows: Vec<usize> = mask.repaints().map(|repaints| if repaints { reach } else { 0 }).collect();
    spread(rows.chunks_exact_mut(width));
    spread(rows.chunks_exact_mut(width).rev());
    rows
}

/// No pixel is further away than the one before it and one more.
fn spread<'a>(rows: impl Iterator<Item = &'a mut [usize]>) {
    rows.reduce(|before, row| {
        row.iter_mut().zip(before).for_each(|(here, before)| *here = (*here).min(*before + 1));
        row
    });
}

/// The square root of `square`, in parts of `reach`, of [`ONE`]; whole numbers all the way, so that every
/// machine rounds alike.
fn fraction(square: usize, reach: usize) -> u32 {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let one = u64::from(ONE);
    u32::try_from((wide(square) * one * one).isqrt() / wide(reach)).unwrap_or(ONE).min(ONE)
}
