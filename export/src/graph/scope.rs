//! The build: a place in the checkpoint's tree of names, on the state that is being drawn.

use super::{Content, Dims, Element, Graph, Initializer, Number, Value, port, port_dims};
use crate::rewrites::{GraphStyle, Rewrite};
use crate::target::{TargetRules, rules};
use crate::weights::Weights;
use crate::{Error, Result};
use kandinsky_models::manifest::Dtype;
use kandinsky_models::onnx::{AttributeProto, NodeProto};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

/// What all scopes of one drawing share.
pub(super) struct GraphState<'a> {
    pub(super) weights: Option<&'a dyn Weights>,
    pub(super) style: GraphStyle,
    pub(super) graph: RefCell<Graph>,
    /// How often each name was given, so that the next is another.
    pub(super) names: RefCell<BTreeMap<String, usize>>,
    /// What the elements of every value are.
    pub(super) elements: RefCell<BTreeMap<String, Element>>,
}

/// A place in the tree of names: `w.at("attn").at("to_q")` reaches `attn.to_q.weight`.
#[derive(Clone)]
pub struct Scope<'a> {
    pub(super) state: &'a GraphState<'a>,
    path: String,
    wide: bool,
    multiple: usize,
}

impl<'a> Scope<'a> {
    /// The top of the tree, for constants that all places share.
    pub fn root(&self) -> Self {
        Self { path: String::new(), ..self.clone() }
    }

    pub(super) fn on(state: &'a GraphState<'a>) -> Self {
        Self { state, path: String::new(), wide: false, multiple: 1 }
    }

    /// A place below this one.
    pub fn at(&self, part: impl Display) -> Self {
        let path = if self.path.is_empty() { part.to_string() } else { format!("{}.{part}", self.path) };
        Self { path, ..self.clone() }
    }

