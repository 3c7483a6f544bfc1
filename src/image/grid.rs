//! Contact sheets.

use super::Picture;
use crate::error::{Error, Kind, Result};
use crate::image::Size;

impl Picture {
    /// Pictures of one size side by side, `columns` a row; what is left of the last row is white.
    ///
    /// # Errors
    /// When there are no pictures or columns, or their sizes differ.
    pub fn grid(pictures: &[Self], columns: usize) -> Result<Self> {
        let Some(first) = pictures.first().filter(|_| columns > 0) else {
            return Err(Error::new(Kind::BadRequest, "a sheet needs pictures and columns"));
        };
        let Size { width, height } = first.size();
        if let Some(odd) = pictures.iter().find(|p| p.size() != first.size()) {
            let message =
                format!("a sheet of pictures of {} cannot hold one of {}", first.size(), odd.size());
            return Err(Error::new(Kind::BadRequest, message));
        }
        let blank = vec![[255; 3]; width];
        let mut pixels = Vec::with_capacity(width * height * pictures.len());
        for row in pictures.chunks(columns) {
            for y in 0..height {
                for column in 0..columns {
                    let line = row.get(column).and_then(|p| p.pixels().chunks(width).nth(y));
                    pixels.extend_from_slice(line.unwrap_or(&blank));
                }
            }
        }
        let rows = pictures.len().div_ceil(columns);
        Self::new(Size { width: columns * width, height: rows * height }, pixels)
    }
}
