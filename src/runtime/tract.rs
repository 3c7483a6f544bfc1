//! tract: ONNX in pure Rust on the CPU. It plans for concrete shapes, so plans are kept by shape.

use super::entry::{Availability, RuntimeEntry, Tier};
use super::{
    Graph, GraphSource, Opened, Precision, Runtime, RuntimeOptions, first_line, order_inputs, threads,
    validate_outputs,
};
use crate::error::{Error, Kind, Result};
use crate::residency::Coefficients;
use crate::tensor::{Input, Tensor, Value, row_major};
use ndarray::{ArrayD, IxDyn};
use std::sync::Arc;
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, TValue,
    TVec, Tensor as TractTensor, TypedSimplePlan,
};

/// Plans that are kept a graph: prompts come in four lengths, pictures in few sizes.
const PLANS: usize = 6;

/// tract, which is part of the program.
pub static ENTRY: RuntimeEntry = RuntimeEntry {
    name: "tract",
    title: "tract",
    about: "tract on the CPU, built in",
    precisions: &[Tier::F32],
    automatic: &[Precision::F32],
    target: None,
    profiles: false,
    check: |_| Availability::works(format!("tract {VERSION}, built in")),
    open: |options, _| Ok(Opened::new(Tract::new(options))),
    memory: |_| MEMORY,
};

/// The runtime.
pub struct Tract {
    executor: Executor,
    threads: usize,
}

impl Tract {
    /// With the threads of `options`.
    pub fn new(options: &RuntimeOptions) -> Self {
        let threads = threads(options);
        let executor = if threads == 1 { Executor::SingleThread } else { Executor::multithread(threads) };
        Self { executor, threads }
    }
}

impl Runtime for Tract {
    fn describe(&self) -> String {
        format!("tract {VERSION} ({} threads)", self.threads)
    }

    fn open(&self, source: &GraphSource) -> Result<Box<dyn Graph>> {
        let refused = |e: tract_onnx::prelude::TractError| {
            let reason = first_line(&format!("{e:#}"));
            Error::new(Kind::BadModel, format!("tract refuses {}: {reason}", source.component)).caused_by(e)
        };
        let model = tract_onnx::onnx().model_for_path(&source.path).map_err(refused)?;
        let source = source.clone();
        Ok(Box::new(TractGraph { source, model, plans: Vec::new(), executor: self.executor.clone() }))
    }

    fn entry(&self) -> &'static RuntimeEntry {
        &ENTRY
    }
}

/// Measured: it copies what it maps, and lays it out anew for each plan.
const MEMORY: Coefficients = Coefficients {
    weights: 150,
    convolutions: 150,
    text: 65,
    opening: 0,
    opening_text: 0,
    unet_maps: 14,
    movq_maps: 25,
    scores: 2,
};

/// tract's version, as the lock file has it.
const VERSION: &str = "0.23.9";

struct TractGraph {
    source: GraphSource,
    model: InferenceModel,
    /// Most recently used last.
    plans: Vec<(Vec<Vec<usize>>, Arc<TypedSimplePlan>)>,
    executor: Executor,
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>> {
        let ordered = order_inputs(&self.source, inputs)?;
        let shapes: Vec<Vec<usize>> = ordered.iter().map(|(_, value)| value.shape().to_vec()).collect();
        let component = self.source.component;
        let fault = |e: tract_onnx::prelude::TractError| {
            let reason = first_line(&format!("{e:#}"));
            Error::new(Kind::RuntimeFault, format!("{component} failed on tract: {reason}")).caused_by(e)
        };
        let values: Result<TVec<TValue>> = ordered.iter().map(|(_, value)| into_tract(value)).collect();
        let values = values?;
        let executor = self.executor.clone();
        let plan = self.plan(&shapes, &ordered).map_err(fault)?;
        let outputs = multithread_tract_scope(executor, || plan.run(values)).map_err(fault)?;
        let names = self.source.spec.outputs.iter().map(|port| port.name.clone());
        let outputs: Result<Vec<_>> =
            names.zip(outputs).map(|(name, value)| Ok((name, from_tract(&value).map_err(fault)?))).collect();
        validate_outputs(&self.source, outputs?)
    }
}

impl TractGraph {
    /// The plan for these shapes, made now unless it is kept.
    fn plan(
        &mut self,
        shapes: &[Vec<usize>],
        inputs: &[(&str, &Input<'_>)],
    ) -> tract_onnx::prelude::TractResult<Arc<TypedSimplePlan>> {
        if let Some(place) = self.plans.iter().position(|(known, _)| known == shapes) {
            let kept = self.plans.remove(place);
            let plan = kept.1.clone();
            self.plans.push(kept);
            return Ok(plan);
        }
        let mut model = self.model.clone();
        for (slot, (_, value)) in inputs.iter().enumerate() {
            let dtype = match value {
                Input::F32(_) => DatumType::F32,
                Input::I64(_) => DatumType::I64,
            };
            model = model.with_input_fact(slot, InferenceFact::dt_shape(dtype, value.shape()))?;
        }
        let plan = model.into_optimized()?.into_runnable()?;
        if self.plans.len() == PLANS {
            self.plans.remove(0);
        }
        self.plans.push((shapes.to_vec(), plan.clone()));
        Ok(plan)
    }
}

fn into_tract(input: &Input<'_>) -> Result<TValue> {
    let made = match input {
        Input::F32(array) => TractTensor::from_shape(array.shape(), &row_major(array)),
        Input::I64(array) => TractTensor::from_shape(array.shape(), &row_major(array)),
    };
    let failed = |e: tract_onnx::prelude::TractError| Error::new(Kind::Internal, first_line(&e.to_string()));
    made.map(IntoTValue::into_tvalue).map_err(failed)
}

fn from_tract(value: &TractTensor) -> tract_onnx::prelude::TractResult<Value> {
    let shape = IxDyn(value.shape());
    Ok(match value.datum_type() {
        DatumType::F32 => Value::F32(Tensor::from_shape_vec(
            shape,
            value.to_plain_array_view::<f32>()?.iter().copied().collect(),
        )?),
        _ => {
            let whole = value.cast_to::<i64>()?;
            Value::I64(ArrayD::from_shape_vec(
                shape,
                whole.to_plain_array_view::<i64>()?.iter().copied().collect(),
            )?)
        }
    })
}
