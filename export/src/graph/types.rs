//! Strong typing: an operation's floats are all of one width, and every value is some node's result.

use super::scope::GraphState;
use super::{Element, Graph};
use crate::Result;
use kandinsky_models::onnx::NodeProto;
use std::collections::{BTreeMap, BTreeSet};

/// Operators that read floats of another width beside their own: sizes, and the normalisations of ONNX
/// Runtime, whose gains are f32.
const MIXED: [&str; 4] = ["Cast", "Resize", "GroupNorm", "SkipGroupNorm"];

/// Checks every node of a finished drawing.
pub(super) fn check(state: &GraphState<'_>) -> Result<()> {
    let (graph, elements) = (state.graph.borrow(), state.elements.borrow());
    let inputs = graph.inputs.iter().map(|port| port.name.as_str());
    let constants = graph.initializers.iter().map(|initializer| initializer.name.as_str());
    let mut known: BTreeSet<&str> = inputs.chain(constants).collect();
    for node in &graph.nodes {
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str()))
        {
            return Err(wrong(&graph, node, &format!("reads {name} before it is there")));
        }
        if !MIXED.contains(&node.op_type.as_deref().unwrap_or_default()) && mixes(node, &elements) {
            return Err(wrong(&graph, node, "reads f16 and f32"));
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    Ok(())
}

fn mixes(node: &NodeProto, elements: &BTreeMap<String, Element>) -> bool {
    let mut floats = node.input.iter().filter_map(|name| elements.get(name)).filter(|e| e.is_float());
    floats.next().is_some_and(|first| floats.any(|other| other != first))
}

fn wrong(graph: &Graph, node: &NodeProto, what: &str) -> crate::Error {
    graph.wrong(format!("{} {what}", node.name.as_deref().unwrap_or("a node")))
}
