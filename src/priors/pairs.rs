//! Pairs of text and image embeddings: their scale, and how far a prior is from them.

use crate::error::{Error, Kind, Result};
use crate::math::{count, narrow};
use crate::tensor::Tensor;
use ndarray::{Array1, Array2, Axis, Ix2};
use serde::{Deserialize, Serialize};

/// Embeddings of captions f32\[N,D\] and of their pictures f32\[N,D\], a row a pair.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// Pooled CLIP text embeddings.
    pub text: Tensor,
    /// CLIP image embeddings.
    pub image: Tensor,
}

/// Errors on pairs that the fit has not seen (but that chose its penalty or when it ended), beside those of
/// answering with the mean embedding of the training pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// How many pairs were held out.
    pub pairs: usize,
    /// Mean squared error of normalised image embeddings.
    pub error: f64,
    /// Mean cosine between embeddings and answers.
    pub cosine: f64,
    /// `error` of the mean embedding.
    pub mean_error: f64,
    /// `cosine` of the mean embedding.
    pub mean_cosine: f64,
}

/// Element-wise normalisation by the training set's statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// f32\[D\].
    pub mean: Array1<f32>,
    /// f32\[D\], above 0.
    pub std: Array1<f32>,
}

/// Pairs after normalisation.
pub struct Normalised {
    /// f32\[N,D\].
    pub text: Array2<f32>,
    /// f32\[N,D\].
    pub image: Array2<f32>,
}

impl Pairs {
    /// Both as matrices.
    ///
    /// # Errors
    /// When their shapes differ, there are none, or a number is not finite.
    pub fn matrices(&self) -> Result<(Array2<f32>, Array2<f32>)> {
        let (text, image) = (matrix(&self.text)?, matrix(&self.image)?);
        if text.dim() != image.dim() || text.is_empty() {
            let (text, image) = (self.text.shape(), self.image.shape());
            let message = format!("texts of shape {text:?} and pictures of shape {image:?} are no pairs");
            return Err(Error::new(Kind::Internal, message));
        }
        if text.iter().chain(&image).any(|x| !x.is_finite()) {
            return Err(Error::new(Kind::RuntimeFault, "an embedding holds a number that is not finite"));
        }
        Ok((text, image))
    }
}

/// A tensor f32\[N,D\] as a matrix.
pub fn matrix(tensor: &Tensor) -> Result<Array2<f32>> {
    let wrong = |_| {
        let message = format!("a tensor of shape {:?} holds no rows of embeddings", tensor.shape());
        Error::new(Kind::Internal, message)
    };
    let view = tensor.view().into_dimensionality::<Ix2>().map_err(wrong)?;
    Ok(view.as_standard_layout().into_owned())
}

impl Scale {
    /// Mean and deviation of columns; a column that never changes has the deviation 1.
    pub fn of(x: &Array2<f32>) -> Self {
        let numbers = x.mapv(f64::from);
        let mean = numbers.sum_axis(Axis(0)) / count(x.nrows());
        let variance = (&numbers - &mean).mapv(|d| d * d).sum_axis(Axis(0)) / count(x.nrows());
        let deviation = |variance: f64| {
            let std = narrow(variance.sqrt());
            if std > f32::MIN_POSITIVE { std } else { 1.0 }
        };
        Self { mean: mean.mapv(narrow), std: variance.mapv(deviation) }
    }

    /// (x - mean) / std.
    pub fn normalised(&self, x: &Array2<f32>) -> Array2<f32> {
        (x - &self.mean) / &self.std
    }

    /// x · std + mean.
    pub fn restored(&self, x: &Array2<f32>) -> Array2<f32> {
        x * &self.std + &self.mean
    }
}

impl Normalised {
    /// Mean squared error of answers f32\[N,D\].
    pub fn error(&self, answers: &Array2<f32>) -> f64 {
        let squares = answers.iter().zip(&self.image).map(|(a, b)| square(f64::from(*a) - f64::from(*b)));
        squares.sum::<f64>() / count(self.image.len())
    }

    /// The pairs of these rows; rows beyond the last are left out.
    pub fn rows(&self, rows: &[usize]) -> Self {
        let pick = |x: &Array2<f32>| {
            let found = rows.iter().filter(|row| **row < x.nrows());
            let numbers: Vec<f32> = found.clone().flat_map(|row| x.row(*row).to_vec()).collect();
            Array2::from_shape_vec((found.count(), x.ncols()), numbers).unwrap_or_default()
        };
        Self { text: pick(&self.text), image: pick(&self.image) }
    }
}

/// x · x; `powi` promises no particular bits.
pub fn square(x: f64) -> f64 {
    x * x
}

/// Mean cosine between rows.
pub fn cosine(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    let one = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
        let dot = |a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>| {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    };
    let sum: f64 = a.rows().into_iter().zip(b.rows()).map(|(a, b)| one(a, b)).sum();
    sum / count(a.nrows().max(1))
}
