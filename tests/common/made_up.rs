//! Numbers for the inputs of any graph, by its manifest.

use kandinsky::rng::{Normals, TorchCpu};
use kandinsky::tensor::{Tensor, Value};
use kandinsky_models::manifest::{Dtype, Port};
use ndarray::{ArrayD, IxDyn};

/// Numbers for an input: two rows, five tokens, pictures that are not square.
pub fn input(port: &Port) -> Value {
    let shape: Vec<usize> = port.shape.iter().map(|side| self::side(side)).collect();
    let count = shape.iter().product::<usize>();
    if port.dtype == Dtype::I64 {
        let ids = (0..count).map(|i| (i * 7 % 90 + 5) as i64).collect();
        return ArrayD::from_shape_vec(IxDyn(&shape), ids).unwrap().into();
    }
    let numbers = match port.name.as_str() {
        "mask" => (0..count).map(|i| if i + 2 >= count { 0.0 } else { 1.0 }).collect(),
        "t" => (0..count).map(|i| 999.0 / (1.0 + i as f32)).collect(),
        _ => return TorchCpu::new(7).normal(&shape).unwrap().into(),
    };
    Tensor::from_shape_vec(IxDyn(&shape), numbers).unwrap().into()
}

/// A side such as `batch`, `4*h` or `tokens+10`, for the numbers that tests use.
fn side(text: &str) -> usize {
    let names = [("batch", 2), ("tokens", 5), ("steps", 3), ("h", 4), ("w", 6)];
    let one = |word: &str| {
        let named = names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        named.unwrap_or_else(|| word.parse().unwrap_or_else(|_| panic!("the side {text}")))
    };
    if let Some((a, b)) = text.split_once('*') {
        return one(a) * one(b);
    }
    text.split('+').map(one).sum()
}
