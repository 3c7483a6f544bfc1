//! A graph under the pen: values, operations and weights, then a file.
//!
//! [`Graph::draw`] hands a [`Scope`] to a drawing function; the scope knows a place in the checkpoint's
//! tree of names, so that a weight is asked for by its last name and every node is called after the
//! place where it was drawn. [`Graph::write`] puts the result on disk.

mod model;
mod op;
mod scope;
mod write;

pub use op::Number;
pub use scope::Scope;

use crate::weights::Weights;
use crate::{Error, Result};
use kandinsky_models::manifest::{Dtype, Port};
use kandinsky_models::onnx::NodeProto;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The sides of a value; `None` where a side is known only when the graph runs.
pub type Dims = Vec<Option<usize>>;

/// A tensor that flows through a graph: an input, a weight, a constant or a node's result.
#[derive(Debug, Clone)]
pub struct Value {
    name: Rc<str>,
    dims: Rc<[Option<usize>]>,
}

impl Value {
    fn new(name: impl Into<Rc<str>>, dims: impl Into<Rc<[Option<usize>]>>) -> Self {
        Self { name: name.into(), dims: dims.into() }
    }

    /// Its sides.
    pub fn dims(&self) -> &[Option<usize>] {
        &self.dims
    }
}

/// A finished drawing: nodes in order, weights by name, and the contract at the border.
#[derive(Debug, Clone)]
pub struct Graph {
    name: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    nodes: Vec<NodeProto>,
    initializers: Vec<Initializer>,
    /// Every tensor of the checkpoint that was asked for, with the shape that it must have.
    asked: BTreeMap<String, Vec<usize>>,
    used: BTreeSet<String>,
}

/// A constant of the graph.
#[derive(Debug, Clone, PartialEq)]
struct Initializer {
    name: String,
    dims: Vec<usize>,
    content: Content,
}

impl Initializer {
    /// Whether it comes from the checkpoint.
    fn is_weight(&self) -> bool {
        matches!(self.content, Content::Rows(_) | Content::Transposed(_))
    }

    /// How many elements it has.
    fn count(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Where a constant's elements come from.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    /// Tensors of the checkpoint, one after the other.
    Rows(Vec<String>),
    /// One matrix of the checkpoint, rows and columns exchanged.
    Transposed(String),
    /// Floats of the drawing, never narrowed.
    Floats(Vec<f32>),
    /// Integers of the drawing.
    Ints(Vec<i64>),
}

impl Graph {
    /// Runs `pen` over an empty sheet. With `weights`, every tensor asked for is checked against them;
    /// without, any tensor is taken to be there.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, or the drawing contradicts itself.
    pub fn draw(
        name: &str,
        weights: Option<&dyn Weights>,
        pen: impl FnOnce(&Scope<'_>) -> Result<()>,
    ) -> Result<Self> {
        let graph = Self {
            name: name.to_owned(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            asked: BTreeMap::new(),
            used: BTreeSet::new(),
        };
        let sheet = scope::Sheet { weights, graph: RefCell::new(graph), names: RefCell::default() };
        pen(&Scope::root(&sheet))?;
        let mut graph = sheet.graph.into_inner();
        graph.used = graph.asked.keys().cloned().collect();
        Ok(graph)
    }

    /// The graph's name, which is its component's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the checkpoint's tensors that belong to this graph, whether or not its arithmetic reads
    /// them.
    pub fn used(&self) -> &BTreeSet<String> {
        &self.used
    }

    /// Every tensor of the checkpoint that belongs to this graph, with the shape that the config gives it.
    pub fn tensors(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.asked
    }

    /// What goes in.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What comes out.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::Drawing { graph: self.name.clone(), reason: reason.into() }
    }
}

/// Reads a port's shape such as `batch, 4, 8*h, 8*w`.
fn port(name: &str, dtype: Dtype, shape: &str) -> Port {
    let shape = shape.split(',').map(|side| side.trim().to_owned()).collect();
    Port { name: name.to_owned(), dtype, shape }
}

fn port_dims(port: &Port) -> Dims {
    (0..port.shape.len()).map(|axis| port.fixed(axis)).collect()
}
