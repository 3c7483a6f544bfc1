//! Weights that are computed from the checkpoint's when they are written, in f64.
//!
//! They stay f32 in f16 folders: rounded after the folding they would differ from what the checkpoint says.

use super::{Content, Scope, Value};
use crate::Result;
use crate::number::narrow;
use crate::weights::Weights;

/// A small matrix, row by row.
pub type Map = Vec<Vec<f64>>;

/// How a weight is computed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fold {
    /// A kernel's k x k pixels w as A·w·Bᵀ for every pair (A, B), one pair's kernels after the other's.
    Kernel { name: String, side: usize, pairs: Vec<[Map; 2]> },
    /// A matrix (out, in), its inputs times `gain` and all times `scale`: (in, out).
    Matrix { name: String, columns: usize, gain: Option<String>, scale: f64 },
    /// What is added behind that matrix (out): scale·(bias + matrix·shift).
    Bias { name: String, matrix: String, shift: Option<String>, scale: f64 },
    /// Rows of scales and of shifts, for every block those of its norm joined in.
    Film { blocks: Vec<FilmBlock>, bias: bool },
}

/// The tensors that make a residual block's FiLM.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FilmBlock {
    /// Its projection's weight (2·C, E) or bias (2·C).
    pub rows: String,
    /// Its norm's gain and shift (C).
    pub norm: [String; 2],
}

