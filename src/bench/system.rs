//! What the machine can do at best, measured: products of matrices on the runtime that is under test, and reading.

use super::report::{Machine, Peak};
use crate::error::{Error, Kind, Result};
use crate::math::{count, narrow};
use crate::runtime::{self, GraphSource, RuntimeOptions};
use crate::tensor::tensor;
use kandinsky_models::manifest::{Dtype, Port};
use kandinsky_models::onnx::{
    Dimension, GraphProto, IR_VERSION, ModelProto, NodeProto, OPSET, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, data_type,
};
use kandinsky_models::{Component, FileEntry, GraphSpec, hash};
use prost::Message;
use std::path::Path;
use std::time::Instant;

/// Side of the matrices: large enough for any kernel, small enough for a cache to hold one.
const SIDE: usize = 1024;
/// Products a run.
const PRODUCTS: usize = 8;
/// Numbers of 8 bytes that are read: more than caches hold.
const READ: usize = 32 << 20;
/// Runs, of which the best counts.
const RUNS: usize = 15;

/// Looks at the machine and measures its peaks.
///
/// # Errors
/// When the runtime does not run a product of matrices.
pub fn examine(options: &RuntimeOptions) -> Result<Machine> {
    let found = crate::doctor::examine(options);
    let threads = runtime::threads(options);
    Ok(Machine {
        cpu: processor(),
        cpu_features: found.cpu_features,
        cores: found.cores,
        threads,
        memory_bytes: found.memory_bytes,
        peak: Peak { flop_per_second: products(options)?, read_bytes_per_second: reading(threads) },
    })
}

/// The processor's name, where the kernel tells.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Operations a second of the best run of a chain of products, weights constant as those of a model are.
fn products(options: &RuntimeOptions) -> Result<f64> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, format!("no folder for a test graph: {e}"));
    let folder = tempfile::tempdir().map_err(failed)?;
    let source = written(folder.path()).map_err(failed)?;
    let mut graph =
        runtime::select(&RuntimeOptions { profile: None, ..options.clone() })?.runtime.open(&source)?;
    let x = tensor(&[SIDE, SIDE], vec![1.0; SIDE * SIDE])?;
    let input = [("x", (&x).into())];
    graph.run(&input)?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        graph.run(&input)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let side = count(SIDE);
    Ok(2.0 * side * side * side * count(PRODUCTS) / best)
}

/// A graph of [`PRODUCTS`] products with one constant matrix, whose every number is 1 / [`SIDE`]: ones stay ones.
fn written(folder: &Path) -> std::io::Result<GraphSource> {
    let bytes = chain().encode_to_vec();
    let path = folder.join("products.onnx");
    std::fs::write(&path, &bytes)?;
    let entry = FileEntry {
        path: "products.onnx".to_owned(),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: hash::of_bytes(&bytes),
    };
    let port = |name: &str| {
        let side = SIDE.to_string();
        Port { name: name.to_owned(), dtype: Dtype::F32, shape: vec![side.clone(), side] }
    };
    let spec = GraphSpec {
        graph: entry,
        data: None,
        parameters: 0,
        inputs: vec![port("x")],
        outputs: vec![port("y")],
    };
    // A runtime wants to be told which graph it opens; this one is as wide as a step's.
    Ok(GraphSource { component: Component::PriorStep, path, spec })
}

fn chain() -> ModelProto {
    let name = |place: usize| match place {
        0 => "x".to_owned(),
        PRODUCTS => "y".to_owned(),
        _ => format!("x{place}"),
    };
    let product = |place: usize| NodeProto {
        input: vec![name(place), "w".to_owned()],
        output: vec![name(place + 1)],
        name: Some(format!("product{place}")),
        op_type: Some("MatMul".to_owned()),
        ..NodeProto::default()
    };
    let side = i64::try_from(SIDE).unwrap_or(0);
    let number = narrow(1.0 / count(SIDE)).to_le_bytes();
    let weight = TensorProto {
        dims: vec![side, side],
        data_type: Some(data_type::FLOAT),
        name: Some("w".to_owned()),
        raw_data: Some(number.repeat(SIDE * SIDE)),
        ..TensorProto::default()
    };
    let graph = GraphProto {
        node: (0..PRODUCTS).map(product).collect(),
        name: Some("products".to_owned()),
        initializer: vec![weight],
        input: vec![matrix("x", side)],
        output: vec![matrix("y", side)],
        sparse_initializer: Vec::new(),
    };
    ModelProto {
        ir_version: Some(IR_VERSION),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(OPSET) }],
        ..ModelProto::default()
    }
}

fn matrix(name: &str, side: i64) -> ValueInfoProto {
    let dimension = Dimension { dim_value: Some(side), dim_param: None };
    let shape = TensorShapeProto { dim: vec![dimension; 2] };
    let kind = TensorTypeProto { elem_type: Some(data_type::FLOAT), shape: Some(shape) };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(TypeProto { tensor_type: Some(kind) }) }
}

/// Bytes a second of the best run of reading memory on all threads.
fn reading(threads: usize) -> f64 {
    let numbers = vec![1_u64; READ];
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        std::hint::black_box(mixed(&numbers, threads));
        best = best.min(start.elapsed().as_secs_f64());
    }
    count(READ) * count(size_of::<u64>()) / best
}

/// All numbers made one, a share a thread.
fn mixed(numbers: &[u64], threads: usize) -> u64 {
    let share = numbers.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let parts = numbers.chunks(share).map(|part| scope.spawn(|| part.iter().fold(0, |all, x| all ^ x)));
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| part.join().unwrap_or(0)).fold(0, |all, x| all ^ x)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_has_the_operations_that_are_divided_by_time() {
        let graph = chain().graph.unwrap();
        let shapes = std::collections::BTreeMap::from([("x".to_owned(), vec![SIDE, SIDE])]);
        let counted = kandinsky_models::operations::count(&graph, &shapes).unwrap();
        assert_eq!(counted.flop, 2 * 1024_u64.pow(3) * 8);
    }

    #[test]
    fn every_number_is_read_whatever_the_threads() {
        let numbers: Vec<u64> = (0..1001).collect();
        let expected = numbers.iter().fold(0, |all, x| all ^ x);
        assert!([1, 2, 3, 7, 2000].into_iter().all(|threads| mixed(&numbers, threads) == expected));
    }
}
