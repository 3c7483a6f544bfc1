//! The networks as typed calls: tensors in, tensors out, no maths.
//!
//! [`Networks`] opens a graph the first time it is called, after its bytes have been checked against
//! the manifest, and keeps it, or closes it after its turn where a plan says so. The functions beside it name
//! inputs and outputs once.

pub mod call_statistics;
mod encoding_cache;
pub mod image_encoder;
pub mod movq;
pub mod prior;
mod prompt_weights;
pub mod text;
pub mod unet;

use crate::error::{Error, Kind, Result};
use crate::progress::{CancelToken, Stage};
use crate::residency::{Plan, Rates, Step};
use crate::runtime::{self, Graph, GraphSource, Runtime};
use crate::system;
use crate::tensor::{Input, Tensor, Value};
use crate::verification::Verified;
use call_statistics::CallStatistics;
use encoding_cache::EncodingCache;
use kandinsky_models::{Component, Folder};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The graphs of one model folder on one runtime.
pub struct Networks {
    folder: Folder,
    runtime: Box<dyn Runtime>,
    verified: Verified,
    open: BTreeMap<Component, Box<dyn Graph>>,
    load: Duration,
    cancel: CancelToken,
    calls: CallStatistics,
    encodings: EncodingCache,
    course: Course,
    base: Option<u64>,
    notes: Vec<String>,
}

/// The plan that is followed, and how far it is.
#[derive(Default)]
struct Course {
    steps: Vec<Step>,
    at: Option<usize>,
    /// Graphs opened since it began.
    opened: usize,
}

impl Networks {
    /// The graphs of `folder` on `runtime`; none is opened yet.
    pub fn new(folder: Folder, runtime: Box<dyn Runtime>) -> Self {
        let verified = Verified::new();
        let cancel = CancelToken::default();
        let (load, course) = (Duration::ZERO, Course::default());
        let (calls, encodings) = (CallStatistics::default(), EncodingCache::default());
        Self {
            folder,
            runtime,
            verified,
            open: BTreeMap::new(),
            load,
            cancel,
            calls,
            encodings,
            course,
            base: None,
            notes: Vec::new(),
        }
    }

    /// Keeps what graphs answer to a prompt or a picture for the next call with the same inputs, or does not.
    pub fn keep_encodings(&mut self, keep: bool) {
        self.encodings.switch(keep);
    }

    /// Forgets what was kept so far.
    pub fn forget_encodings(&mut self) {
        self.encodings.forget();
    }

    /// The calls since the last time that this was asked.
    pub fn take_call_statistics(&mut self) -> CallStatistics {
        std::mem::take(&mut self.calls)
    }

    /// The model folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// UnetVariant runtime runs the graphs, with its version.
    pub fn runtime(&self) -> String {
        self.runtime.describe()
    }

    /// Names of the graphs that are open.
    pub fn opened(&self) -> Vec<Component> {
        self.open.keys().copied().collect()
    }

    /// Time spent on opening graphs so far.
    pub fn load_time(&self) -> Duration {
        self.load
    }

    /// From now on nothing is opened and nothing runs once `token` was used.
    pub fn cancel_with(&mut self, token: CancelToken) {
        self.cancel = token;
    }

    /// Closes every graph and gives back its memory.
    pub fn close(&mut self) {
        self.open.clear();
        runtime::trim();
    }

    /// From now on graphs are closed as `plan` says; one that it does not name is left open, and so is every one
    /// without a plan.
    pub fn follow(&mut self, plan: Option<&Plan>) {
        let steps = plan.map(|plan| plan.steps.clone()).unwrap_or_default();
        self.course = Course { steps, at: None, opened: 0 };
    }

    /// Opens the graphs that run first in a stage of the plan that is followed, and tells how many have been opened
    /// since it began.
    ///
    /// # Errors
    /// As [`Networks::open`].
    pub fn open_stage(&mut self, stage: Stage) -> Result<usize> {
        let from = self.course.at.unwrap_or(0);
        let step = self.course.steps.iter().skip(from).find(|step| step.stage == stage);
        let runs = step.map(|step| step.runs.clone()).unwrap_or_default();
        runs.into_iter().try_for_each(|component| self.open(component))?;
        Ok(self.course.opened)
    }

    /// What a graph takes of memory on this runtime.
    ///
    /// # Errors
    /// When the folder has no such graph or its file is not there.
    pub fn rates(&self, component: Component) -> Result<Rates> {
        let spec = self.folder.graph(component)?.clone();
        let path = self.folder.locate(&spec.graph)?;
        Ok(self.runtime.rates(&GraphSource { component, path, spec }))
    }

