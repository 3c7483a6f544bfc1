//! Time as a vector.

use crate::Result;
use crate::block::{linear, silu};
use crate::graph::{Scope, Value};
use crate::number::{float, narrow};
use kandinsky_models::manifest::WAVES;
use kandinsky_models::math;

/// The longest wavelength over 2π.
const MAX_PERIOD: f64 = 10_000.0;

/// Cosines, then sines, of times t (T), which are f32 on every target, at `channels`/2 wavelengths, through two layers:
/// (T, out). `axis` is what the graph calls T.
pub fn time_embed(w: &Scope<'_>, (t, axis): (&Value, &str), channels: usize, out: usize) -> Result<Value> {
    let half = channels / 2;
    // f16 would round a time of 999 to halves.
    let f = w.wide();
    let frequencies = f.floats("frequencies", &[half], frequencies(half))?;
    let angles = f.mul(&f.unsqueeze(t, &[1])?, &frequencies)?; // (T, channels/2)
    let waves = f.concat(&[&f.cos(&angles), &f.sin(&angles)], 1)?; // (T, channels)
    let h = linear(&w.at("linear_1"), &w.in_place(&waves), out)?; // (T, out)
    // bf16 would round an angle of 999 to a multiple of 4. OpenVINO computes in f32 what ends in an output.
    w.output(WAVES, &waves, &format!("{axis}, {channels}"))?;
    linear(&w.at("linear_2"), &silu(w, &h)?, out) // (T, out)
}

/// MAX_PERIOD^(-i/half), rounded to f32 where the reference rounds.
fn frequencies(half: usize) -> Vec<f32> {
    let slope = narrow(-math::ln(MAX_PERIOD));
    let exponent = |i: usize| slope * narrow(float(i)) / narrow(float(half));
    (0..half).map(|i| narrow(math::exp(f64::from(exponent(i))))).collect()
}

#[cfg(test)]
mod tests {
    use super::frequencies;

    #[test]
    fn frequencies_fall_from_one_towards_the_longest_wavelength() {
        let f = frequencies(4);
        assert_eq!(f.first(), Some(&1.0));
        for (found, expected) in f.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found / expected - 1.0_f32).abs() < 1e-6, "{f:?}");
        }
    }
}
