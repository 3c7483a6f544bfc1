//! Where guidance acts (Kynkäänniemi et al., "Applying guidance in a limited interval improves sample and
//! distribution quality in diffusion models", section 3).
//!
//! The paper bounds the noise level sigma. Here the bounds are shares of the schedule's training timesteps, each of
//! which is one noise level: 0 is pure noise and 1 the clean picture, whichever sampler runs and in how many steps.

use crate::error::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// A part of the way from noise to picture; written `START..END`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval {
    start: f64,
    end: f64,
}

impl Interval {
    /// All of the way.
    pub const WHOLE: Self = Self { start: 0.0, end: 1.0 };

    /// From `start` to `end`, both among it.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] unless 0 <= start < end <= 1.
    pub fn new(start: f64, end: f64) -> Result<Self> {
        if 0.0 <= start && start < end && end <= 1.0 {
            return Ok(Self { start, end });
        }
        let message = format!("guidance_interval is {start}..{end}; it rises, from 0 at least to 1 at most");
        Err(Error::new(Kind::BadRequest, message))
    }

    /// Whether a share of the way is within it.
    pub fn contains(self, share: f64) -> bool {
        // Timesteps are f32, and a bound that one of them lies on counts as met.
        (self.start - SLACK..=self.end + SLACK).contains(&share)
    }
}

/// Far below the distance of two timesteps.
const SLACK: f64 = 1e-6;

impl Default for Interval {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl std::str::FromStr for Interval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let message = format!("{text:?} is not a guidance_interval; write START..END, such as 0.2..0.8");
            Error::new(Kind::BadRequest, message)
        };
        let (start, end) = text.split_once("..").ok_or_else(bad)?;
        let share = |text: &str| text.trim().parse().map_err(|_| bad());
        Self::new(share(start)?, share(end)?)
    }
}

impl TryFrom<String> for Interval {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        interval.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["0..1", "0.2..0.8", "0.25..1"] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!(interval.to_string(), text);
            assert_eq!(serde_json::to_string(&interval).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Interval>(&format!("{text:?}")).unwrap(), interval);
        }
    }

    #[test]
    fn what_does_not_rise_within_0_and_1_is_refused() {
        for text in ["0.8..0.2", "0.5..0.5", "-0.1..0.5", "0.5..1.1", "NaN..1", "0..inf"] {
            let said = text.parse::<Interval>().unwrap_err().to_string();
            assert!(said.contains("guidance_interval is"), "{said}");
        }
        for text in ["", "0.5", "0.2-0.8", "a..b", "0..1..2"] {
            let said = text.parse::<Interval>().unwrap_err().to_string();
            assert!(said.contains(&format!("{text:?}")) && said.contains("START..END"), "{said}");
        }
    }
}
