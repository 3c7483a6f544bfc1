//! Tensors of ONNX Runtime as our own, and ours as its.

use crate::tensor::{Input, Tensor, Value, row_major};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use ort::session::SessionInputValue;
use ort::value::{
    DynValue, PrimitiveTensorElementType, Shape, Tensor as OrtTensor, TensorElementType, TensorRef,
};
use std::borrow::Cow;
use std::fmt::Debug;

/// Lends an input to ONNX Runtime, which reads the numbers where they lie. Numbers in another order than row-major are
/// copied.
pub(super) fn lent<'a>(input: &'a Input<'_>) -> ort::Result<SessionInputValue<'a>> {
    match input {
        Input::F32(array) => lent_array(array),
        Input::I64(array) => lent_array(array),
    }
}

fn lent_array<'a, T>(array: &'a ArrayViewD<'_, T>) -> ort::Result<SessionInputValue<'a>>
where
    T: PrimitiveTensorElementType + Debug + Copy + 'static,
{
    Ok(match row_major(array) {
        Cow::Borrowed(numbers) => TensorRef::from_array_view((array.shape(), numbers))?.into(),
        Cow::Owned(numbers) => OrtTensor::from_array((array.shape(), numbers))?.into(),
    })
}

/// Copies a tensor of integers or floats out of ONNX Runtime.
pub(super) fn to_value(value: &DynValue) -> ort::Result<Value> {
    let odd = |e: ndarray::ShapeError| ort::Error::new(e.to_string());
    if value.dtype().tensor_type() == Some(TensorElementType::Int64) {
        let (shape, numbers) = value.try_extract_tensor::<i64>()?;
        return Ok(Value::I64(ArrayD::from_shape_vec(sides(shape)?, numbers.to_vec()).map_err(odd)?));
    }
    let (shape, numbers) = value.try_extract_tensor::<f32>()?;
    Ok(Value::F32(Tensor::from_shape_vec(sides(shape)?, numbers.to_vec()).map_err(odd)?))
}

fn sides(shape: &Shape) -> ort::Result<IxDyn> {
    let side = |side: &i64| {
        usize::try_from(*side).map_err(|_| ort::Error::new(format!("a tensor has a side of {side}")))
    };
    Ok(IxDyn(&shape.iter().map(side).collect::<ort::Result<Vec<_>>>()?))
}
