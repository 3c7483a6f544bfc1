//! Tensors of ONNX Runtime as our own.

use crate::tensor::{Tensor, Value};
use ndarray::{ArrayD, IxDyn};
use ort::value::{DynValue, TensorElementType};

/// Copies a tensor of integers or floats out of ONNX Runtime.
pub(super) fn taken(value: &DynValue) -> ort::Result<Value> {
    let sides = |shape: &ort::value::Shape| {
        IxDyn(&shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect::<Vec<_>>())
    };
    let odd = |e: ndarray::ShapeError| ort::Error::new(e.to_string());
    if value.dtype().tensor_type() == Some(TensorElementType::Int64) {
        let (shape, numbers) = value.try_extract_tensor::<i64>()?;
        return Ok(Value::I64(ArrayD::from_shape_vec(sides(shape), numbers.to_vec()).map_err(odd)?));
    }
    let (shape, numbers) = value.try_extract_tensor::<f32>()?;
    Ok(Value::F32(Tensor::from_shape_vec(sides(shape), numbers.to_vec()).map_err(odd)?))
}