    /// What the graph is drawn for.
    pub fn target(&self) -> &'static TargetRules {
        rules(self.state.style.target)
    }

    /// Whether it is drawn with a rewrite.
    pub fn has(&self, rewrite: Rewrite) -> bool {
        self.state.style.rewrites.has(rewrite)
    }

    /// The same place, where sides of pictures are multiples of `multiple`.
    pub fn sides(&self, multiple: usize) -> Self {
        Self { multiple, ..self.clone() }
    }

    /// What sides of pictures are multiples of here.
    pub fn multiple(&self) -> usize {
        self.multiple
    }

    /// The same place, where floats stay f32 whatever the target.
    pub fn wide(&self) -> Self {
        Self { wide: true, ..self.clone() }
    }

    /// The floats of weights and constants that are asked for here.
    pub fn float(&self) -> Element {
        if self.target().f16 && !self.wide { Element::F16 } else { Element::F32 }
    }

    /// x in the floats of this place.
    pub fn in_place(&self, x: &Value) -> Value {
        let number = if self.float() == Element::F16 { Number::F16 } else { Number::F32 };
        if x.element() == self.float() { x.clone() } else { self.cast(x, number) }
    }

    /// An input of the graph; `shape` such as `batch, 4, 8*h, 8*w`.
    ///
    /// # Errors
    /// When there is such an input already.
    pub fn input(&self, name: &str, dtype: Dtype, shape: &str) -> Result<Value> {
        let mut graph = self.state.graph.borrow_mut();
        if graph.inputs.iter().any(|known| known.name == name) {
            return Err(graph.wrong(format!("the input {name} is drawn twice")));
        }
        let port = port(name, dtype, shape);
        let dims = port_dims(&port);
        graph.inputs.push(port);
        drop(graph);
        Ok(match dtype {
            Dtype::F32 => self.in_place(&self.known_as(name, dims, Element::F32)),
            Dtype::I64 => self.known_as(name, dims, Element::I64),
        })
    }

    /// An output of the graph; its sides must agree with what is known of the value's.
    ///
    /// # Errors
    /// When they do not, or the value is not a node's result.
    pub fn output(&self, name: &str, value: &Value, shape: &str) -> Result<()> {
        let value = &self.wide().in_place(value);
        let mut graph = self.state.graph.borrow_mut();
        let port = port(name, Dtype::F32, shape);
        check_dims(&graph, name, value, &port_dims(&port))?;
        graph.finish(&value.name, port)
    }

    /// As [`Scope::output`], of integers.
    ///
    /// # Errors
    /// As [`Scope::output`].
    pub fn output_i64(&self, name: &str, value: &Value, shape: &str) -> Result<()> {
        let mut graph = self.state.graph.borrow_mut();
        let port = port(name, Dtype::I64, shape);
        check_dims(&graph, name, value, &port_dims(&port))?;
        graph.finish(&value.name, port)
    }

    /// A tensor of the checkpoint, as it is stored.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Value> {
        self.tensor_as(name, shape, shape)
    }

    /// A tensor of the checkpoint whose elements are read with other sides.
    ///
    /// # Errors
    /// As [`Scope::tensor`].
    pub fn tensor_as(&self, name: &str, shape: &[usize], sides: &[usize]) -> Result<Value> {
        let full = self.ask(name, shape)?;
        self.initializer(&full.clone(), sides, Content::Rows(vec![full]))
    }

    /// A matrix \[out, in\] of the checkpoint with its sides exchanged: (in, out), as MatMul wants it.
    ///
    /// # Errors
    /// As [`Scope::tensor`].
    pub fn transposed(&self, name: &str, [rows, columns]: [usize; 2]) -> Result<Value> {
        let full = self.ask(name, &[rows, columns])?;
        self.initializer(&format!("{full}.transposed"), &[columns, rows], Content::Transposed(full))
    }

    /// Tensors of the checkpoint under one another: places below this one, each with its number of rows
    /// of the sides `row`.
    ///
    /// # Errors
    /// As [`Scope::tensor`].
    pub fn stacked(&self, name: &str, parts: &[(String, usize)], row: &[usize]) -> Result<Value> {
        let mut names = Vec::new();
        let mut sides = vec![0];
        sides.extend_from_slice(row);
        for (part, rows) in parts {
            let mut shape = vec![*rows];
            shape.extend_from_slice(row);
            names.push(self.at(part).ask(name, &shape)?);
            sides.iter_mut().take(1).for_each(|all| *all += rows);
        }
        self.initializer(&self.at("stacked").full(name), &sides, Content::Rows(names))
    }

    /// Says that a tensor belongs to the checkpoint although nothing reads it.
    ///
    /// # Errors
    /// As [`Scope::tensor`].
    pub fn unread(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.ask(name, shape).map(|_| ())
    }

    /// Floats of the drawing.
    ///
    /// # Errors
    /// When the name was given to something else.
    pub fn floats(&self, name: &str, sides: &[usize], values: Vec<f32>) -> Result<Value> {
        self.initializer(&self.full(name), sides, Content::Floats(values))
    }

    /// Integers of the drawing (1 axis), under a name of their own.
    ///
    /// # Errors
    /// When the name was given to something else.
    pub fn integers(&self, name: &str, values: Vec<i64>) -> Result<Value> {
        self.initializer(&self.full(name), &[values.len()], Content::Ints(values))
    }

    /// A number that broadcasts.
    ///
    /// # Errors
    /// Never: equal numbers share a name.
    pub fn scalar(&self, value: f32) -> Result<Value> {
        self.initializer(&format!("{} {value}", self.float_name()), &[], Content::Floats(vec![value]))
    }

    /// The same float `count` times (1 axis).
    ///
    /// # Errors
    /// Never: equal lists share a name.
    pub fn filled(&self, value: f32, count: usize) -> Result<Value> {
        self.initializer(
            &format!("{}[{value}; {count}]", self.float_name()),
            &[count],
            Content::Floats(vec![value; count]),
        )
    }

    /// A list of floats (1 axis).
    ///
    /// # Errors
    /// Never: equal lists share a name.
    pub fn numbers(&self, values: &[f32]) -> Result<Value> {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("{}[{}]", self.float_name(), text.join(","));
        self.initializer(&name, &[values.len()], Content::Floats(values.to_vec()))
    }

    /// A list of integers (1 axis).
    ///
    /// # Errors
    /// Never: equal lists share a name.
    pub fn ints(&self, values: &[i64]) -> Result<Value> {
        let text: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("i64[{}]", text.join(","));
        self.initializer(&name, &[values.len()], Content::Ints(values.to_vec()))
    }

    /// The side of a value that the drawing has to know.
    ///
    /// # Errors
    /// When it is known only when the graph runs.
    pub fn known(&self, x: &Value, axis: usize) -> Result<usize> {
        let side = x.dims().get(axis).copied().flatten();
        side.ok_or_else(|| self.wrong(format!("the side {axis} of {:?} is not known", x.dims())))
    }

    /// An error of this drawing.
    pub fn wrong(&self, reason: impl Display) -> Error {
        self.state.graph.borrow().wrong(format!("{}: {reason}", self.path))
    }

    /// A value that a node of the kind `op` is about to give.
    pub(super) fn result(&self, op: &str, dims: Dims, element: Element) -> Value {
        self.known_as(&self.fresh(op), dims, element)
    }

    fn known_as(&self, name: &str, dims: Dims, element: Element) -> Value {
        self.state.elements.borrow_mut().insert(name.to_owned(), element);
        Value::new(name, dims, element)
    }

    fn float_name(&self) -> &'static str {
        if self.float() == Element::F16 { "f16" } else { "f32" }
    }

    /// Adds the node that gives `results`; it is called after the first of them.
    pub(super) fn push(&self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, results: &[Value]) {
        self.push_in(None, op, inputs, attribute, results);
    }

    /// As [`Scope::push`], of an operator of another domain.
    pub(super) fn push_in(
        &self,
        domain: Option<&str>,
        op: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
        results: &[Value],
    ) {
        let output: Vec<String> = results.iter().map(|value| value.name.to_string()).collect();
        self.state.graph.borrow_mut().nodes.push(NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            name: output.first().cloned(),
            output,
            op_type: Some(op.to_owned()),
            attribute,
            domain: domain.map(str::to_owned),
        });
    }

    pub(super) fn initializer(&self, name: &str, sides: &[usize], content: Content) -> Result<Value> {
        let element = if matches!(content, Content::Ints(_)) { Element::I64 } else { self.float() };
        let value = self.known_as(name, sides.iter().copied().map(Some).collect(), element);
        let mut graph = self.state.graph.borrow_mut();
        let new = Initializer { name: name.to_owned(), dims: sides.to_vec(), element, content };
        match graph.initializers.iter().find(|known| known.name == name) {
            Some(known) if *known == new => return Ok(value),
            Some(_) => return Err(graph.wrong(format!("the constant {name} is drawn in two ways"))),
            None => graph.initializers.push(new),
        }
        Ok(value)
    }

    /// Notes that a tensor is needed and checks its shape.
    pub(super) fn ask(&self, name: &str, shape: &[usize]) -> Result<String> {
        let full = self.full(name);
        if let Some(weights) = self.state.weights {
            check_tensor(weights, &full, shape)?;
        }
        let mut graph = self.state.graph.borrow_mut();
        match graph.asked.insert(full.clone(), shape.to_vec()) {
            Some(before) if before != shape => {
                Err(graph.wrong(format!("{full} is asked for as {before:?} and as {shape:?}")))
            }
            _ => Ok(full),
        }
    }

    fn full(&self, name: &str) -> String {
        self.at(name).path
    }

    pub(super) fn fresh(&self, op: &str) -> String {
        let name = if self.path.is_empty() { op.to_owned() } else { format!("{}/{op}", self.path) };
        let mut names = self.state.names.borrow_mut();
        let count = names.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 { name } else { format!("{name}_{count}") }
    }
}

