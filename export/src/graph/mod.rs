//! A graph under the build: values, operations and weights, then a file.
//!
//! [`Graph::draw`] hands a [`Scope`] to a drawing function; the scope knows a place in the checkpoint's
//! tree of names, so that a weight is asked for by its last name and every node is called after the
//! place where it was drawn. [`Graph::write`] puts the result on disk.

mod contrib;
mod fold;
mod model;
mod op;
mod picture;
mod scope;
mod types;
mod write;

pub use fold::Folded;
pub use scope::Scope;

use crate::rewrites::GraphStyle;
use crate::weights::Weights;
use crate::{Error, Result};
use kandinsky_models::manifest::{Dtype, Port, Target};
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
    element: Element,
}

/// What a value's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// 16-bit float; only in graphs for GPUs.
    F16,
    /// 64-bit integer.
    I64,
    /// Boolean.
    Bool,
}

/// Numeric types that [`Scope::cast`] converts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 64-bit integer.
    I64,
}

impl Element {
    fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }
}

impl Value {
    fn new(name: impl Into<Rc<str>>, dims: impl Into<Rc<[Option<usize>]>>, element: Element) -> Self {
        Self { name: name.into(), dims: dims.into(), element }
    }

    /// Its sides.
    pub fn dims(&self) -> &[Option<usize>] {
        &self.dims
    }

    /// What its elements are.
    pub fn element(&self) -> Element {
        self.element
    }
}

/// A finished drawing: nodes in order, weights by name, and the contract at the border.
#[derive(Debug, Clone)]
pub struct Graph {
    name: String,
    target: Target,
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
    element: Element,
    content: Content,
}

impl Initializer {
    /// Whether it comes from the checkpoint.
    fn is_weight(&self) -> bool {
        !matches!(self.content, Content::Floats(_) | Content::Ints(_))
    }

