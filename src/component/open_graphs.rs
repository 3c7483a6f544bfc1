//! The graphs that are open, under the plan of a request: a graph is opened when it first runs, and closed where the plan
//! no longer has it.

use crate::error::{Error, Kind, Result};
use crate::opening::VerifiedGraphs;
use crate::progress::Stage;
use crate::residency::{Coefficients, Plan, Step};
use crate::runtime::{self, Graph, Runtime, RuntimeEntry};
use crate::status::StatusBoard;
use crate::system;
use kandinsky_models::Component;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The graphs of one model folder on one runtime, of which some are open.
pub(super) struct OpenGraphs {
    graphs: VerifiedGraphs,
    runtime: Box<dyn Runtime>,
    open: BTreeMap<Component, Box<dyn Graph>>,
    cursor: Cursor,
    load: Duration,
    base: Option<u64>,
    notes: Vec<String>,
    board: StatusBoard,
}

/// The plan that is followed, and how far it is.
#[derive(Default)]
struct Cursor {
    steps: Vec<Step>,
    at: Option<usize>,
    /// Graphs opened since it began.
    opened: usize,
}

impl Cursor {
    fn coming(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().skip(self.at.unwrap_or(0))
    }
}

impl OpenGraphs {
    pub(super) fn new(graphs: VerifiedGraphs, runtime: Box<dyn Runtime>) -> Self {
        let (open, cursor) = (BTreeMap::new(), Cursor::default());
        Self {
            graphs,
            runtime,
            open,
            cursor,
            load: Duration::ZERO,
            base: None,
            notes: Vec::new(),
            board: StatusBoard::default(),
        }
    }

    pub(super) const fn graphs(&self) -> &VerifiedGraphs {
        &self.graphs
    }

    pub(super) const fn graphs_mut(&mut self) -> &mut VerifiedGraphs {
        &mut self.graphs
    }

    pub(super) fn runtime(&self) -> String {
        self.runtime.describe()
    }

    pub(super) fn runtime_entry(&self) -> &'static RuntimeEntry {
        self.runtime.entry()
    }

    /// Where it is noted which graphs are open, for those who must not wait for them.
    pub(super) fn board(&self) -> StatusBoard {
        self.board.clone()
    }

    pub(super) fn names(&self) -> Vec<Component> {
        self.open.keys().copied().collect()
    }

    pub(super) const fn load_time(&self) -> Duration {
        self.load
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn coefficients(&mut self, component: Component) -> Result<Coefficients> {
        Ok(self.runtime.coefficients(&self.graphs.checked(component)?.source))
    }

    /// Memory of the process as it was when no graph was open; 0 where the system does not tell.
    pub(super) fn base(&mut self) -> u64 {
        if self.open.is_empty() {
            // Reading tokenisers leaves far more behind than they keep.
            runtime::trim();
            self.base = system::resident().or(self.base);
        }
        self.base.unwrap_or(0)
    }

    /// From now on graphs are closed as `plan` says; without a plan none is.
    pub(super) fn follow(&mut self, plan: Option<&Plan>) {
        let steps = plan.map_or_else(Vec::new, |plan| plan.steps.clone());
        self.cursor = Cursor { steps, at: None, opened: 0 };
    }

    /// The graphs that run first in a stage of the plan.
    pub(super) fn first_of(&self, stage: Stage) -> BTreeSet<Component> {
        let step = self.cursor.coming().find(|(_, step)| step.stage == stage);
        step.map_or_else(BTreeSet::new, |(_, step)| step.runs.clone())
    }

    /// Graphs opened since the plan began.
    pub(super) const fn opened_since(&self) -> usize {
        self.cursor.opened
    }

    /// The open graph of a component, opened now unless it is.
    pub(super) fn open(&mut self, component: Component) -> Result<&mut dyn Graph> {
        self.advance_to(component);
        if !self.open.contains_key(&component) {
            let start = Instant::now();
            let graph = self.runtime.open(&self.graphs.source(component)?)?;
            self.open.insert(component, graph);
            self.board.note_opened(self.open.keys().copied());
            self.cursor.opened += 1;
            self.notes.extend(self.runtime.notes());
            self.load += start.elapsed();
        }
        match self.open.get_mut(&component) {
            Some(graph) => Ok(graph.as_mut()),
            None => Err(Error::new(Kind::Internal, format!("{component} was opened and is not open"))),
        }
    }

    /// Goes on to the next step of the plan in which a graph runs, and closes what is not open in it.
    fn advance_to(&mut self, component: Component) {
        let step = self.cursor.coming().find(|(_, step)| step.runs.contains(&component));
        let Some((at, step)) = step else { return };
        if self.cursor.at == Some(at) {
            return;
        }
        let before = self.open.len();
        self.open.retain(|open, _| step.open.contains(open));
        if self.open.len() < before {
            self.board.note_opened(self.open.keys().copied());
            runtime::trim();
        }
        self.cursor.at = Some(at);
    }

    /// Closes every graph and gives back its memory.
    pub(super) fn close(&mut self) {
        self.open.clear();
        self.board.note_opened([]);
        runtime::trim();
    }
}
