//! Classifier-free guidance: one formula, one file.
//!
//! Rows of a guided batch stand as the reference's: the unconditional half first, the text's half second.

mod interval;

pub use interval::Interval;

use crate::error::{Error, Kind, Result};
use crate::math::{count, narrow};
use crate::tensor::{Tensor, TensorView, concat_views, repeat, side, slice, view_rows, view_slice};
use std::borrow::Cow;

/// How strongly the text pulls, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guidance {
    scale: f64,
    interval: Interval,
    /// Timesteps of the schedule, which the interval is a part of.
    trained: usize,
}

impl Guidance {
    /// Guidance of a scale at all noise levels; 1 and less turns it off.
    pub const fn new(scale: f64) -> Self {
        Self { scale, interval: Interval::WHOLE, trained: 1 }
    }

    /// The same within a part of a schedule of `trained` timesteps, and off outside.
    #[must_use]
    pub const fn within(self, interval: Interval, trained: usize) -> Self {
        Self { interval, trained, ..self }
    }

    /// The guidance of a step at `timestep`.
    #[must_use]
    pub fn at(self, timestep: f32) -> Self {
        let last = count(self.trained.saturating_sub(1));
        let noise = if last > 0.0 { f64::from(timestep) / last } else { 0.0 };
        match self.interval == Interval::WHOLE || self.interval.contains(1.0 - noise) {
            true => Self::new(self.scale),
            false => Self::new(1.0),
        }
    }

    /// The scale.
    pub const fn scale(self) -> f64 {
        self.scale
    }

    /// Whether the batch is doubled.
    pub fn is_on(self) -> bool {
        self.scale > 1.0
    }

    /// The batch \[B,…\] as a network takes it: doubled \[2B,…\] when guidance is on.
    ///
    /// # Errors
    /// When the tensor has no batch axis.
    pub fn duplicate_for_cfg(self, x: &Tensor) -> Result<Cow<'_, Tensor>> {
        if self.is_on() { repeat(x, 2).map(Cow::Owned) } else { Ok(Cow::Borrowed(x)) }
    }

    /// The network's answer \[2B,…\] combined to \[B,…\]: `uncond + scale * (text - uncond)`. An answer
    /// passes as it is when guidance is off.
    ///
    /// # Errors
    /// When the rows are not two halves.
    pub fn combine(self, out: Tensor) -> Result<Tensor> {
        if !self.is_on() {
            return Ok(out);
        }
        let (uncond, text) = halves(&out)?;
        let mut guided = uncond.to_owned();
        let scale = narrow(self.scale);
        guided.zip_mut_with(&text, |uncond, text| *uncond += scale * (text - *uncond));
        Ok(guided)
    }

    /// As [`Guidance::combine`] for an answer \[2B,C,…\] whose first `guided` channels are the prediction:
    /// the others are its variance, which is the text half's own and never guided.
    ///
    /// # Errors
    /// When the rows are not two halves.
    pub fn combine_with_variance(self, out: Tensor, guided: usize) -> Result<Tensor> {
        let channels = side(out.shape(), 1)?;
        if !self.is_on() || channels <= guided {
            return self.combine(out);
        }
        let (_, text) = halves(&out)?;
        let variance = view_slice(&text, 1, guided, channels)?;
        let prediction = self.combine(slice(&out, 1, 0, guided)?)?;
        concat_views(&[prediction.view(), variance], 1)
    }
}

/// The unconditional half and the text's half of a batch.
fn halves(out: &Tensor) -> Result<(TensorView<'_>, TensorView<'_>)> {
    let total = side(out.shape(), 0)?;
    if total == 0 || total % 2 != 0 {
        return Err(Error::new(
            Kind::Internal,
            format!("a guided batch has {total} rows, which are not two halves"),
        ));
    }
    let out = out.view();
    Ok((view_rows(&out, 0, total / 2)?, view_rows(&out, total / 2, total)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::tensor;

    #[test]
    fn the_unconditional_half_comes_first() {
        let out = tensor(&[2, 2], vec![1.0, 2.0, 2.0, 6.0]).unwrap();
        let guided = Guidance::new(4.0).combine(out).unwrap();
        assert_eq!(guided, tensor(&[1, 2], vec![5.0, 18.0]).unwrap());
    }

    #[test]
    fn variance_is_the_texts_own() {
        let out = tensor(&[2, 2, 1], vec![1.0, 10.0, 3.0, 30.0]).unwrap();
        let guided = Guidance::new(2.0).combine_with_variance(out, 1).unwrap();
        assert_eq!(guided, tensor(&[1, 2, 1], vec![5.0, 30.0]).unwrap());
    }

    #[test]
    fn a_scale_of_one_changes_nothing() {
        let out = tensor(&[3, 1], vec![1.0, 2.0, 3.0]).unwrap();
        let off = Guidance::new(1.0);
        assert!(!off.is_on());
        assert_eq!(off.combine(off.duplicate_for_cfg(&out).unwrap().into_owned()).unwrap(), out);
    }

    #[test]
    fn outside_its_interval_it_is_off() {
        let guidance = Guidance::new(4.0).within("0.2..0.8".parse().unwrap(), 1001);
        let on = [1000.0, 801.0, 800.0, 500.0, 200.0, 199.0, 0.0].map(|t| guidance.at(t).is_on());
        assert_eq!(on, [false, false, true, true, true, false, false]);
        assert!(guidance.is_on() && Guidance::new(4.0).at(1000.0).is_on());
        assert!(!Guidance::new(1.0).at(500.0).is_on());
    }

    #[test]
    fn an_odd_batch_is_refused() {
        let out = tensor(&[3, 1], vec![0.0; 3]).unwrap();
        assert!(Guidance::new(4.0).combine(out).unwrap_err().to_string().contains("3 rows"));
    }
}
