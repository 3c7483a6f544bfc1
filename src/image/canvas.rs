//! Canvases of outpainting: a picture and room around it.

use super::resize::Window;
use super::{Mask, Picture, Rgb};
use crate::error::{Error, Kind, Result};
use crate::image::Size;
use crate::limits;

/// A picture with room around it that is to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    /// The pixels that are known; each empty one has the colour of the nearest of them.
    pub picture: Picture,
    /// Repaints what is empty.
    pub mask: Mask,
    /// Where on the canvas the known pixels lie.
    pub known: Window,
}

/// Pixels that a picture grows by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sides {
    /// To the left.
    pub left: usize,
    /// Above.
    pub top: usize,
    /// To the right.
    pub right: usize,
    /// Below.
    pub bottom: usize,
}

/// A frame over a picture, which may reach beyond it on every side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The first column, counted from the picture's own; negative to the left of it.
    pub x: i64,
    /// The first row; negative above the picture.
    pub y: i64,
    /// The size of the canvas.
    pub size: Size,
}

impl Canvas {
    /// The whole picture, and room on its sides.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when no side grows, or the canvas is beyond the limits of an output picture.
    pub fn extend(picture: &Picture, sides: Sides) -> Result<Self> {
        let Sides { left, top, right, bottom } = sides;
        let Size { width, height } = picture.size();
        let width = left.saturating_add(width).saturating_add(right);
        let height = top.saturating_add(height).saturating_add(bottom);
        limits::check_size(width, height)?;
        let before = |length: usize| i64::try_from(length).map(|length| -length).unwrap_or(i64::MIN);
        Self::view(picture, View { x: before(left), y: before(top), size: Size { width, height } })
    }

    /// What a frame shows of the picture, and what is empty in it.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when it shows nothing of the picture, when nothing in it is empty, or when it is
    /// beyond the limits of an output picture.
    pub fn view(picture: &Picture, view: View) -> Result<Self> {
        let View { x, y, size } = view;
        limits::check_size(size.width, size.height)?;
        let wide = Span::new(x, size.width, picture.size().width);
        let high = Span::new(y, size.height, picture.size().height);
        let (Some(wide), Some(high)) = (wide, high) else {
            return Err(refused(view, picture, "shows nothing of it"));
        };
        let known = Size { width: wide.length, height: high.length };
        if known == size {
            return Err(refused(view, picture, "leaves nothing to draw"));
        }
        let known = Window { left: wide.first, top: high.first, size: known };
        let picture =
            Picture::new(size, fill(picture, &wide.sources(size.width), &high.sources(size.height)))?;
        Ok(Self { picture, mask: empty(size, known)?, known })
    }
}

/// A side of the frame: where the picture's pixels lie in it, how many, and the first of them.
struct Span {
    first: usize,
    length: usize,
    source: usize,
}

impl Span {
    /// `None` when a frame of `length` from `start` on shows nothing of `whole` pixels.
    fn new(start: i64, length: usize, whole: usize) -> Option<Self> {
        let offset = usize::try_from(start.unsigned_abs()).ok()?;
        let (first, source) = if start < 0 { (offset, 0) } else { (0, offset) };
        let length = length.checked_sub(first)?.min(whole.checked_sub(source)?);
        (length > 0).then_some(Self { first, length, source })
    }

    /// The picture's nearest pixel to each of `count` of the frame.
    fn sources(&self, count: usize) -> Vec<usize> {
        (0..count).map(|at| self.source + at.saturating_sub(self.first).min(self.length - 1)).collect()
    }
}

fn fill(picture: &Picture, columns: &[usize], rows: &[usize]) -> Vec<Rgb> {
    let lines: Vec<&[Rgb]> = picture.pixels().chunks_exact(picture.size().width).collect();
    let lines = rows.iter().filter_map(|row| lines.get(*row));
    lines.flat_map(|line| columns.iter().filter_map(|column| line.get(*column).copied())).collect()
}

fn empty(size: Size, known: Window) -> Result<Mask> {
    let inside = |at: usize, first: usize, length: usize| (first..first + length).contains(&at);
    let level = |x, y| {
        let here = inside(x, known.left, known.size.width) && inside(y, known.top, known.size.height);
        if here { 0 } else { u8::MAX }
    };
    Mask::new(size, (0..size.height).flat_map(|y| (0..size.width).map(move |x| level(x, y))).collect())
}

fn refused(view: View, picture: &Picture, reason: &str) -> Error {
    let View { x, y, size } = view;
    let message = format!("a frame of {size} at {x},{y} over a picture of {} {reason}", picture.size());
    Error::new(Kind::BadRequest, message)
}
