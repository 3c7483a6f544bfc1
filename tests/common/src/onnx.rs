//! ONNX files as tests look at them.

use kandinsky_models::onnx::{AttributeProto, ModelProto, NodeProto, data_type};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;

/// The element type of every value of a graph.
pub type Kinds = BTreeMap<String, i32>;

pub fn read(path: &Path) -> ModelProto {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

pub fn op(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap()
}

pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> &'a AttributeProto {
    let found = node.attribute.iter().find(|a| a.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("{} has no {name}", op(node)))
}

/// Element types from the inputs and weights on, node by node.
pub fn kinds(model: &ModelProto) -> Kinds {
    let graph = model.graph.as_ref().unwrap();
    let mut kinds = Kinds::new();
    for input in &graph.input {
        let kind = input.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().elem_type.unwrap();
        kinds.insert(input.name.clone().unwrap(), kind);
    }
    for tensor in &graph.initializer {
        kinds.insert(tensor.name.clone().unwrap(), tensor.data_type.unwrap());
    }
    for node in &graph.node {
        let kind = match op(node) {
            "Cast" => attribute(node, "to").i.unwrap().try_into().unwrap(),
            "Shape" | "ArgMax" | "ArgMin" => data_type::INT64,
            "Equal" => data_type::BOOL,
            _ => kinds[&node.input[0]],
        };
        for output in &node.output {
            kinds.insert(output.clone(), kind);
        }
    }
    for output in &graph.output {
        let kind = output.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap().elem_type.unwrap();
        assert_eq!(kinds[output.name.as_ref().unwrap()], kind, "{:?}", output.name);
    }
    kinds
}
