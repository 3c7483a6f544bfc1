//! Elementary functions with the same bits on every machine: only `+`, `-`, `*`, `/` and roots, none of the
//! system's mathematics library and no fused multiply-add.
//!
//! Noise, schedules, filters and constants of graphs are made of these, so that a seed draws one picture everywhere. Errors are within a
//! few units of the last place of an `f64`, far below the `f32` that results are rounded to.

/// ln 2, split so that small multiples of the first part are exact.
const LN2: (f64, f64) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
/// pi/2, split in the same way.
const HALF_PI: (f64, f64) = (1.570_796_326_734_125_6, 6.077_100_506_506_192e-11);
/// Adding 1.5 * 2^52 leaves the nearest integer in the low bits of a sum.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The nearest `f32`.
#[expect(clippy::as_conversions, reason = "nothing else in the language rounds f64 to f32")]
pub const fn narrow(x: f64) -> f32 {
    x as f32
}

/// A count as a number; exact up to 2^32, beyond which no count here goes.
pub fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

/// The nearest integer, ties to even, for magnitudes below 2^31; saturates beyond.
pub fn nearest(x: f64) -> i32 {
    let clamped = x.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
    let low = (clamped + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits());
    i32::try_from(low.cast_signed()).unwrap_or(0)
}

/// Natural logarithm of a positive, finite, normal number.
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let raised = i32::try_from(bits >> 52).unwrap_or(0) - 1023;
    let unit = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000); // [1, 2)
    let (m, e) = if unit > std::f64::consts::SQRT_2 { (unit * 0.5, raised + 1) } else { (unit, raised) };
    // ln m = 2 artanh s with |s| <= 0.1716, whose series in s^2 gains 1.5 digits a term.
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = [23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0];
    let tail = series.iter().fold(0.0, |sum, n| (sum + 1.0 / n) * square);
    let e = f64::from(e);
    e * LN2.0 + (2.0 * s + (2.0 * s * tail + e * LN2.1))
}

/// `e` to the power of `x`, for results that are normal numbers; 0 and infinity beyond.
pub fn exp(x: f64) -> f64 {
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let n = nearest(x * std::f64::consts::LOG2_E);
    let times = f64::from(n);
    let r = (x - times * LN2.0) - times * LN2.1; // |r| <= 0.3466
    let sum = (1..=14).rev().fold(1.0, |sum, k| 1.0 + sum * r / f64::from(k));
    sum * f64::from_bits(u64::try_from(i64::from(n) + 1023).unwrap_or(0) << 52)
}

/// Sine and cosine of `x` in radians, for magnitudes below 10^5.
pub fn sin_cos(x: f64) -> (f64, f64) {
    let n = nearest(x * std::f64::consts::FRAC_2_PI);
    let times = f64::from(n);
    let r = (x - times * HALF_PI.0) - times * HALF_PI.1; // |r| <= pi/4
    let square = r * r;
    // Taylor's series: each fold step is the factor between two terms.
    let series = |first: i32| {
        (0..9).rev().fold(1.0, |sum, k| {
            let n = f64::from(first + 2 * k);
            1.0 - sum * square / (n * (n + 1.0))
        })
    };
    let (sin, cos) = (r * series(2), series(1));
    match n.rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The angle in [0, pi] whose sine, at least 0, and cosine are given.
pub fn angle(sin: f64, cos: f64) -> f64 {
    // Newton's steps on the sine of the difference, from a parabola's guess; each doubles the digits.
    let guess = std::f64::consts::FRAC_PI_2 * (1.0 - cos.clamp(-1.0, 1.0));
    (0..6).fold(guess, |angle, _| {
        let (s, c) = sin_cos(angle);
        angle + (sin * c - cos * s)
    })
}

/// A share in per cent.
pub fn percent(share: f64) -> f64 {
    share * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() <= 4e-16 * theirs.abs().max(1e-3), "{ours} is not {theirs}");
    }

    #[test]
    fn functions_agree_with_the_library() {
        for i in 1..20_000 {
            let x = f64::from(i) * 3.7e-4;
            near(ln(x), x.ln());
            near(exp(x - 4.0) / (x - 4.0).exp(), 1.0);
            let (sin, cos) = sin_cos(x - 1.0);
            assert!((sin - (x - 1.0).sin()).abs() < 3e-16 && (cos - (x - 1.0).cos()).abs() < 3e-16, "{x}");
        }
        for x in [5e-324_f64.max(f64::MIN_POSITIVE), 2f64.powi(-53), 0.999_999_9, 1.0, 1e300] {
            near(ln(x), x.ln());
        }
    }

    #[test]
    fn bits_are_these_on_every_machine() {
        assert_eq!(ln(0.1).to_bits(), 0xc002_6bb1_bbb5_5515);
        assert_eq!(exp(1.0).to_bits(), 0x4005_bf0a_8b14_576a);
        assert_eq!(sin_cos(1.0).0.to_bits(), 0x3fea_ed54_8f09_0cee);
    }

    #[test]
    fn angles_are_those_of_their_sine_and_cosine() {
        for i in 0..=1000 {
            let angle_in = f64::from(i) * std::f64::consts::PI / 1000.0;
            let (sin, cos) = sin_cos(angle_in);
            assert!((angle(sin.max(0.0), cos) - angle_in).abs() < 1e-12, "{angle_in}");
        }
    }

    #[test]
    fn rounding_goes_to_even() {
        let cases = [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (999.4999, 999), (1e300, i32::MAX)];
        for (x, integer) in cases {
            assert_eq!(nearest(x), integer, "{x}");
        }
    }
}
