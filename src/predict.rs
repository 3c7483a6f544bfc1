//! What a network's output means: noise, the clean picture or a velocity, with or without a variance.

use crate::error::{Error, Kind, Result};
use crate::math::{count, narrow, nearest};
use crate::schedule::SchedulerConfig;
use crate::tensor::{Tensor, slice};
use ndarray::{ArrayViewD, Axis, Zip};

/// What the network was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise in x.
    Epsilon,
    /// The clean picture.
    Sample,
    /// `sqrt(abar) noise - sqrt(1 - abar) x0` (Salimans and Ho, "Progressive distillation", section 4).
    Velocity,
}

impl Prediction {
    /// The scheduler's `prediction_type`.
    ///
    /// # Errors
    /// [`Kind::BadModel`] for one that is unknown.
    pub fn of(config: &SchedulerConfig) -> Result<Self> {
        Ok(match config.choice("prediction_type", &["epsilon", "sample", "v_prediction"])? {
            0 => Self::Epsilon,
            1 => Self::Sample,
            _ => Self::Velocity,
        })
    }

    /// The clean picture that `out` means at x, where the picture is scaled by `alpha_t` and the noise by `sigma_t`.
    pub fn clean(self, out: &Tensor, x: &Tensor, alpha_t: f32, sigma_t: f32) -> Tensor {
        match self {
            Self::Epsilon => Zip::from(x).and(out).map_collect(|x, e| (x - sigma_t * e) / alpha_t),
            Self::Sample => out.clone(),
            Self::Velocity => Zip::from(x).and(out).map_collect(|x, v| alpha_t * x - sigma_t * v),
        }
    }

    /// The noise that `out` means at x; `alpha_t` and `sigma_t` as for [`Prediction::clean`].
    pub fn noise(self, out: &Tensor, x: &Tensor, alpha_t: f32, sigma_t: f32) -> Tensor {
        match self {
            Self::Epsilon => out.clone(),
            Self::Sample => Zip::from(x).and(out).map_collect(|x, x0| (x - alpha_t * x0) / sigma_t),
            Self::Velocity => Zip::from(x).and(out).map_collect(|x, v| alpha_t * v + sigma_t * x),
        }
    }
}

/// What keeps a predicted clean picture in range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Clipping {
    /// Nothing.
    None,
    /// Values are clamped to plus and minus this.
    Clip(f32),
    /// Each picture is divided by its own quantile `ratio` of magnitudes, at least 1 and at most `most`, and
    /// clamped to 1 (Saharia et al., "Imagen", section 2.3).
    Threshold {
        /// The quantile, between 0 and 1.
        ratio: f32,
        /// The most to divide by.
        most: f32,
    },
    /// All pictures are clamped to `most`, divided by the first one's quantile, at least 1, and clamped to 1:
    /// the original repository's, where a picture depends on the first of its batch.
    FirstThreshold {
        /// The quantile, between 0 and 1.
        ratio: f32,
        /// The largest magnitude before.
        most: f32,
    },
}

impl Clipping {
    /// The scheduler's clipping or thresholding; `clips` is the default of `clip_sample`.
    ///
    /// # Errors
    /// [`Kind::BadModel`] for values out of range.
    pub fn of(config: &SchedulerConfig, clips: bool) -> Result<Self> {
        if config.flag("thresholding", false)? {
            let (ratio, most) = thresholds(config, 1.0)?;
            return Ok(Self::Threshold { ratio, most });
        }
        if config.flag("clip_sample", clips)? {
            let range = config.number("clip_sample_range", 1.0)?;
            if range <= 0.0 {
                let message = format!("clip_sample_range is {range}; it is greater than 0");
                return Err(Error::new(Kind::BadModel, message));
            }
            return Ok(Self::Clip(narrow(range)));
        }
        Ok(Self::None)
    }

    /// The bound of the original repository's `p_sampler` (its `denoised_fun` and `clip_denoised`): the quantile
    /// 0.995 up to 2. A model whose settings turn thresholding off has latents beyond 1 and is not bounded.
    ///
    /// # Errors
    /// [`Kind::BadModel`] for values out of range.
    pub fn of_original(config: &SchedulerConfig) -> Result<Self> {
        if !config.flag("thresholding", true)? {
            return Ok(Self::None);
        }
        let (ratio, most) = thresholds(config, 2.0)?;
        Ok(Self::FirstThreshold { ratio, most })
    }

    /// A predicted clean picture f32\[B,…\], kept in range.
    pub fn apply(self, mut x0: Tensor) -> Tensor {
        match self {
            Self::None => {}
            Self::Clip(range) => x0.mapv_inplace(|x| x.clamp(-range, range)),
            Self::Threshold { ratio, most } => {
                for mut row in x0.axis_iter_mut(Axis(0)) {
                    let bound = magnitude(row.view(), ratio).min(most);
                    row.mapv_inplace(|x| x.clamp(-bound, bound) / bound);
                }
            }
            Self::FirstThreshold { ratio, most } => {
                x0.mapv_inplace(|x| x.clamp(-most, most));
                let bound = x0.axis_iter(Axis(0)).next().map_or(1.0, |first| magnitude(first, ratio));
                x0.mapv_inplace(|x| x.clamp(-bound, bound) / bound);
            }
        }
        x0
    }
}

