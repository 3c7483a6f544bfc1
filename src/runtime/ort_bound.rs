//! A graph whose inputs and outputs lie at fixed addresses on the device, so that its runs can be captured
//! once a shape and replayed (ONNX Runtime's I/O binding and CUDA graphs).
//!
//! What stays the same from run to run is copied to the device once ([`Graph::keep`]). It runs on the CPU
//! provider too, where the device is main memory and nothing is captured.

use super::ort_value::to_value;
use super::provider::Provider;
use super::shapes::Symbols;
use super::{Graph, GraphSource, first_line, matches_port, validate_outputs};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Input, TensorView, Value, row_major};
use kandinsky_models::manifest::Port;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, NoSelectedOutputs, RunOptions, Session};
use ort::value::Tensor as OrtTensor;
use std::collections::BTreeMap;

/// Shapes of which runs are captured; a capture holds device memory for good.
const CAPTURES: usize = 16;
/// The run option that names a capture.
const CAPTURE: &str = "gpu_graph_id";
/// Its value where a run is not to be captured.
const NONE: &str = "-1";

/// Where a session's tensors lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device {
    pub(super) provider: Provider,
    pub(super) number: u32,
}

impl Device {
    fn allocator(self, session: &Session) -> ort::Result<Allocator> {
        if !self.provider.is_gpu() {
            return Ok(Allocator::default());
        }
        let number = i32::try_from(self.number).unwrap_or(i32::MAX);
        let (kind, memory) = (AllocatorType::Device, MemoryType::Default);
        Allocator::new(session, MemoryInfo::new(AllocationDevice::CUDA, number, kind, memory)?)
    }
}

/// An open graph.
pub(super) struct BoundGraph {
    source: GraphSource,
    device: Device,
    /// Whether runs are captured.
    captures: bool,
    /// Inputs by name and shape.
    buffers: BTreeMap<(String, Vec<usize>), OrtTensor<f32>>,
    kept: Option<Kept>,
    plans: Vec<Plan>,
    // Last, so that it is closed after what was bound to it.
    session: Session,
}

/// Inputs that hold for the runs to come.
struct Kept {
    id: u64,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// Runs of one shape.
struct Plan {
    shapes: Vec<Vec<usize>>,
    binding: IoBinding,
    options: RunOptions<NoSelectedOutputs>,
}

impl BoundGraph {
    pub(super) fn new(source: GraphSource, session: Session, device: Device, captures: bool) -> Self {
        Self { source, device, captures, buffers: BTreeMap::new(), kept: None, plans: Vec::new(), session }
    }

    /// Copies an input to its place on the device.
    fn place(&mut self, name: &str, input: &Input<'_>) -> Result<Vec<usize>> {
        let port = self.source.spec.inputs.iter().find(|port| port.name == name);
        let port = port.ok_or_else(|| self.wrong(format!("{name} is no input of it")))?;
        matches_port(port, input.dtype(), input.shape()).map_err(|what| self.wrong(what))?;
        let Input::F32(tensor) = input else { return Err(self.wrong(format!("{name} holds no floats"))) };
        let shape = tensor.shape().to_vec();
        self.copy(name, tensor).map_err(|e| self.fault(&e))?;
        Ok(shape)
    }

    fn copy(&mut self, name: &str, tensor: &TensorView<'_>) -> ort::Result<()> {
        // An owned copy: ort clones a borrowed one while it holds the lock that cloning takes.
        let owned = OrtTensor::from_array((tensor.shape(), row_major(tensor).into_owned()))?;
        let key = (name.to_owned(), tensor.shape().to_vec());
        let buffer = match self.buffers.remove(&key) {
            Some(buffer) => buffer,
            None => OrtTensor::<f32>::new(&self.device.allocator(&self.session)?, tensor.shape())?,
        };
        let buffer = self.buffers.entry(key).or_insert(buffer);
        owned.copy_into(buffer)
    }

    /// The shape of every input in the order of the contract: those given, and those kept.
    fn shapes(&self, given: &BTreeMap<String, Vec<usize>>) -> Result<Vec<Vec<usize>>> {
        let kept = self.kept.as_ref().map(|kept| &kept.shapes);
        let shape = |port: &Port| {
            let shape = given.get(&port.name).or_else(|| kept?.get(&port.name));
            shape.cloned().ok_or_else(|| self.wrong(format!("the input {} is missing", port.name)))
        };
        self.source.spec.inputs.iter().map(shape).collect()
    }

