//! Numbers with a shape: what passes between stages and runtimes.

use crate::error::{Error, Kind, Result};
use kandinsky_models::manifest::Dtype;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use std::borrow::Cow;

/// Row-major 32-bit floats; the first axis is the batch.
pub type Tensor = ArrayD<f32>;

/// A tensor, or a part of one, that somebody else holds.
pub type TensorView<'a> = ArrayViewD<'a, f32>;

/// What comes out of a graph.
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

    /// Whether shape and every bit are those of an input; 0 and -0 are not the same.
    pub fn same_bits(&self, other: &Input<'_>) -> bool {
        match (self, other) {
            (Self::F32(a), Input::F32(b)) => {
                a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
            }
            (Self::I64(a), Input::I64(b)) => a == b,
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

/// What goes into a graph: lent for the run, so that no number is copied on the way.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// 32-bit floats.
    F32(TensorView<'a>),
    /// 64-bit integers.
    I64(ArrayViewD<'a, i64>),
}

impl Input<'_> {
    /// The type of its numbers.
    pub const fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::I64(_) => Dtype::I64,
        }
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::I64(array) => array.shape(),
        }
    }

    /// A copy of the numbers.
    pub fn to_value(&self) -> Value {
        match self {
            Self::F32(array) => Value::F32(array.to_owned()),
            Self::I64(array) => Value::I64(array.to_owned()),
        }
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(array: &'a Tensor) -> Self {
        Self::F32(array.view())
    }
}

impl<'a> From<TensorView<'a>> for Input<'a> {
    fn from(array: TensorView<'a>) -> Self {
        Self::F32(array)
    }
}

impl<'a> From<&'a ArrayD<i64>> for Input<'a> {
    fn from(array: &'a ArrayD<i64>) -> Self {
        Self::I64(array.view())
    }
}

impl<'a> From<&'a Value> for Input<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::F32(array) => array.into(),
            Value::I64(array) => array.into(),
        }
    }
}

/// The numbers in row-major order: as they lie where that is their order, copied where it is not.
pub fn row_major<'a, T: Copy>(array: &'a ArrayViewD<'_, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Some(numbers) => Cow::Borrowed(numbers),
        None => array.iter().copied().collect::<Vec<T>>().into(),
    }
}

/// A side of a shape.
///
/// # Errors
/// When the shape has no such axis.
pub fn side(shape: &[usize], axis: usize) -> Result<usize> {
    shape.get(axis).copied().ok_or_else(|| {
        Error::new(Kind::Internal, format!("axis {axis} was asked of a tensor of the shape {shape:?}"))
    })
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

/// Joins tensors along an axis.
///
/// # Errors
/// When there is none, or their other axes differ.
pub fn concat(parts: &[Tensor], axis: usize) -> Result<Tensor> {
    concat_views(&parts.iter().map(|part| part.view()).collect::<Vec<_>>(), axis)
}

/// As [`concat`], of parts that others hold.
///
/// # Errors
/// As [`concat`].
pub fn concat_views(parts: &[TensorView<'_>], axis: usize) -> Result<Tensor> {
    ndarray::concatenate(Axis(axis), parts)
        .map(in_row_major)
        .map_err(|e| Error::new(Kind::Internal, format!("tensors cannot be joined: {e}")))
}

/// The same tensor with its numbers in row-major order; most have it already.
fn in_row_major(tensor: Tensor) -> Tensor {
    if tensor.is_standard_layout() { tensor } else { tensor.as_standard_layout().into_owned() }
}

/// Rows `start..end` of the batch axis.
///
/// # Errors
/// When the tensor has fewer rows.
pub fn rows(tensor: &Tensor, start: usize, end: usize) -> Result<Tensor> {
    slice(tensor, 0, start, end)
}

/// As [`rows`], where they lie.
///
/// # Errors
/// As [`rows`].
pub fn view_rows<'a>(tensor: &TensorView<'a>, start: usize, end: usize) -> Result<TensorView<'a>> {
    view_slice(tensor, 0, start, end)
}

/// Elements `start..end` along `axis`, as a tensor of its own.
///
/// # Errors
/// When the axis is shorter.
pub fn slice(tensor: &Tensor, axis: usize, start: usize, end: usize) -> Result<Tensor> {
    Ok(view_slice(&tensor.view(), axis, start, end)?.as_standard_layout().into_owned())
}

/// As [`slice`], where they lie.
///
/// # Errors
/// As [`slice`].
pub fn view_slice<'a>(
    tensor: &TensorView<'a>,
    axis: usize,
    start: usize,
    end: usize,
) -> Result<TensorView<'a>> {
    let length = side(tensor.shape(), axis)?;
    if start > end || end > length {
        return Err(Error::new(
            Kind::Internal,
            format!("elements {start}..{end} were asked of an axis of {length}"),
        ));
    }
    let mut part = tensor.clone();
    part.slice_axis_inplace(Axis(axis), ndarray::Slice::from(start..end));
    Ok(part)
}

/// The same rows `times` over: all of them, then all of them again.
///
/// # Errors
/// When `times` is 0.
pub fn repeat(tensor: &Tensor, times: usize) -> Result<Tensor> {
    concat_views(&vec![tensor.view(); times], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_row_major_order_are_lent_and_others_copied() {
        let whole = tensor(&[2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let row = view_rows(&whole.view(), 1, 2).unwrap();
        let numbers = row_major(&row);
        assert!(matches!(numbers, Cow::Borrowed(_)), "a row lies in order");
        assert!(std::ptr::eq(numbers.as_ptr(), &raw const whole[[1, 0]]), "it was moved");
        let turned = whole.t();
        assert_eq!(row_major(&turned).as_ref(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert!(matches!(row_major(&turned), Cow::Owned(_)));
    }

    #[test]
    fn an_axis_that_is_not_there_is_an_error() {
        assert_eq!(side(&[2, 3], 1).unwrap(), 3);
        assert!(side(&[2, 3], 2).unwrap_err().to_string().contains("axis 2"));
        let whole = Tensor::zeros(IxDyn(&[2, 3]));
        assert!(view_rows(&whole.view(), 1, 3).is_err());
        assert!(slice(&whole, 2, 0, 0).is_err());
    }

    #[test]
    fn joined_tensors_are_row_major_on_every_axis() {
        let whole = tensor(&[2, 1], vec![0.0, 1.0]).unwrap();
        let joined = concat(&[whole.clone(), whole], 1).unwrap();
        assert!(joined.is_standard_layout());
        assert_eq!(joined, tensor(&[2, 2], vec![0.0, 0.0, 1.0, 1.0]).unwrap());
    }
}
