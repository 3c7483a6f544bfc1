//! The residual prior (paper, Table 3: "ResNet prior"): 18 residual blocks, each LayerNorm → Linear → SiLU →
//! Linear, then one Linear. The paper names the number of blocks and the squared error; widths and training
//! are ours.
//!
//! The last Linear begins at zero, so that an untrained prior answers with the mean embedding.

use super::linear::Affine;
use super::matrix::{product_transposed, transposed_product};
use super::pairs::square;
use super::{Normalised, Tell};
use crate::error::Result;
use crate::math::{count, exp, narrow};
use crate::rng::{Normals, TorchCpu};
use ndarray::{Array1, Array2, ArrayViewMutD, Axis, Zip};

/// Residual blocks.
pub const BLOCKS: usize = 18;
/// Added to a variance before its root is taken.
const EPSILON: f64 = 1e-5;

/// Pairs of a step of training.
const BATCH: usize = 64;
/// Least steps between two looks at the held-out pairs; larger sets are looked at once a pass.
const ROUND_STEPS: usize = 16;
/// Most rounds.
const ROUNDS: usize = 200;
/// Rounds without a better held-out error after which training ends.
const PATIENCE: usize = 15;
/// Adam's step length.
const RATE: f32 = 1e-3;
/// Adam's decays of the first and second moment.
const DECAYS: (f32, f32) = (0.9, 0.999);
/// Part of a weight that a step takes away, in step lengths.
const WEIGHT_DECAY: f32 = 0.1;

/// Width of the blocks' hidden layer for embeddings of `width`: a quarter. Of the emoji model's pictures, twice
/// that took twice the time for a held-out error of 0.210 instead of 0.212.
pub const fn hidden_width(width: usize) -> usize {
    let quarter = width / 4;
    if quarter > 4 { quarter } else { 4 }
}

/// The network; its gradient has the same form.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    /// The blocks, first to last.
    pub blocks: Vec<Block>,
    /// From the last block to the normalised image embedding, f32\[D,D\].
    pub out: Affine,
}

/// x + down(silu(up(norm(x)))).
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// LayerNorm's scale f32\[D\].
    pub scale: Array1<f32>,
    /// LayerNorm's shift f32\[D\].
    pub shift: Array1<f32>,
    /// f32\[D,H\].
    pub up: Affine,
    /// f32\[H,D\].
    pub down: Affine,
}

/// The network that erred least on the held-out pairs while it was trained on the others.
///
/// # Errors
/// When the caller cancels.
pub fn fit(train: &Normalised, held_out: &Normalised, seed: u64, tell: Tell<'_>) -> Result<Residual> {
    let mut random = TorchCpu::new(seed);
    let mut network = Residual::new(train.text.ncols(), &mut random)?;
    let mut best = (held_out.error(&network.map(&held_out.text)), 0, network.clone());
    let mut adam = Adam::new(&mut network);
    let mut batches = Batches::new(train.text.nrows());
    let steps = ROUND_STEPS.max(train.text.nrows().div_ceil(BATCH));
    for round in 1..=ROUNDS {
        for step in 1..=steps {
            let batch = train.rows(&batches.next(&mut random));
            let (_, mut gradient) = network.gradient(&batch);
            adam.step(&mut network, &mut gradient);
            tell((round - 1) * steps + step, ROUNDS * steps)?;
        }
        let error = held_out.error(&network.map(&held_out.text));
        if error < best.0 {
            best = (error, round, network.clone());
        }
        if round - best.1 >= PATIENCE {
            break;
        }
    }
    tell(ROUNDS * steps, ROUNDS * steps)?;
    Ok(best.2)
}

impl Residual {
    /// A network for embeddings of `width`: weights from a normal distribution, every block's last layer
    /// scaled down by the root of twice their number, so that their sum keeps its size.
    fn new(width: usize, random: &mut TorchCpu) -> Result<Self> {
        let hidden = hidden_width(width);
        let up = (1.0 / count(width)).sqrt();
        let down = (1.0 / (count(hidden) * count(2 * BLOCKS))).sqrt();
        let mut blocks = Vec::with_capacity(BLOCKS);
        for _ in 0..BLOCKS {
            blocks.push(Block {
                scale: Array1::ones(width),
                shift: Array1::zeros(width),
                up: random_affine(width, hidden, narrow(up), random)?,
                down: random_affine(hidden, width, narrow(down), random)?,
            });
        }
        Ok(Self { blocks, out: zero_affine(width, width) })
    }

    /// f32\[B,D\] → f32\[B,D\].
    pub fn map(&self, x: &Array2<f32>) -> Array2<f32> {
        let last = self.blocks.iter().fold(x.clone(), |x, block| block.forward(&x).0);
        self.out.map(&last)
    }

