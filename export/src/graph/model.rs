//! A drawing in ONNX's own terms: nodes, and the types at the border.

use super::Graph;
use crate::target::{TargetRules, rules};
use kandinsky_models::manifest::{Dtype, Port, Precision};
use kandinsky_models::onnx::{
    AttributeProto, CONTRIB, Dimension, GraphProto, IR_VERSION, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type, data_type,
};
use std::collections::BTreeSet;

impl Graph {
    /// The file without its weights' bytes.
    pub(super) fn model(&self, initializer: Vec<TensorProto>, precision: Precision) -> ModelProto {
        let node = if self.widens(precision) { self.widened() } else { self.nodes.clone() };
        let graph = GraphProto {
            node,
            name: Some(self.name.clone()),
            initializer,
            input: self.inputs.iter().map(value_info).collect(),
            output: self.outputs.iter().map(value_info).collect(),
            sparse_initializer: vec![],
        };
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(graph),
            opset_import: opsets(rules(self.target)),
            metadata_props: vec![],
            functions: vec![],
        }
    }

    /// Whether weights are stored in f16 and made f32 when the graph is opened.
    pub(super) fn widens(&self, precision: Precision) -> bool {
        !rules(self.target).f16 && precision == Precision::F16
    }

    /// The nodes, with narrow weights made wide: at the start, or, where a weight is a table of which
    /// rows are taken, after the taking, so that the table itself is never held in f32.
    fn widened(&self) -> Vec<NodeProto> {
        let (tables, others): (Vec<_>, Vec<_>) =
            self.initializers.iter().filter(|i| i.narrows()).partition(|i| self.is_table(&i.name));
        let tables: BTreeSet<&str> = tables.iter().map(|i| i.name.as_str()).collect();
        let mut nodes: Vec<NodeProto> = others.iter().map(|i| widen(&i.name)).collect();
        for node in &self.nodes {
            let mut node = node.clone();
            let is_table = node.input.first().is_some_and(|name| tables.contains(name.as_str()));
            let taken = if is_table { node.output.first().cloned() } else { None };
            if taken.is_some() {
                let ends = node.input.iter_mut().take(1).chain(node.output.iter_mut().take(1));
                ends.for_each(|end| *end = narrow(end));
            }
            nodes.push(node);
            nodes.extend(taken.map(|name| widen(&name)));
        }
        nodes
    }

    /// Whether a weight is read by nothing but [`gather`](super::Scope::gather).
    fn is_table(&self, name: &str) -> bool {
        let mut readers =
            self.nodes.iter().filter(|node| node.input.iter().any(|input| input == name)).peekable();
        let gathers = |node: &NodeProto| {
            node.op_type.as_deref() == Some("Gather") && node.input.iter().filter(|i| *i == name).count() == 1
        };
        readers.peek().is_some() && readers.all(gathers)
    }
}

fn opsets(rules: &TargetRules) -> Vec<OperatorSetIdProto> {
    let set = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    std::iter::once(set("", rules.opset)).chain(rules.contrib.map(|version| set(CONTRIB, version))).collect()
}

/// What a narrow weight is called; its own name is that of the widened one.
pub(super) fn narrow(name: &str) -> String {
    format!("{name}.f16")
}

fn widen(name: &str) -> NodeProto {
    let to = AttributeProto {
        name: Some("to".to_owned()),
        i: Some(data_type::FLOAT.into()),
        r#type: Some(attribute_type::INT),
        ..AttributeProto::default()
    };
    NodeProto {
        input: vec![narrow(name)],
        output: vec![name.to_owned()],
        name: Some(format!("{name}/Cast")),
        op_type: Some("Cast".to_owned()),
        attribute: vec![to],
        domain: None,
    }
}

fn value_info(port: &Port) -> ValueInfoProto {
    let elem_type = match port.dtype {
        Dtype::F32 => data_type::FLOAT,
        Dtype::I64 => data_type::INT64,
    };
    let side = |side: &String| match side.parse() {
        Ok(number) => Dimension { dim_value: Some(number), dim_param: None },
        Err(_) => Dimension { dim_value: None, dim_param: Some(side.clone()) },
    };
    let shape = TensorShapeProto { dim: port.shape.iter().map(side).collect() };
    let tensor_type = Some(TensorTypeProto { elem_type: Some(elem_type), shape: Some(shape) });
    ValueInfoProto { name: Some(port.name.clone()), r#type: Some(TypeProto { tensor_type }) }
}
