//! Width and height.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl std::str::FromStr for Size {
    type Err = Error;

    /// Reads `WIDTHxHEIGHT`, such as `512x768`.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::new(Kind::BadRequest, format!("{text:?} is not a size; write 512x768"));
        let (width, height) = text.split_once(['x', 'X', '×']).ok_or_else(bad)?;
        let side = |s: &str| s.trim().parse().map_err(|_| bad());
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}