    /// The mean squared error of a batch, and its gradient.
    fn gradient(&self, batch: &Normalised) -> (f64, Self) {
        let mut x = batch.text.clone();
        let mut traces = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (y, trace) = block.forward(&x);
            traces.push(trace);
            x = y;
        }
        let difference = self.out.map(&x) - &batch.image;
        let numbers = count(difference.len());
        let error = difference.iter().map(|d| square(f64::from(*d))).sum::<f64>() / numbers;
        let (out, mut dx) = affine_gradient(&self.out, &x, &(difference * narrow(2.0 / numbers)));
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (block, trace) in self.blocks.iter().zip(traces).rev() {
            let (gradient, below) = block.backward(&trace, &dx);
            blocks.push(gradient);
            dx = below;
        }
        blocks.reverse();
        (error, Self { blocks, out })
    }

    /// Every number of the network, in one order.
    fn arrays(&mut self) -> Vec<ArrayViewMutD<'_, f32>> {
        let mut arrays = Vec::new();
        for Block { scale, shift, up, down } in &mut self.blocks {
            arrays.extend([scale.view_mut().into_dyn(), shift.view_mut().into_dyn()]);
            arrays.extend([up.weight.view_mut().into_dyn(), up.bias.view_mut().into_dyn()]);
            arrays.extend([down.weight.view_mut().into_dyn(), down.bias.view_mut().into_dyn()]);
        }
        arrays.extend([self.out.weight.view_mut().into_dyn(), self.out.bias.view_mut().into_dyn()]);
        arrays
    }
}

/// What a block's backward pass needs of its forward pass.
struct Trace {
    normed: Array2<f32>,    // (B, D) before scale and shift
    deviation: Array1<f32>, // (B) of a row
    scaled: Array2<f32>,    // (B, D) after them
    raised: Array2<f32>,    // (B, H) before SiLU
    sigmoid: Array2<f32>,   // (B, H) of that
    active: Array2<f32>,    // (B, H) after SiLU
}

impl Block {
    fn forward(&self, x: &Array2<f32>) -> (Array2<f32>, Trace) {
        let (normed, deviation) = layer_norm(x);
        let scaled = &normed * &self.scale + &self.shift;
        let raised = self.up.map(&scaled);
        let sigmoid = raised.mapv(|u| narrow(1.0 / (1.0 + exp(-f64::from(u)))));
        let active = &raised * &sigmoid;
        let y = x + &self.down.map(&active);
        (y, Trace { normed, deviation, scaled, raised, sigmoid, active })
    }

    /// The gradient of the block's numbers and of its input, from that of its output.
    fn backward(&self, trace: &Trace, dy: &Array2<f32>) -> (Self, Array2<f32>) {
        let (down, mut d_raised) = affine_gradient(&self.down, &trace.active, dy);
        // silu'(u) = s + u·s·(1 - s)
        Zip::from(&mut d_raised).and(&trace.raised).and(&trace.sigmoid).for_each(|d, u, s| {
            *d *= s + u * s * (1.0 - s);
        });
        let (up, d_scaled) = affine_gradient(&self.up, &trace.scaled, &d_raised);
        let scale = (&d_scaled * &trace.normed).sum_axis(Axis(0));
        let shift = d_scaled.sum_axis(Axis(0));
        let d_normed = d_scaled * &self.scale;
        let dx = dy + &layer_norm_gradient(trace, d_normed);
        (Self { scale, shift, up, down }, dx)
    }
}

/// Rows with mean 0 and variance 1, and the deviations that they had.
fn layer_norm(x: &Array2<f32>) -> (Array2<f32>, Array1<f32>) {
    let numbers = count(x.ncols());
    let mut normed = x.clone();
    let deviations = normed.rows_mut().into_iter().map(|mut row| {
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / numbers;
        let variance = row.iter().map(|x| square(f64::from(*x) - mean)).sum::<f64>() / numbers;
        let deviation = (variance + EPSILON).sqrt();
        row.mapv_inplace(|x| narrow((f64::from(x) - mean) / deviation));
        narrow(deviation)
    });
    let deviations = deviations.collect();
    (normed, deviations)
}

/// (d - mean(d) - n·mean(d·n)) / deviation, row by row.
fn layer_norm_gradient(trace: &Trace, mut d: Array2<f32>) -> Array2<f32> {
    let numbers = count(d.ncols());
    for ((mut d, n), deviation) in d.rows_mut().into_iter().zip(trace.normed.rows()).zip(&trace.deviation) {
        let mean = narrow(d.iter().map(|d| f64::from(*d)).sum::<f64>() / numbers);
        let along = d.iter().zip(&n).map(|(d, n)| f64::from(*d) * f64::from(*n)).sum::<f64>();
        let along = narrow(along / numbers);
        Zip::from(&mut d).and(&n).for_each(|d, n| *d = (*d - mean - n * along) / deviation);
    }
    d
}

/// The gradient of a Linear's numbers and of its input, from its input and the gradient of its output.
fn affine_gradient(affine: &Affine, x: &Array2<f32>, dy: &Array2<f32>) -> (Affine, Array2<f32>) {
    let gradient = Affine { weight: transposed_product(x, dy), bias: dy.sum_axis(Axis(0)) };
    (gradient, product_transposed(dy, &affine.weight))
}