impl Fold {
    /// Gives `sink` the elements, piece after piece.
    pub(super) fn stream(
        &self,
        weights: &dyn Weights,
        sink: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Kernel { name, side, pairs } => {
                pairs.iter().try_for_each(|pair| mapped(weights, name, *side, pair, sink))
            }
            Self::Matrix { name, columns, gain, scale } => {
                let matrix = whole(weights, name)?;
                let gain = gain.as_ref().map(|gain| whole(weights, gain)).transpose()?;
                scaled(&matrix, *columns, gain.as_deref(), *scale, sink)
            }
            Self::Bias { name, matrix, shift, scale } => {
                let bias = whole(weights, name)?;
                let Some(shift) = shift else {
                    return sink(&bias.iter().map(|b| narrow(f64::from(*b) * scale)).collect::<Vec<_>>());
                };
                let (matrix, shift) = (whole(weights, matrix)?, whole(weights, shift)?);
                let rows = matrix.chunks_exact(shift.len().max(1));
                let sums =
                    bias.iter().zip(rows).map(|(b, row)| narrow((f64::from(*b) + dot(row, &shift)) * scale));
                sink(&sums.collect::<Vec<_>>())
            }
            Self::Film { blocks, bias } => {
                let plus = if *bias { 1.0 } else { 0.0 };
                blocks.iter().try_for_each(|block| film(weights, block, plus, sink))
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// A tensor in memory, which the sums of a matrix and the exchange of its sides need.
fn whole(weights: &dyn Weights, name: &str) -> Result<Vec<f32>> {
    let mut all = Vec::with_capacity(weights.shape(name).map_or(0, |shape| shape.iter().product()));
    weights.stream(name, &mut |piece| {
        all.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(all)
}

/// Every kernel w of `side` x `side` pixels as A·w·Bᵀ, as they come.
fn mapped(
    weights: &dyn Weights,
    name: &str,
    side: usize,
    [a, b]: &[Map; 2],
    sink: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let (area, mut waiting) = ((side * side).max(1), Vec::new());
    weights.stream(name, &mut |piece| {
        waiting.extend_from_slice(piece);
        let ready = waiting.len() - waiting.len() % area;
        let kernels = waiting.get(..ready).unwrap_or_default().chunks_exact(area);
        let out: Vec<f32> = kernels.flat_map(|kernel| products(kernel, side, a, b)).collect();
        waiting.drain(..ready);
        sink(&out)
    })
}

fn products<'k>(kernel: &'k [f32], side: usize, a: &'k Map, b: &'k Map) -> impl Iterator<Item = f32> + 'k {
    a.iter().flat_map(move |row| b.iter().map(move |column| narrow(bilinear(kernel, side, row, column))))
}

fn bilinear(kernel: &[f32], side: usize, row: &[f64], column: &[f64]) -> f64 {
    let line = |line: &[f32]| line.iter().zip(column).map(|(w, c)| f64::from(*w) * c).sum::<f64>();
    kernel.chunks_exact(side).zip(row).map(|(pixels, r)| line(pixels) * r).sum()
}

/// A matrix with rows and columns exchanged, a band of its columns at a time.
fn scaled(
    matrix: &[f32],
    columns: usize,
    gain: Option<&[f32]>,
    scale: f64,
    sink: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    for column in 0..columns {
        let gain = gain.and_then(|gain| gain.get(column)).map_or(1.0, |gain| f64::from(*gain));
        let elements = matrix.iter().skip(column).step_by(columns);
        sink(&elements.map(|x| narrow(f64::from(*x) * gain * scale)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// norm·(1 + scale) + shift of the norm x·g + b is x·(g + g·scale) + (b + b·scale + shift): rows of both
/// factors. `plus` is the 1, which a bias takes in.
fn film(
    weights: &dyn Weights,
    block: &FilmBlock,
    plus: f64,
    sink: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let rows = whole(weights, &block.rows)?;
    let [gain, shift] = [whole(weights, &block.norm[0])?, whole(weights, &block.norm[1])?];
    let width = rows.len() / (2 * gain.len()).max(1);
    let (scales, shifts) = rows.split_at(rows.len() / 2);
    for (row, gain) in scales.chunks_exact(width).zip(&gain) {
        sink(&row.iter().map(|s| narrow(f64::from(*gain) * (plus + f64::from(*s)))).collect::<Vec<_>>())?;
    }
    let both = scales.chunks_exact(width).zip(shifts.chunks_exact(width)).zip(&shift);
    for ((scales, shifts), shift) in both {
        let joined =
            |(s, t): (&f32, &f32)| narrow(f64::from(*shift) * (plus + f64::from(*s)) + f64::from(*t));
        sink(&scales.iter().zip(shifts).map(joined).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What is folded into a linear map: the norm whose gain and shift are skipped before it, and a scale.
#[derive(Debug, Clone, Copy)]
pub struct Folded<'a> {
    /// Place of the norm, from the place of the map's parent.
    pub norm: Option<&'a str>,
    /// What all outputs are multiplied by.
    pub scale: f64,
}

impl Scope<'_> {
    /// The kernel `weight` (out, in, 3, 3) through every pair of `pairs`, under one another.
    ///
    /// # Errors
    /// When the tensor is missing or has another shape, or there are no pairs.
    pub fn kernels(&self, label: &str, [out, channels]: [usize; 2], pairs: Vec<[Map; 2]>) -> Result<Value> {
        let full = self.ask("weight", &[out, channels, 3, 3])?;
        let [a, b] = pairs.first().ok_or_else(|| self.wrong("a kernel through nothing"))?;
        let sides = [pairs.len() * out, channels, a.len(), b.len()];
        let name = format!("{full}.{label}");
        self.initializer(&name, &sides, Content::Fold(Fold::Kernel { name: full, side: 3, pairs }))
    }

    /// Weight (in, out) and bias (out) of the linear map `part` below this place, with something folded in.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn folded(&self, part: &str, [out, columns]: [usize; 2], folded: Folded<'_>) -> Result<[Value; 2]> {
        let w = self.at(part);
        let (matrix, bias) = (w.ask("weight", &[out, columns])?, w.ask("bias", &[out])?);
        let norm = |name: &str| folded.norm.map(|norm| self.at(norm).ask(name, &[columns])).transpose();
        let (gain, shift, scale) = (norm("weight")?, norm("bias")?, folded.scale);
        let weight = Fold::Matrix { name: matrix.clone(), columns, gain, scale };
        let weight = w.initializer(&format!("{matrix}.folded"), &[columns, out], Content::Fold(weight))?;
        let sum = Fold::Bias { name: bias.clone(), matrix, shift, scale };
        Ok([weight, w.initializer(&format!("{bias}.folded"), &[out], Content::Fold(sum))?])
    }

    /// Weight (Σ2·C, E) and bias (Σ2·C) of the FiLM of residual blocks, each a place and its channels C, with
    /// the norms before it joined in.
    ///
    /// # Errors
    /// As [`Scope::folded`].
    pub fn folded_film(&self, blocks: &[(String, usize)], embedding: usize) -> Result<[Value; 2]> {
        let total = 2 * blocks.iter().map(|(_, channels)| channels).sum::<usize>();
        let made = |part: &str, row: &[usize], bias: bool| {
            let blocks = blocks.iter().map(|(at, channels)| self.film_block(at, part, *channels, row));
            let fold = Fold::Film { blocks: blocks.collect::<Result<_>>()?, bias };
            let sides: Vec<usize> = std::iter::once(total).chain(row.iter().copied()).collect();
            self.initializer(&format!("film.{part}"), &sides, Content::Fold(fold))
        };
        Ok([made("weight", &[embedding], false)?, made("bias", &[], true)?])
    }

    fn film_block(&self, at: &str, part: &str, channels: usize, row: &[usize]) -> Result<FilmBlock> {
        let w = self.at(at);
        let shape: Vec<usize> = std::iter::once(2 * channels).chain(row.iter().copied()).collect();
        let rows = w.at("time_emb_proj").ask(part, &shape)?;
        let norm = w.at("norm2");
        Ok(FilmBlock { rows, norm: [norm.ask("weight", &[channels])?, norm.ask("bias", &[channels])?] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    struct Made;

    impl Weights for Made {
        fn component(&self) -> &'static str {
            "made"
        }
        fn names(&self) -> Vec<&str> {
            vec![]
        }
        fn shape(&self, _: &str) -> Option<&[usize]> {
            None
        }
        fn stream(&self, name: &str, sink: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
            match name {
                "kernel" => sink(&[1., 2., 3., 4., 5., 6., 7., 8., 9.]),
                "matrix" => sink(&[1., 2., 3., 4., 5., 6.]),
                "pair" => sink(&[10., 20.]),
                _ => sink(&[1., 2., 3.]),
            }
        }
    }

    fn all(fold: &Fold) -> Vec<f32> {
        let mut all = Vec::new();
        fold.stream(&Made, &mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn weights_are_folded_as_the_formulas_say() {
        let sum = vec![vec![1.0; 3]];
        let middle = vec![vec![0.0, 1.0, 0.0]];
        let pairs = vec![[sum.clone(), sum], [middle.clone(), middle]];
        assert_eq!(all(&Fold::Kernel { name: "kernel".into(), side: 3, pairs }), [45.0, 5.0]);
        let gain = Some("three".to_owned());
        let name = "matrix".to_owned();
        let matrix = Fold::Matrix { name: name.clone(), columns: 3, gain: gain.clone(), scale: 0.5 };
        assert_eq!(all(&matrix), [0.5, 2.0, 2.0, 5.0, 4.5, 9.0]);
        let bias = Fold::Bias { name: "pair".into(), matrix: name.clone(), shift: gain, scale: 0.5 };
        assert_eq!(all(&bias), [12.0, 26.0]); // (10 + 1 + 4 + 9) / 2, (20 + 4 + 10 + 18) / 2
        let plain = Fold::Bias { name: "pair".into(), matrix: name, shift: None, scale: 0.5 };
        assert_eq!(all(&plain), [5.0, 10.0]);
    }

    #[test]
    fn film_takes_in_the_norm() {
        let norm = ["three".to_owned(), "three".to_owned()]; // gains and shifts 1, 2, 3
        let block =
            |bias| Fold::Film { blocks: vec![FilmBlock { rows: "matrix".into(), norm: norm.clone() }], bias };
        // Scales 1, 2, 3 and shifts 4, 5, 6 of three channels.
        assert_eq!(all(&block(true)), [2.0, 6.0, 12.0, 6.0, 11.0, 18.0]);
        assert_eq!(all(&block(false)), [1.0, 4.0, 9.0, 5.0, 9.0, 15.0]);
    }
}
