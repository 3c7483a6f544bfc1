//! The linear prior (paper, Table 3: the best FID of all priors): ridge regression in closed form.

use super::matrix::{product, solve, transposed_product};
use super::{Normalised, Tell};
use crate::error::{Error, Kind, Result};
use crate::math::{count, narrow};
use ndarray::{Array1, Array2, Axis};

/// Penalties that are tried, a pair; embeddings have a deviation of 1, so they are parts of that.
const LAMBDAS: [f64; 10] = [1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0];

/// y = x · weight + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// f32\[in,out\].
    pub weight: Array2<f32>,
    /// f32\[out\].
    pub bias: Array1<f32>,
}

impl Affine {
    /// f32\[B,in\] → f32\[B,out\].
    pub fn map(&self, x: &Array2<f32>) -> Array2<f32> {
        product(x, &self.weight) + &self.bias
    }
}

/// The map of the penalty that errs least on the held-out pairs, and that penalty.
///
/// # Errors
/// When the normal equations have no solution or the caller cancels.
pub fn fit(train: &Normalised, held_out: &Normalised, tell: Tell<'_>) -> Result<(Affine, f64)> {
    let equations = Equations::new(train);
    let mut best: Option<(f64, Affine, f64)> = None;
    for (done, lambda) in LAMBDAS.into_iter().enumerate() {
        let map = equations.solved(lambda)?;
        let error = held_out.error(&map.map(&held_out.text));
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, map, lambda));
        }
        tell(done + 1, LAMBDAS.len())?;
    }
    let (_, map, lambda) = best.ok_or_else(unsolved)?;
    Ok((map, lambda))
}

/// The normal equations of centred pairs, in f64.
struct Equations {
    text_mean: Array1<f64>,
    image_mean: Array1<f64>,
    gram: Array2<f64>,  // (D, D) of texts
    cross: Array2<f64>, // (D, D) of texts and images
    pairs: f64,
}

impl Equations {
    fn new(train: &Normalised) -> Self {
        let centred = |x: &Array2<f32>| {
            let x = x.mapv(f64::from);
            let mean = x.sum_axis(Axis(0)) / count(x.nrows());
            (x - &mean, mean)
        };
        let ((text, text_mean), (image, image_mean)) = (centred(&train.text), centred(&train.image));
        let (gram, cross) = (transposed_product(&text, &text), transposed_product(&text, &image));
        Self { text_mean, image_mean, gram, cross, pairs: count(text.nrows()) }
    }

    fn solved(&self, lambda: f64) -> Result<Affine> {
        let mut penalised = self.gram.clone();
        penalised.diag_mut().mapv_inplace(|x| x + lambda * self.pairs);
        let weight = solve(penalised, self.cross.clone()).ok_or_else(unsolved)?;
        let shift = product(&self.text_mean.clone().insert_axis(Axis(0)), &weight);
        let bias = &self.image_mean - &shift.index_axis(Axis(0), 0);
        Ok(Affine { weight: weight.mapv(narrow), bias: bias.mapv(narrow) })
    }
}

fn unsolved() -> Error {
    Error::new(Kind::Internal, "the normal equations of the linear prior have no solution")
}
