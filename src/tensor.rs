//! Numbers with a shape: what passes between stages and runtimes.

use crate::error::{Error, Kind, Result};
use ndarray::{ArrayD, Axis, IxDyn};

/// Row-major 32-bit floats; the first axis is the batch.
pub type Tensor = ArrayD<f32>;

/// What goes into or comes out of a graph.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// 32-bit floats.
    F32(Tensor),
    /// 64-bit integers.
    I64(ArrayD<i64>),
}

impl Value {
    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(array) => size_of::<f32>() * array.len(),
            Self::I64(array) => size_of::<i64>() * array.len(),
        }
    }

    /// Whether shape and every bit are the same; 0 and -0 are not.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => {
                a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Self::I64(a), Self::I64(b)) => a == b,
            _ => false,
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::I64(array) => array.shape(),
        }
    }

    /// The floats.
    ///
    /// # Errors
    /// When it holds integers.
    pub fn into_f32(self) -> Result<Tensor> {
        match self {
            Self::F32(array) => Ok(array),
            Self::I64(_) => Err(Error::new(Kind::RuntimeFault, "a graph gave i64 where f32 was promised")),
        }
    }

    /// The integers.
    ///
    /// # Errors
    /// When it holds floats.
    pub fn into_i64(self) -> Result<ArrayD<i64>> {
        match self {
            Self::I64(array) => Ok(array),
            Self::F32(_) => Err(Error::new(Kind::RuntimeFault, "a graph gave f32 where i64 was promised")),
        }
    }
}

impl From<Tensor> for Value {
    fn from(array: Tensor) -> Self {
        Self::F32(array)
    }
}

impl From<ArrayD<i64>> for Value {
    fn from(array: ArrayD<i64>) -> Self {
        Self::I64(array)
    }
}

/// A tensor of `shape` from row-major `data`.
///
/// # Errors
/// When the numbers do not fill the shape.
pub fn tensor(shape: &[usize], data: Vec<f32>) -> Result<Tensor> {
    let found = data.len();
    Tensor::from_shape_vec(IxDyn(shape), data)
        .map_err(|_| Error::new(Kind::Internal, format!("{found} numbers do not fill the shape {shape:?}")))
}

/// Stacks tensors along the batch axis.
///
/// # Errors
/// When there is none, or their other axes differ.
pub fn concat(parts: &[Tensor], axis: usize) -> Result<Tensor> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::concatenate(Axis(axis), &views)
        .map(|joined| joined.as_standard_layout().into_owned())
        .map_err(|e| Error::new(Kind::Internal, format!("tensors cannot be joined: {e}")))
}

/// Rows `start..end` of the batch axis.
///
/// # Errors
/// When the tensor has fewer rows.
pub fn rows(tensor: &Tensor, start: usize, end: usize) -> Result<Tensor> {
    slice(tensor, 0, start, end)
}

/// Elements `start..end` along `axis`, as a tensor of its own.
///
/// # Errors
/// When the axis is shorter.
pub fn slice(tensor: &Tensor, axis: usize, start: usize, end: usize) -> Result<Tensor> {
    let length = tensor.shape().get(axis).copied().unwrap_or(0);
    if start > end || end > length {
        return Err(Error::new(
            Kind::Internal,
            format!("elements {start}..{end} were asked of an axis of {length}"),
        ));
    }
    let view = tensor.slice_axis(Axis(axis), ndarray::Slice::from(start..end));
    Ok(view.as_standard_layout().into_owned())
}

/// The same rows `times` over: all of them, then all of them again.
///
/// # Errors
/// When `times` is 0.
pub fn repeat(tensor: &Tensor, times: usize) -> Result<Tensor> {
    concat(&vec![tensor.clone(); times], 0)
}
