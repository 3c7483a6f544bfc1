//! The networks as typed calls: tensors in, tensors out, no maths.
//!
//! [`Networks`] puts together the graphs that are open, what they answered before, how often they were called, and the
//! token that stops them. The functions beside it name inputs and outputs once.

pub mod call_statistics;
mod encoding_cache;
pub mod image_encoder;
pub mod movq;
mod open_graphs;
pub mod prior;
mod prompt_weights;
pub mod text;
pub mod unet;

use crate::error::{Error, Kind, Result};
use crate::opening::{GraphFacts, VerifiedGraphs};
use crate::progress::{CancelToken, Stage};
use crate::residency::{Coefficients, Plan};
use crate::runtime::{Runtime, RuntimeEntry};
use crate::status::StatusBoard;
use crate::tensor::{Input, Tensor, Value};
use call_statistics::CallStatistics;
use encoding_cache::{EncodingCache, Named};
use kandinsky_models::{Component, Folder};
use open_graphs::OpenGraphs;
use std::collections::BTreeMap;
use std::time::Duration;

/// The graphs of one model folder on one runtime.
pub struct Networks {
    graphs: OpenGraphs,
    encodings: EncodingCache,
    calls: CallStatistics,
    cancel: CancelToken,
}

impl Networks {
    /// The graphs of `folder` on `runtime`; none is opened yet.
    pub fn new(folder: Folder, runtime: Box<dyn Runtime>) -> Self {
        Self {
            graphs: OpenGraphs::new(VerifiedGraphs::new(folder), runtime),
            encodings: EncodingCache::default(),
            calls: CallStatistics::default(),
            cancel: CancelToken::default(),
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
    pub const fn folder(&self) -> &Folder {
        self.graphs.graphs().folder()
    }

    /// Which runtime runs the graphs, with its version.
    pub fn runtime(&self) -> String {
        self.graphs.runtime()
    }

    /// The row of the runtime in the table of runtimes.
    pub fn runtime_entry(&self) -> &'static RuntimeEntry {
        self.graphs.runtime_entry()
    }

    /// Names of the graphs that are open.
    pub fn opened(&self) -> Vec<Component> {
        self.graphs.names()
    }

    /// Where it is noted which graphs are open, for those who must not wait for the networks.
    pub fn board(&self) -> StatusBoard {
        self.graphs.board()
    }

    /// Time spent on opening graphs so far.
    pub const fn load_time(&self) -> Duration {
        self.graphs.load_time()
    }

    /// How many texts of graphs have been decoded so far: one a graph, whatever is drawn.
    pub const fn decoded(&self) -> u64 {
        self.graphs.graphs().decoded()
    }

    /// From now on nothing is opened and nothing runs once `token` was used.
    pub fn cancel_with(&mut self, token: CancelToken) {
        self.cancel = token;
    }

    /// Closes every graph and gives back its memory.
    pub fn close(&mut self) {
        self.graphs.close();
    }

    /// From now on graphs are closed as `plan` says; one that it does not name is left open, and so is every one
    /// without a plan.
    pub fn follow(&mut self, plan: Option<&Plan>) {
        self.graphs.follow(plan);
    }

    /// Opens the graphs that run first in a stage of the plan that is followed, and tells how many have been opened
    /// since it began.
    ///
    /// # Errors
    /// As [`Networks::open`].
    pub fn open_stage(&mut self, stage: Stage) -> Result<usize> {
        self.graphs.first_of(stage).into_iter().try_for_each(|component| self.open(component))?;
        Ok(self.graphs.opened_since())
    }

    /// What a graph takes of memory on this runtime.
    ///
    /// # Errors
    /// When the folder has no such graph, or its text is not the manifest's.
    pub fn coefficients(&mut self, component: Component) -> Result<Coefficients> {
        self.graphs.coefficients(component)
    }

    /// Numbers of a graph that its memory is estimated from.
    ///
    /// # Errors
    /// As [`Networks::rates`].
    pub fn facts(&mut self, component: Component) -> Result<GraphFacts> {
        Ok(self.graphs.graphs_mut().checked(component)?.facts)
    }

    /// Memory of the process without graphs, in bytes, as it was when none was open.
    pub fn base(&mut self) -> u64 {
        self.graphs.base()
    }

    /// What the caller should know of the graphs opened since the last call.
    pub fn notes(&mut self) -> Vec<String> {
        self.graphs.take_notes()
    }

    /// Opens a graph unless it is open.
    ///
    /// # Errors
    /// When the folder has no such graph, its bytes are not the manifest's, the runtime refuses it, or the
    /// caller cancelled.
    pub fn open(&mut self, component: Component) -> Result<()> {
        self.cancel.check()?;
        self.graphs.open(component).map(|_| ())
    }

    /// Lets a graph keep inputs for the runs to come, known by `id`, and says whether those may leave them out.
    ///
    /// # Errors
    /// As [`Networks::call`].
    pub fn keep(&mut self, component: Component, id: u64, inputs: &[(&str, Input<'_>)]) -> Result<bool> {
        self.cancel.check()?;
        self.graphs.open(component)?.keep(id, inputs)
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
        let mut found = self.run(component, inputs)?;
        let mut take = |name: &str| {
            let place = found.iter().position(|(known, _)| known == name).ok_or_else(|| {
                Error::new(
                    Kind::BadModel,
                    format!("{component} has no output {name}; export the model again"),
                )
            })?;
            Ok(found.swap_remove(place).1)
        };
        let values = outputs.iter().map(|name| take(name)).collect::<Result<Vec<_>>>()?;
        as_many(values)
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
        as_many(values.into_iter().map(Value::into_f32).collect::<Result<Vec<_>>>()?)
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
        Ok(self.run(component, inputs)?.into_iter().collect())
    }

    fn run(&mut self, component: Component, inputs: &[(&str, Input<'_>)]) -> Result<Named> {
        self.cancel.check()?;
        if let Some(known) = self.encodings.find(component, inputs) {
            return Ok(known);
        }
        let outputs = self.graphs.open(component)?.run(inputs)?;
        self.calls.note(component, inputs);
        self.encodings.keep(component, inputs, &outputs);
        Ok(outputs)
    }
}

/// The items as an array of the length that was asked for.
fn as_many<T, const N: usize>(items: Vec<T>) -> Result<[T; N]> {
    <[T; N]>::try_from(items).map_err(|items| {
        Error::new(Kind::Internal, format!("{} outputs came where {N} were asked", items.len()))
    })
}
