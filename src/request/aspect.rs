//! Named aspect ratios.

use crate::error::{Error, Kind, Result};
use crate::image::Size;

/// Named aspect ratios (width to height) of the paper's editor.
pub const ASPECTS: [(&str, (usize, usize)); 5] =
    [("1:1", (1, 1)), ("2:3", (2, 3)), ("3:2", (3, 2)), ("9:16", (9, 16)), ("16:9", (16, 9))];

/// The size of about the model's own area with a named aspect ratio, in multiples of `multiple` pixels.
///
/// # Errors
/// When the name is not in `ASPECTS`.
pub fn aspect_size(name: &str, area: usize, multiple: usize) -> Result<Size> {
    let Some((_, (w, h))) = ASPECTS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = ASPECTS.iter().map(|(name, _)| *name).collect();
        let message = format!("the aspect ratio {name:?} is unknown; {} are known", known.join(", "));
        return Err(Error::new(Kind::BadRequest, message));
    };
    let multiple = multiple.max(1);
    // Integer square root: width² = area·w/h, so both sides come out within half a multiple.
    let side = |num: usize, den: usize| {
        let exact = (area * num / den).isqrt();
        (exact + multiple / 2).div_euclid(multiple).max(1) * multiple
    };
    Ok(Size { width: side(*w, *h), height: side(*h, *w) })
}