    /// The place of the plan for these shapes, made where there is none.
    fn plan(&mut self, shapes: Vec<Vec<usize>>) -> Result<usize> {
        if let Some(place) = self.plans.iter().position(|plan| plan.shapes == shapes) {
            return Ok(place);
        }
        // The place behind those that are captured is to_value by turns.
        if self.plans.len() > CAPTURES {
            self.plans.pop();
        }
        let pairs = self.source.spec.inputs.iter().zip(shapes.iter().map(Vec::as_slice));
        let symbols = Symbols::solve(pairs)?;
        let outputs = self.source.spec.outputs.iter().map(|port| symbols.shape(port));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let plan = self.bound(shapes, &outputs).map_err(|e| self.fault(&e))?;
        self.plans.push(plan);
        Ok(self.plans.len() - 1)
    }

    fn bound(&self, shapes: Vec<Vec<usize>>, outputs: &[Vec<usize>]) -> ort::Result<Plan> {
        let mut binding = self.session.create_binding()?;
        for (port, shape) in self.source.spec.inputs.iter().zip(&shapes) {
            let buffer = self.buffers.get(&(port.name.clone(), shape.clone()));
            let buffer = buffer.ok_or_else(|| ort::Error::new(format!("{} was not placed", port.name)))?;
            binding.bind_input(port.name.as_str(), buffer)?;
        }
        let allocator = self.device.allocator(&self.session)?;
        for (port, shape) in self.source.spec.outputs.iter().zip(outputs) {
            binding.bind_output(port.name.as_str(), OrtTensor::<f32>::new(&allocator, shape.as_slice())?)?;
        }
        let mut options = RunOptions::new()?;
        if self.device.provider.is_gpu() {
            options.set(CAPTURE, self.capture())?;
        }
        Ok(Plan { shapes, binding, options })
    }

    /// The number of the next plan's capture.
    fn capture(&self) -> String {
        let free = self.captures && self.plans.len() < CAPTURES;
        if free { (self.plans.len() + 1).to_string() } else { NONE.to_owned() }
    }

    fn run_plan(&mut self, place: usize) -> ort::Result<Vec<(String, Value)>> {
        let plan = self.plans.get(place).ok_or_else(|| ort::Error::new("no plan"))?;
        let mut outputs = self.session.run_binding_with_options(&plan.binding, &plan.options)?;
        let mut values = Vec::new();
        for port in &self.source.spec.outputs {
            let value = outputs.remove(&port.name);
            let value = value.ok_or_else(|| ort::Error::new(format!("there is no output {}", port.name)))?;
            let value = if self.device.provider.is_gpu() {
                value.downcast::<ort::value::DynTensorValueType>()?.to(AllocationDevice::CPU, 0)?.into_dyn()
            } else {
                value
            };
            values.push((port.name.clone(), to_value(&value)?));
        }
        Ok(values)
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::new(Kind::Internal, format!("{}: {what}", self.source.component))
    }

    fn fault(&self, error: &ort::Error) -> Error {
        let (component, reason) = (self.source.component, first_line(&error.to_string()));
        Error::new(Kind::RuntimeFault, format!("{component} failed on onnx runtime: {reason}"))
            .caused_by(error.to_string())
    }
}

impl Graph for BoundGraph {
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>> {
        let mut given = BTreeMap::new();
        for (name, input) in inputs {
            if self.kept.as_ref().is_some_and(|kept| kept.shapes.contains_key(*name)) {
                // What is at that place is no longer what was kept.
                self.kept = None;
            }
            given.insert((*name).to_owned(), self.place(name, input)?);
        }
        let shapes = self.shapes(&given)?;
        let place = self.plan(shapes)?;
        let values = self.run_plan(place).map_err(|e| self.fault(&e))?;
        validate_outputs(&self.source, values)
    }

    fn keep(&mut self, id: u64, inputs: &[(&str, Input<'_>)]) -> Result<bool> {
        if self.kept.as_ref().is_some_and(|kept| kept.id == id) {
            return Ok(true);
        }
        self.kept = None;
        let mut shapes = BTreeMap::new();
        for (name, input) in inputs {
            shapes.insert((*name).to_owned(), self.place(name, input)?);
        }
        self.kept = Some(Kept { id, shapes });
        Ok(true)
    }
}