    /// Whether a folder of f16 stores it so: what is folded stays as it was computed.
    fn narrows(&self) -> bool {
        self.is_weight() && !matches!(self.content, Content::Fold(_))
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
    /// One kernel (out, in, k, k) of the checkpoint, its input channels last.
    ChannelsLast(String),
    /// Computed from tensors of the checkpoint, never narrowed in the file.
    Fold(fold::Fold),
    /// Floats of the drawing, never narrowed.
    Floats(Vec<f32>),
    /// Integers of the drawing.
    Ints(Vec<i64>),
}

impl Graph {
    /// Runs `build` over an empty state. With `weights`, every tensor asked for is checked against them;
    /// without, any tensor is taken to be there.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape, or the drawing contradicts itself.
    pub fn draw(
        name: &str,
        weights: Option<&dyn Weights>,
        build: impl FnOnce(&Scope<'_>) -> Result<()>,
    ) -> Result<Self> {
        Self::draw_for(&GraphStyle::plain(), name, weights, build)
    }

    /// As [`Graph::draw`], in a style: values inside are f16 where it is for a GPU.
    ///
    /// # Errors
    /// As [`Graph::draw`], and when f16 meets f32.
    pub fn draw_for(
        style: &GraphStyle,
        name: &str,
        weights: Option<&dyn Weights>,
        build: impl FnOnce(&Scope<'_>) -> Result<()>,
    ) -> Result<Self> {
        let graph = Self {
            name: name.to_owned(),
            target: style.target,
            inputs: Vec::new(),
            outputs: Vec::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            asked: BTreeMap::new(),
            used: BTreeSet::new(),
        };
        let state = scope::GraphState {
            weights,
            style: style.clone(),
            graph: RefCell::new(graph),
            names: RefCell::default(),
            elements: RefCell::default(),
        };
        build(&Scope::on(&state))?;
        types::check(&state)?;
        let mut graph = state.graph.into_inner();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

    use super::*;

    const F32: Dtype = Dtype::F32;

    fn drawn(build: impl FnOnce(&Scope<'_>) -> Result<()>) -> Result<Graph> {
        Graph::draw("test", None, build)
    }

    #[test]
    fn sides_follow_from_the_operators() {
        drawn(|w| {
            let x = w.input("x", F32, "batch, 6, 2*h, 2*w")?;
            assert_eq!(x.dims(), [None, Some(6), None, None]);
            assert_eq!(w.reshape(&x, &[0, 3, -1])?.dims(), [None, Some(3), None]);
            assert_eq!(w.halve(&x)?.dims(), x.dims());
            let t = w.transpose(&x, &[0, 2, 3, 1])?;
            assert_eq!(t.dims(), [None, None, None, Some(6)]);
            assert_eq!(w.matmul(&t, &w.tensor("m", &[6, 5])?)?.dims(), [None, None, None, Some(5)]);
            assert_eq!(w.reshape(&t, &[0, 0, 0, 2, -1])?.dims(), [None, None, None, Some(2), Some(3)]);
            assert_eq!(w.concat(&[&x, &x], 1)?.dims(), [None, Some(12), None, None]);
            let parts = w.split(&x, 1, &[1, 2, 3])?;
            assert_eq!(
                parts.iter().map(|p| p.dims().get(1).copied().flatten()).sum::<Option<usize>>(),
                Some(6)
            );
            let gain = w.tensor_as("gain", &[6], &[6, 1, 1])?;
            assert_eq!(w.mul(&x, &gain)?.dims(), x.dims());
            let fixed = w.tensor("fixed", &[2, 6, 4, 4])?;
            assert_eq!(w.enlarge(&fixed, 2)?.dims(), [2, 6, 8, 8].map(Some));
            assert_eq!(w.reduce_sum(&fixed, 1)?.dims(), [2, 4, 4].map(Some));
            assert_eq!(w.argmax(&fixed, true).dims(), [2, 6, 4, 1].map(Some));
            assert_eq!(w.unsqueeze(&gain, &[0])?.dims(), [1, 6, 1, 1].map(Some));
            assert_eq!(w.part(&fixed, 1, 3, 1)?.dims(), [2, 2, 4, 4].map(Some));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn contradictions_are_errors_that_name_the_place() {
        type Pen = fn(&Scope<'_>, &Value) -> Result<()>;
        let wrong: [Pen; 9] = [
            |w, x| w.add(x, &w.tensor("five", &[5])?).map(drop),
            |w, x| w.matmul(x, &w.tensor("m", &[5, 5])?).map(drop),
            |w, x| w.concat(&[x, &w.tensor("other", &[2, 3])?], 0).map(drop),
            |w, x| w.split(x, 1, &[1, 2]).map(drop),
            |w, x| w.transpose(x, &[0, 2]).map(drop),
            |w, x| w.known(x, 0).map(drop),
            |w, x| w.output("y", &w.sigmoid(x), "batch, 5"),
            |w, x| w.output("y", x, "batch, 4"),
            |w, _| w.input("x", F32, "batch").map(drop),
        ];
        for (i, build) in wrong.into_iter().enumerate() {
            let result = drawn(|w| {
                let x = w.input("x", F32, "batch, 4")?;
                build(&w.at("some.place"), &x)
            });
            assert!(matches!(result, Err(Error::Drawing { .. })), "{i}: {result:?}");
        }
        let result = drawn(|w| w.at("a").at("b").concat(&[], 0).map(drop));
        assert!(result.unwrap_err().to_string().contains("a.b"));
    }

    #[test]
    fn one_tensor_has_one_shape_and_one_constant_one_value() {
        let result = drawn(|w| w.tensor("x", &[1]).and_then(|_| w.unread("x", &[2])));
        assert!(matches!(result, Err(Error::Drawing { .. })), "{result:?}");
        let result =
            drawn(|w| w.floats("c", &[1], vec![1.0]).and_then(|_| w.floats("c", &[1], vec![2.0])).map(drop));
        assert!(matches!(result, Err(Error::Drawing { .. })), "{result:?}");
        let graph = drawn(|w| w.ints(&[1, 2]).and_then(|_| w.ints(&[1, 2])).map(drop)).unwrap();
        assert_eq!(graph.initializers.len(), 1);
    }
}
