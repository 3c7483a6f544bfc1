//! The linear map from latents to colours, for cheap previews.
//!
//! Pictures of random coloured patches are encoded and decoded, and the colours that come out, averaged over
//! a latent's pixels, are fitted to the latents by least squares.

use crate::component::{Networks, movq};
use crate::error::Result;
use crate::math::{count, narrow};
use crate::rng::TorchCpu;
use crate::tensor::{Tensor, tensor};
use kandinsky_models::manifest::Latent;
use ndarray::{Axis, Ix3};

/// Pictures of each kind of patch.
const PICTURES: usize = 4;
/// Sides of patches in latents: small shapes and larger ones.
const PATCHES: [usize; 2] = [2, 4];
/// Side of a picture in latents.
const SIDE: usize = 16;
/// Colours of a pixel.
const COLOURS: usize = 3;

/// The map f32\[C+1,3\]: a row for each channel of a latent and one for 1; colours are in \[-1,1\].
///
/// # Errors
/// When a network fails.
pub(super) fn map(networks: &mut Networks) -> Result<Tensor> {
    let Latent { channels, factor, .. } = networks.folder().manifest().latent;
    let mut random = TorchCpu::new(0);
    let sides = PATCHES.iter().flat_map(|patch| std::iter::repeat_n(*patch, PICTURES));
    let pictures = sides.map(|patch| patches(&mut random, patch, factor));
    let pictures = pictures.collect::<Result<Vec<_>>>()?;
    let latents = pictures.into_iter().map(|pixels| movq::encode(networks, &pixels));
    let latents = latents.collect::<Result<Vec<_>>>()?;
    networks.close();
    let mut equations = Equations::new(channels + 1, COLOURS);
    for latents in latents {
        let pixels = movq::decode(networks, &latents)?;
        let inputs = points(&latents, 1);
        let colours = points(&pixels, factor);
        for (mut input, colour) in inputs.into_iter().zip(colours) {
            input.push(1.0);
            equations.add(&input, &colour);
        }
    }
    networks.close();
    let solution = equations.solve().concat();
    tensor(&[channels + 1, COLOURS], solution.into_iter().map(narrow).collect())
}

/// Pixels f32\[1,3,f·S,f·S\] of squares, `patch` latents a side, of one random colour each.
fn patches(random: &mut TorchCpu, patch: usize, factor: usize) -> Result<Tensor> {
    let (squares, pixels) = (SIDE / patch, patch * factor);
    let mut all = Vec::new();
    for _ in 0..COLOURS * squares {
        let colours: Vec<f32> = (0..squares).map(|_| 2.0 * random.uniform() - 1.0).collect();
        let row: Vec<f32> = colours.iter().flat_map(|x| std::iter::repeat_n(*x, pixels)).collect();
        std::iter::repeat_n(row, pixels).for_each(|row| all.extend(row));
    }
    tensor(&[1, COLOURS, SIDE * factor, SIDE * factor], all)
}

/// The numbers of each point of f32\[1,C,f·h,f·w\], averaged over squares of `factor`, row by row.
fn points(planes: &Tensor, factor: usize) -> Vec<Vec<f64>> {
    let planes = planes.index_axis(Axis(0), 0);
    let Ok(planes) = planes.into_dimensionality::<Ix3>() else { return Vec::new() };
    let factor = factor.max(1);
    let squares = planes.exact_chunks((planes.dim().0, factor, factor));
    let mean = |plane: ndarray::ArrayView2<'_, f32>| {
        plane.iter().map(|x| f64::from(*x)).sum::<f64>() / count(factor * factor)
    };
    squares.into_iter().map(|square| square.outer_iter().map(mean).collect()).collect()
}

/// The normal equations of least squares: a row a coefficient, the right sides at its end.
struct Equations {
    rows: Vec<Vec<f64>>,
}

impl Equations {
    fn new(coefficients: usize, targets: usize) -> Self {
        Self { rows: vec![vec![0.0; coefficients + targets]; coefficients] }
    }

    fn add(&mut self, inputs: &[f64], targets: &[f64]) {
        for (row, input) in self.rows.iter_mut().zip(inputs) {
            row.iter_mut().zip(inputs.iter().chain(targets)).for_each(|(slot, x)| *slot += input * x);
        }
    }

    /// The coefficients, a row each, by Gauss and Jordan's elimination; 0 for one that nothing determines.
    fn solve(self) -> Vec<Vec<f64>> {
        let coefficients = self.rows.len();
        let at = |row: &[f64], column: usize| row.get(column).copied().unwrap_or(0.0);
        let largest = (0..coefficients).zip(&self.rows).map(|(i, row)| at(row, i)).fold(0.0, f64::max);
        let (mut rest, mut solved) = (self.rows, Vec::<(usize, Vec<f64>)>::new());
        for column in 0..coefficients {
            let sizes = rest.iter().map(|row| at(row, column).abs()).enumerate();
            let Some((pivot, size)) = sizes.max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            if size <= largest * f64::EPSILON * 16.0 {
                continue;
            }
            let mut row = rest.swap_remove(pivot);
            let scale = at(&row, column);
            row.iter_mut().for_each(|x| *x /= scale);
            for other in rest.iter_mut().chain(solved.iter_mut().map(|(_, row)| row)) {
                let times = at(other, column);
                other.iter_mut().zip(&row).for_each(|(x, pivot)| *x -= times * pivot);
            }
            solved.push((column, row));
        }
        let right = |column: usize| {
            let row = solved.iter().find(|(solved, _)| *solved == column);
            row.map(|(_, row)| row.iter().skip(coefficients).copied().collect())
        };
        let width = solved.first().map_or(0, |(_, row)| row.len() - coefficients);
        (0..coefficients).map(|column| right(column).unwrap_or_else(|| vec![0.0; width])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(points: &[([f64; 3], f64)]) -> Vec<f64> {
        let mut equations = Equations::new(3, 1);
        points.iter().for_each(|(inputs, target)| equations.add(inputs, &[*target]));
        equations.solve().concat()
    }

    #[test]
    fn a_plane_is_found_again() {
        let plane = |x: f64, y: f64| ([x, y, 1.0], 2.0 * x - 0.5 * y + 3.0);
        let points = [plane(0.0, 0.0), plane(1.0, 2.0), plane(-3.0, 1.0), plane(5.0, 5.0)];
        for (found, expected) in fitted(&points).iter().zip([2.0, -0.5, 3.0]) {
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn the_error_is_the_least() {
        // Two values at one place: their mean is nearest to both.
        let points = [([1.0, 0.0, 0.0], 1.0), ([1.0, 0.0, 0.0], 3.0)];
        assert_eq!(fitted(&points), [2.0, 0.0, 0.0]);
    }

    #[test]
    fn what_nothing_determines_is_0() {
        let points = [([0.0, 1.0, 1.0], 5.0), ([0.0, 2.0, 1.0], 7.0)];
        let found = fitted(&points);
        assert!(found[0] == 0.0 && (found[1] - 2.0).abs() < 1e-12 && (found[2] - 3.0).abs() < 1e-12);
        assert!(fitted(&[]).is_empty());
    }

    #[test]
    fn points_are_means_of_squares() {
        let planes = tensor(&[1, 2, 2, 4], (0_u8..16).map(f32::from).collect()).unwrap();
        assert_eq!(points(&planes, 2), [[2.5, 10.5], [4.5, 12.5]]);
        assert_eq!(points(&planes, 1).len(), 8);
    }
}
