//! A graph that runs only the shapes that its engine was built for: any other would build an engine, for
//! minutes, in the middle of a request.

use super::shapes::Shapes;
use super::{Graph, GraphSource};
use crate::error::Result;
use crate::tensor::{Input, Value};

/// The graph and its ranges.
pub struct Profiled {
    source: GraphSource,
    shapes: Shapes,
    graph: Box<dyn Graph>,
}

impl Profiled {
    /// Lets `graph` run the shapes of `shapes` alone.
    pub fn new(source: GraphSource, shapes: Shapes, graph: Box<dyn Graph>) -> Self {
        Self { source, shapes, graph }
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.shapes.check(self.source.component, &self.source.spec, name, shape)
    }
}

impl Graph for Profiled {
    fn run(&mut self, inputs: &[(&str, Input<'_>)]) -> Result<Vec<(String, Value)>> {
        inputs.iter().try_for_each(|(name, input)| self.check(name, input.shape()))?;
        self.graph.run(inputs)
    }

    fn keep(&mut self, id: u64, inputs: &[(&str, Input<'_>)]) -> Result<bool> {
        inputs.iter().try_for_each(|(name, input)| self.check(name, input.shape()))?;
        self.graph.keep(id, inputs)
    }
}