fn random_affine(rows: usize, columns: usize, deviation: f32, random: &mut TorchCpu) -> Result<Affine> {
    let mut affine = zero_affine(rows, columns);
    let drawn = random.normal(&[rows, columns])?;
    affine.weight.iter_mut().zip(&drawn).for_each(|(weight, drawn)| *weight = drawn * deviation);
    Ok(affine)
}

fn zero_affine(rows: usize, columns: usize) -> Affine {
    Affine { weight: Array2::zeros((rows, columns)), bias: Array1::zeros(columns) }
}

/// Adam with decoupled weight decay (AdamW); matrices decay, vectors do not.
struct Adam {
    moments: Vec<(ndarray::ArrayD<f32>, ndarray::ArrayD<f32>)>,
    powers: (f32, f32),
}

impl Adam {
    fn new(network: &mut Residual) -> Self {
        let zeros = |array: &ArrayViewMutD<'_, f32>| ndarray::ArrayD::zeros(array.raw_dim());
        let arrays = network.arrays();
        let moments = arrays.iter().map(|array| (zeros(array), zeros(array))).collect();
        Self { moments, powers: (1.0, 1.0) }
    }

    fn step(&mut self, network: &mut Residual, gradient: &mut Residual) {
        let (first, second) = DECAYS;
        self.powers = (self.powers.0 * first, self.powers.1 * second);
        let corrections = (1.0 - self.powers.0, 1.0 - self.powers.1);
        let arrays = network.arrays().into_iter().zip(gradient.arrays());
        for ((mut weights, gradient), (mean, square)) in arrays.zip(&mut self.moments) {
            let keep = if weights.ndim() > 1 { 1.0 - RATE * WEIGHT_DECAY } else { 1.0 };
            Zip::from(&mut weights).and(&gradient).and(mean).and(square).for_each(|w, g, m, v| {
                *m = first * *m + (1.0 - first) * g;
                *v = second * *v + (1.0 - second) * g * g;
                *w = *w * keep - RATE * (*m / corrections.0) / ((*v / corrections.1).sqrt() + 1e-8);
            });
        }
    }
}

/// Rows of batches: every pass goes through all pairs in a new order.
struct Batches {
    order: Vec<usize>,
    next: usize,
}

impl Batches {
    fn new(pairs: usize) -> Self {
        Self { order: (0..pairs).collect(), next: pairs }
    }

    fn next(&mut self, random: &mut TorchCpu) -> Vec<usize> {
        if self.next >= self.order.len() {
            super::shuffle(&mut self.order, random);
            self.next = 0;
        }
        let batch = self.order.iter().skip(self.next).take(BATCH).copied().collect();
        self.next += BATCH;
        batch
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const WIDTH: usize = 12;

    fn drawn(rows: usize, random: &mut TorchCpu) -> Array2<f32> {
        random.normal(&[rows, WIDTH]).unwrap().into_dimensionality().unwrap()
    }

    /// A network with no zeros in it, and a batch.
    fn example() -> (Residual, Normalised) {
        let mut random = TorchCpu::new(3);
        let mut network = Residual::new(WIDTH, &mut random).unwrap();
        for mut array in network.arrays() {
            let noise = random.normal(array.shape()).unwrap();
            array.zip_mut_with(&noise, |x, noise| *x += 0.2 * noise);
        }
        let batch = Normalised { text: drawn(5, &mut random), image: drawn(5, &mut random) };
        (network, batch)
    }

    /// Every array's gradient against central differences along a random direction and along itself.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (network, batch) = example();
        let (error, mut gradient) = network.gradient(&batch);
        assert!((error - batch.error(&network.map(&batch.text))).abs() < 1e-6);
        let mut random = TorchCpu::new(4);
        let count = gradient.arrays().len();
        assert_eq!(count, 6 * BLOCKS + 2);
        for index in 0..count {
            let own = gradient.arrays().remove(index).to_owned();
            let other = random.normal(own.shape()).unwrap();
            for direction in [&own, &other] {
                let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
                let expected = f64::from((&own * direction).sum() / length);
                let moved = |by: f32| {
                    let mut moved = network.clone();
                    moved.arrays().remove(index).scaled_add(by / length, direction);
                    batch.error(&moved.map(&batch.text))
                };
                let step = 5e-3;
                let found = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let scale = f64::from((&own * &own).sum().sqrt());
                assert!(
                    (found - expected).abs() < 5e-3 * scale,
                    "array {index}: {found} is not {expected} (of {scale})"
                );
            }
        }
    }

    #[test]
    fn a_new_network_answers_with_the_mean() {
        let mut random = TorchCpu::new(3);
        let network = Residual::new(WIDTH, &mut random).unwrap();
        assert!(network.map(&drawn(4, &mut random)).iter().all(|x| *x == 0.0));
    }

    #[test]
    fn a_pass_sees_every_pair_once() {
        let mut batches = Batches::new(150);
        let mut random = TorchCpu::new(0);
        for _ in 0..2 {
            let mut seen: Vec<usize> = (0..3).flat_map(|_| batches.next(&mut random)).collect();
            assert_ne!(seen, (0..150).collect::<Vec<_>>());
            seen.sort_unstable();
            assert_eq!(seen, (0..150).collect::<Vec<_>>());
        }
    }
}