/// The quantile and the most to divide by of a scheduler that thresholds; `most` where it says none.
fn thresholds(config: &SchedulerConfig, most: f64) -> Result<(f32, f32)> {
    let ratio = config.number("dynamic_thresholding_ratio", 0.995)?;
    let most = config.number("sample_max_value", most)?;
    if !(0.0..=1.0).contains(&ratio) || most < 1.0 {
        let message = format!("thresholding at the quantile {ratio} up to {most} has no meaning");
        return Err(Error::new(Kind::BadModel, message));
    }
    Ok((narrow(ratio), narrow(most)))
}

/// The quantile `ratio` of magnitudes, at least 1.
fn magnitude(picture: ArrayViewD<'_, f32>, ratio: f32) -> f32 {
    let mut sizes: Vec<f32> = picture.iter().map(|x| x.abs()).collect();
    quantile(&mut sizes, ratio).max(1.0)
}

/// Splits a network's output f32\[B,2C,…\] into prediction and variance, each f32\[B,C,…\].
///
/// # Errors
/// When it has not 2C channels.
pub fn split_variance(out: &Tensor, channels: usize) -> Result<(Tensor, Tensor)> {
    let found = out.shape().get(1).copied().unwrap_or(0);
    if found != 2 * channels {
        let message =
            format!("the network gave {found} channels where a learned variance needs {}", 2 * channels);
        return Err(Error::new(Kind::RuntimeFault, message));
    }
    Ok((slice(out, 1, 0, channels)?, slice(out, 1, channels, found)?))
}

/// `torch.quantile`, linear between neighbours, with its roundings.
fn quantile(numbers: &mut [f32], ratio: f32) -> f32 {
    numbers.sort_by(f32::total_cmp);
    let last = numbers.len().saturating_sub(1);
    let rank = ratio * narrow(count(last));
    let weight = rank - rank.floor();
    let below = usize::try_from(nearest(f64::from(rank.floor()))).unwrap_or(0);
    let at = |index: usize| numbers.get(index.min(last)).copied().unwrap_or(0.0);
    let (low, high) = (at(below), at(below + 1));
    if weight < 0.5 { low + weight * (high - low) } else { high - (high - low) * (1.0 - weight) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::tensor;

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&mut [3.0, 1.0, 2.0, 0.0, 4.0], 0.5), 2.0);
        assert!((quantile(&mut [0.0, 10.0], 0.995) - 9.95).abs() < 1e-5);
        assert_eq!(quantile(&mut [7.0], 0.9), 7.0);
    }

    #[test]
    fn thresholds_are_each_pictures_own() {
        let x0 = tensor(&[3, 2], vec![0.5, -0.25, 1.5, -1.5, 8.0, -8.0]).unwrap();
        let kept = Clipping::Threshold { ratio: 1.0, most: 2.0 }.apply(x0);
        assert_eq!(kept, tensor(&[3, 2], vec![0.5, -0.25, 1.0, -1.0, 1.0, -1.0]).unwrap());
    }

    #[test]
    fn the_first_pictures_threshold_holds_for_all() {
        let x0 = tensor(&[2, 2], vec![1.5, -1.5, 3.0, 0.3]).unwrap();
        let kept = Clipping::FirstThreshold { ratio: 1.0, most: 2.0 }.apply(x0);
        assert_eq!(kept, tensor(&[2, 2], vec![1.0, -1.0, 1.0, 0.3 / 1.5]).unwrap());
    }

    #[test]
    fn a_model_that_turns_thresholding_off_is_bounded_in_no_profile() {
        let config = |fields: serde_json::Value| {
            let mut all = serde_json::json!({"_class_name": "DDPMScheduler", "clip_sample": false});
            all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            SchedulerConfig::parse(&all).unwrap()
        };
        let off = config(serde_json::json!({"thresholding": false}));
        assert_eq!(
            (Clipping::of(&off, true).unwrap(), Clipping::of_original(&off).unwrap()),
            (Clipping::None, Clipping::None)
        );
        let silent = config(serde_json::json!({}));
        let first = Clipping::FirstThreshold { ratio: 0.995, most: 2.0 };
        assert_eq!(Clipping::of_original(&silent).unwrap(), first);
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let x0 = tensor(&[1, 2], vec![f32::NAN, 3.0]).unwrap();
        let kept = Clipping::Threshold { ratio: 0.995, most: 2.0 }.apply(x0);
        assert_eq!(kept.iter().map(|x| x.is_nan()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn the_three_predictions_mean_one_picture() {
        let (alpha_t, sigma_t) = (0.8_f32, 0.6_f32);
        let x = tensor(&[1, 1], vec![alpha_t * 2.0 + sigma_t * 0.5]).unwrap();
        let outs = [
            (Prediction::Epsilon, 0.5),
            (Prediction::Sample, 2.0),
            (Prediction::Velocity, 0.8 * 0.5 - 0.6 * 2.0),
        ];
        for (prediction, out) in outs {
            let out = tensor(&[1, 1], vec![out]).unwrap();
            assert!(
                (prediction.clean(&out, &x, alpha_t, sigma_t).sum() - 2.0).abs() < 1e-6,
                "{prediction:?}"
            );
            assert!(
                (prediction.noise(&out, &x, alpha_t, sigma_t).sum() - 0.5).abs() < 1e-6,
                "{prediction:?}"
            );
        }
    }

    #[test]
    fn a_missing_variance_is_named() {
        let out = tensor(&[1, 4], vec![0.0; 4]).unwrap();
        assert!(split_variance(&out, 4).unwrap_err().to_string().contains("4 channels"));
    }
}
