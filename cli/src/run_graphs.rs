//! `kandinsky run-graphs`: single graphs on tensors from a file, for comparisons and measurements.

use super::{Report, RuntimeArgs, to_json};
use anyhow::Result;
use kandinsky::internal::component::Networks;
use kandinsky::internal::prebuild;
use kandinsky::internal::runtime;
use kandinsky::internal::tensor::{Input, Value};
use kandinsky::{Error, Kind, Tensor, find_model};
use kandinsky_models::{Component, Folder};
use ndarray::{ArrayD, Axis, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Run single graphs of a model on tensors from a file
///
/// Graphs run in the order given. An input is taken by its name from the file or from an output of a
/// graph before; a leading side of 1 that the graph does not have is dropped. Every output is written.
#[derive(clap::Args)]
pub struct Args {
    /// Graphs to run, such as prior_prefix,prior_step
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    components: Vec<String>,
    /// Tensors that go in (safetensors; f32 and i64)
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// Where the tensors that come out are written (safetensors)
    #[arg(long, value_name = "FILE")]
    outputs: PathBuf,
    /// How often each graph runs and is timed, after one run that is not
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let (model, _) = find_model(args.model.as_deref())?;
    let folder = Folder::open(&model)?;
    let mut known = read(&args.inputs)?;
    let selection = runtime::select(&prebuild::fitted(&args.runtime.options()?, folder.manifest())?)?;
    let mut networks = Networks::new(folder, selection.runtime);
    let mut opened = Vec::new();
    for name in &args.components {
        let component = parse(name)?;
        let before = networks.load_time();
        networks.open(component)?;
        opened.push((component, (networks.load_time() - before).as_secs_f64()));
    }
    let mut outputs = BTreeMap::new();
    let mut runs = Vec::new();
    for (component, open_seconds) in opened {
        let (values, seconds) = measure(&mut networks, component, &known, args.repeat)?;
        runs.push(Run { name: component.name(), open_seconds, seconds });
        outputs.extend(values.clone());
        known.extend(values);
    }
    write(&args.outputs, &outputs)?;
    Ok(Box::new(Runs {
        runtime: networks.runtime(),
        threads: args.runtime.threads,
        components: runs,
        peak_bytes: kandinsky::internal::system::peak(),
        outputs: args.outputs.clone(),
    }))
}

fn parse(name: &str) -> Result<Component> {
    let found = Component::ALL.into_iter().find(|c| c.name() == name);
    Ok(found.ok_or_else(|| Error::new(Kind::BadRequest, format!("there is no graph {name:?}")))?)
}

/// Tensors by name.
pub type Named = BTreeMap<String, Value>;

fn measure(
    networks: &mut Networks,
    component: Component,
    known: &Named,
    repeat: usize,
) -> Result<(Named, Vec<f64>)> {
    let spec = networks.folder().graph(component)?.clone();
    let mut inputs = Vec::new();
    for port in &spec.inputs {
        let value = known.get(&port.name).ok_or_else(|| {
            Error::new(Kind::BadRequest, format!("the input {} of {component} is in no file", port.name))
        })?;
        inputs.push((port.name.as_str(), fitted(value, port.shape.len())));
    }
    let inputs: Vec<(&str, Input<'_>)> = inputs.iter().map(|(name, value)| (*name, value.into())).collect();
    let mut times = Vec::new();
    let mut values = networks.call_all(component, &inputs)?;
    for _ in 0..repeat {
        let start = Instant::now();
        values = networks.call_all(component, &inputs)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok((values, times))
}

/// Without a leading side of 1 that the graph does not have.
fn fitted(value: &Value, rank: usize) -> Value {
    let spare = value.shape().len() == rank + 1 && value.shape().first() == Some(&1);
    match value {
        Value::F32(array) if spare => Value::F32(array.index_axis(Axis(0), 0).to_owned()),
        Value::I64(array) if spare => Value::I64(array.index_axis(Axis(0), 0).to_owned()),
        other => other.clone(),
    }
}

/// The middle one of some times.
fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn read(path: &Path) -> Result<Named> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", &e))?;
    let bad = |e: String| Error::new(Kind::BadRequest, format!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
    let mut named = Named::new();
    for (name, view) in file.tensors() {
        let shape = IxDyn(view.shape());
        let value = match view.dtype() {
            Dtype::F32 => {
                let (chunks, _) = view.data().as_chunks::<4>();
                let numbers = chunks.iter().map(|four| f32::from_le_bytes(*four)).collect();
                Value::F32(Tensor::from_shape_vec(shape, numbers).map_err(|e| bad(e.to_string()))?)
            }
            Dtype::I64 => {
                let (chunks, _) = view.data().as_chunks::<8>();
                let numbers = chunks.iter().map(|eight| i64::from_le_bytes(*eight)).collect();
                Value::I64(ArrayD::from_shape_vec(shape, numbers).map_err(|e| bad(e.to_string()))?)
            }
            other => return Err(bad(format!("{name} is {other:?}; f32 and i64 are known")).into()),
        };
        named.insert(name, value);
    }
    Ok(named)
}

/// Writes tensors as safetensors.
pub fn write(path: &Path, tensors: &Named) -> Result<()> {
    let bytes: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, value)| {
            let (dtype, bytes) = match value {
                Value::F32(a) => (Dtype::F32, a.iter().flat_map(|x| x.to_le_bytes()).collect()),
                Value::I64(a) => (Dtype::I64, a.iter().flat_map(|x| x.to_le_bytes()).collect()),
            };
            (name.clone(), dtype, value.shape().to_vec(), bytes)
        })
        .collect();
    let mut views = Vec::new();
    for (name, dtype, shape, data) in &bytes {
        let view = TensorView::new(*dtype, shape.clone(), data);
        views.push((name, view.map_err(|e| Error::new(Kind::Internal, format!("{name}: {e}")))?));
    }
    let failed = |e: safetensors::SafeTensorError| Error::new(Kind::Io, format!("{}: {e}", path.display()));
    Ok(safetensors::serialize_to_file(views, None, path).map_err(failed)?)
}

#[derive(Serialize)]
struct Runs {
    runtime: String,
    threads: Option<usize>,
    components: Vec<Run>,
    peak_bytes: Option<u64>,
    outputs: PathBuf,
}

#[derive(Serialize)]
struct Run {
    name: &'static str,
    open_seconds: f64,
    seconds: Vec<f64>,
}

impl Report for Runs {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.runtime)?;
        for run in &self.components {
            let seconds = median(&run.seconds);
            writeln!(f, "{:<21} open {:.2} s, run {seconds:.3} s", run.name, run.open_seconds)?;
        }
        if let Some(bytes) = self.peak_bytes {
            writeln!(f, "peak memory {} MiB", bytes >> 20)?;
        }
        writeln!(f, "{}", self.outputs.display())
    }
}
