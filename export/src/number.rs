//! Conversions between numbers that the language has no checked form of.

/// The nearest f32.
#[expect(clippy::as_conversions, reason = "rounding f64 to f32 has no other form")]
pub fn narrow(x: f64) -> f32 {
    x as f32
}

/// A count as a float; exact below 2^32.
pub fn float(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