/// Checks a tensor of the checkpoint against the shape that the config gives it.
pub(super) fn check_tensor(weights: &dyn Weights, name: &str, expected: &[usize]) -> Result<()> {
    let component = || weights.component().to_owned();
    match weights.shape(name) {
        None => Err(Error::MissingTensor { component: component(), name: name.to_owned() }),
        Some(found) if found != expected => Err(Error::Shape {
            component: component(),
            name: name.to_owned(),
            found: found.to_vec(),
            expected: expected.to_vec(),
        }),
        Some(_) => Ok(()),
    }
}

fn check_dims(graph: &Graph, name: &str, value: &Value, port: &[Option<usize>]) -> Result<()> {
    let agree = |(a, b): (&Option<usize>, &Option<usize>)| a.is_none() || a == b;
    if value.dims.len() == port.len() && port.iter().zip(value.dims.iter()).all(agree) {
        return Ok(());
    }
    Err(graph.wrong(format!("the output {name} has the sides {:?}, its contract says {port:?}", value.dims)))
}

impl Graph {
    /// Gives the value `drawn` its name as an output.
    fn finish(&mut self, drawn: &str, port: kandinsky_models::manifest::Port) -> Result<()> {
        let name = port.name.clone();
        if !self.nodes.iter().any(|node| node.output.iter().any(|output| output == drawn)) {
            return Err(self.wrong(format!("the output {name} is no node's result")));
        }
        let ends = self.nodes.iter_mut().flat_map(|node| node.input.iter_mut().chain(&mut node.output));
        ends.filter(|end| *end == drawn).for_each(|end| end.clone_from(&name));
        self.outputs.push(port);
        Ok(())
    }
}
