//! Any graph on numbers made up for its inputs, by its manifest, and how far its outputs are from others.

use kandinsky::internal::rng::{Normals, TorchCpu};
use kandinsky::internal::runtime::{GraphSource, Runtime};
use kandinsky::internal::tensor::{Input, Value};
use kandinsky::{Result, Tensor};
use kandinsky_models::manifest::{Dtype, Port};
use ndarray::{ArrayD, IxDyn};

/// What a graph gives for its inputs: those that `given` knows by name, the others made up.
pub fn run(
    runtime: &dyn Runtime,
    source: &GraphSource,
    given: impl Fn(&str) -> Option<Value>,
) -> Result<Vec<(String, Value)>> {
    let value = |port: &Port| given(&port.name).unwrap_or_else(|| input(port));
    let inputs: Vec<(&str, Value)> =
        source.spec.inputs.iter().map(|port| (port.name.as_str(), value(port))).collect();
    runtime.open(source)?.run(&lent(&inputs))
}

/// Values as a graph takes them.
pub fn lent<'a>(values: &'a [(&'a str, Value)]) -> Vec<(&'a str, Input<'a>)> {
    values.iter().map(|(name, value)| (*name, value.into())).collect()
}

/// Relative L2.
pub fn relative(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    (error / size).sqrt()
}

/// Numbers for an input: two rows, five tokens, pictures that are not square.
fn input(port: &Port) -> Value {
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
    let names = [("batch", 2), ("tokens", 5), ("steps", 3), ("h", 4), ("w", 3)];
    let one = |word: &str| {
        let named = names.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        named.unwrap_or_else(|| word.parse().unwrap_or_else(|_| panic!("the side {text}")))
    };
    if let Some((a, b)) = text.split_once('*') {
        return one(a) * one(b);
    }
    text.split('+').map(one).sum()
}