    /// Memory of the process without graphs, in bytes, as it was when none was open.
    pub fn base(&mut self) -> u64 {
        if self.open.is_empty() {
            // Reading tokenisers leaves far more behind than they keep.
            runtime::trim();
            self.base = system::resident().or(self.base);
        }
        self.base.unwrap_or(0)
    }

    /// What the caller should know of the graphs opened since the last call.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Goes on to the next turn of the plan in which a graph runs, and closes what is not open in it.
    fn turn_to(&mut self, component: Component) {
        let from = self.course.at.unwrap_or(0);
        let mut coming = self.course.steps.iter().enumerate().skip(from);
        let Some((at, step)) = coming.find(|(_, step)| step.runs.contains(&component)) else { return };
        if self.course.at == Some(at) {
            return;
        }
        let before = self.open.len();
        self.open.retain(|open, _| step.open.contains(open));
        if self.open.len() < before {
            runtime::trim();
        }
        self.course.at = Some(at);
    }

    /// Opens a graph unless it is open.
    ///
    /// # Errors
    /// When the folder has no such graph, its bytes are not the manifest's, the runtime refuses it, or the
    /// caller cancelled.
    pub fn open(&mut self, component: Component) -> Result<()> {
        self.cancel.check()?;
        self.turn_to(component);
        if self.open.contains_key(&component) {
            return Ok(());
        }
        let start = Instant::now();
        let spec = self.folder.graph(component)?.clone();
        let path = self.verified.check(&self.folder, &spec.graph)?;
        if let Some(data) = &spec.data {
            self.verified.check(&self.folder, data)?;
        }
        self.folder.check_graph(&spec)?;
        let graph = self.runtime.open(&GraphSource { component, path, spec })?;
        self.open.insert(component, graph);
        self.course.opened += 1;
        self.notes.extend(self.runtime.notes());
        self.load += start.elapsed();
        Ok(())
    }

    /// Runs a graph and gives the outputs named.
    ///
    /// # Errors
    /// As [`Networks::open`], and when the runtime fails or the graph breaks its contract.
    pub fn call<const N: usize>(
        &mut self,
        component: Component,
        inputs: &[(&str, Input<'_>)],
        outputs: [&str; N],
    ) -> Result<[Value; N]> {
        let mut found = self.call_all(component, inputs)?;
        let mut missing = None;
        let values = outputs.map(|name| {
            let value = found.remove(name);
            value.unwrap_or_else(|| {
                missing = Some(name);
                Value::F32(Tensor::zeros(ndarray::IxDyn(&[0])))
            })
        });
        match missing {
            None => Ok(values),
            Some(name) => Err(Error::new(Kind::BadModel, format!("{component} has no output {name}"))),
        }
    }

    /// Lets a graph keep inputs for the runs to come, known by `id`, and says whether those may leave them out.
    ///
    /// # Errors
    /// As [`Networks::call`].
    pub fn keep(&mut self, component: Component, id: u64, inputs: &[(&str, Input<'_>)]) -> Result<bool> {
        self.open(component)?;
        self.open.get_mut(&component).map_or(Ok(false), |graph| graph.keep(id, inputs))
    }

    /// Runs a graph and gives all its outputs by name.
    ///
    /// # Errors
    /// As [`Networks::call`].
    pub fn call_all(
        &mut self,
        component: Component,
        inputs: &[(&str, Input<'_>)],
    ) -> Result<BTreeMap<String, Value>> {
        self.cancel.check()?;
        if let Some(known) = self.encodings.find(component, inputs) {
            return Ok(known.into_iter().collect());
        }
        self.open(component)?;
        let Some(graph) = self.open.get_mut(&component) else {
            return Err(Error::new(Kind::Internal, format!("{component} is not open")));
        };
        let outputs = graph.run(inputs)?;
        self.calls.note(component, inputs);
        self.encodings.keep(component, inputs, &outputs);
        Ok(outputs.into_iter().collect())
    }

    /// As [`Networks::call`], where every output named holds floats.
    ///
    /// # Errors
    /// As [`Networks::call`].
    pub fn call_f32<const N: usize>(
        &mut self,
        component: Component,
        inputs: &[(&str, Input<'_>)],
        outputs: [&str; N],
    ) -> Result<[Tensor; N]> {
        let values = self.call(component, inputs, outputs)?;
        let mut failure = None;
        let tensors = values.map(|value| {
            value.into_f32().unwrap_or_else(|error| {
                failure = Some(error);
                Tensor::zeros(ndarray::IxDyn(&[0]))
            })
        });
        failure.map_or(Ok(tensors), Err)
    }
}
