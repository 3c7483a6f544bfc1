//! Prompt weights on an encoder's states, as the AUTOMATIC1111 web interface applies them.

use crate::math::{count, narrow};
use ndarray::{ArrayViewMutD, Axis};

/// How far all states may be scaled to keep their mean.
const TRUSTED: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// Multiplies the first states of f32\[S,W\] by their weights, the others by 1, then all of them by one
/// factor, so that the mean of all numbers stays what it was.
///
/// States end in a layer normalisation, whose mean may be as good as 0; the quotient of two such means is
/// noise, which may turn every sign. A factor below 1/2 or above 2 is therefore taken from the mean of the
/// magnitudes instead.
pub(super) fn weigh(mut states: ArrayViewMutD<'_, f32>, weights: &[f32]) {
    let before = Means::of(&states);
    for (mut state, weight) in states.axis_iter_mut(Axis(0)).zip(weights) {
        state *= *weight;
    }
    let after = Means::of(&states);
    states *= narrow(before.factor(&after));
}

/// Means of the numbers and of their magnitudes.
struct Means {
    signed: f64,
    magnitude: f64,
}

impl Means {
    fn of(states: &ArrayViewMutD<'_, f32>) -> Self {
        let numbers = count(states.len().max(1));
        let sums = states.iter().map(|x| f64::from(*x)).fold((0.0, 0.0), |(s, m), x| (s + x, m + x.abs()));
        Self { signed: sums.0 / numbers, magnitude: sums.1 / numbers }
    }

    /// What brings `after` back to these.
    fn factor(&self, after: &Self) -> f64 {
        let signed = self.signed / after.signed;
        if TRUSTED.contains(&signed) {
            return signed;
        }
        let magnitude = self.magnitude / after.magnitude;
        // Nothing brings states back that are all 0.
        if magnitude.is_finite() { magnitude } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Tensor, tensor};

    fn weighed(numbers: &[f32], width: usize, weights: &[f32]) -> Vec<f32> {
        let mut states = tensor(&[numbers.len() / width, width], numbers.to_vec()).unwrap();
        weigh(states.view_mut(), weights);
        states.iter().copied().collect()
    }

    #[test]
    fn the_mean_stays_what_it_was() {
        // The mean is 3 before and 3.75 between, so all is scaled by 0.8.
        assert_eq!(weighed(&[1.0, 2.0, 3.0, 6.0], 2, &[2.0]), [1.6, 3.2, 2.4, 4.8].map(|x: f32| x));
    }

    #[test]
    fn a_mean_of_nothing_keeps_the_magnitudes() {
        for (numbers, weights) in [
            ([1.0, -1.0, 2.0, -2.0], [2.0, 0.5]), // 0 over 0
            ([1.0, -1.01, 2.0, -1.999], [0.0, 1.5]),
            ([1.0, -1.1, 2.0, -1.9], [2.0, 0.5]), // the mean would turn its sign
        ] {
            let after = weighed(&numbers, 2, &weights);
            let sum = |x: &[f32]| x.iter().map(|x| x.abs()).sum::<f32>();
            assert!((sum(&after) - sum(&numbers)).abs() < 1e-5, "{after:?}");
            assert!(after.iter().zip(numbers).all(|(after, before)| after * before >= 0.0));
        }
        assert_eq!(weighed(&[1.0, 2.0], 2, &[0.0]), [0.0, 0.0]);
        assert_eq!(weighed(&[], 2, &[0.0]), Vec::<f32>::new());
    }

    #[test]
    fn weights_of_1_change_no_bit() {
        let numbers = [0.1, -0.7, 3.3, 1e-30, 5.5, -2.25];
        assert_eq!(weighed(&numbers, 2, &[1.0, 1.0, 1.0]), numbers);
        let empty = Tensor::zeros(ndarray::IxDyn(&[2, 0]));
        weigh(empty.clone().view_mut(), &[2.0]);
    }
}
