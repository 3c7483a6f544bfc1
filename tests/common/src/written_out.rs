//! Operators of ONNX Runtime's own domain written out in standard ones, from their documentation: what the
//! CUDA provider computes, where there is none.

use crate::onnx::{attribute, op};
use kandinsky_models::onnx::{
    AttributeProto, CONTRIB, ModelProto, NodeProto, TensorProto, attribute_type, data_type,
};

/// Writes out every node of the domain.
pub fn all(model: &mut ModelProto) {
    let graph = model.graph.as_mut().unwrap();
    let nodes = std::mem::take(&mut graph.node);
    let mut pen = Pen { nodes: Vec::new(), constants: Vec::new(), count: 0 };
    for node in nodes {
        if node.domain.as_deref() == Some(CONTRIB) { pen.write_out(&node) } else { pen.nodes.push(node) }
    }
    graph.node = pen.nodes;
    graph.initializer.extend(pen.constants);
    model.opset_import.retain(|set| set.domain.as_deref() == Some(""));
}

struct Pen {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    count: usize,
}

impl Pen {
    fn write_out(&mut self, node: &NodeProto) {
        let input = |i: usize| node.input[i].clone();
        let result = node.output[0].clone();
        match op(node) {
            "GroupNorm" => self.group_norm(node, &input(0), &result),
            "SkipGroupNorm" => {
                let sum = node.output[1].clone();
                self.to("Add", &[&input(0), &input(3)], vec![], &sum);
                self.group_norm(node, &sum, &result);
            }
            "NhwcConv" => {
                let x = self.node("Transpose", &[&input(0)], vec![ints("perm", &[0, 3, 1, 2])]);
                let kernel = self.node("Transpose", &[&input(1)], vec![ints("perm", &[0, 3, 1, 2])]);
                let y = self.node("Conv", &[&x, &kernel, &input(2)], node.attribute.clone());
                self.to("Transpose", &[&y], vec![ints("perm", &[0, 2, 3, 1])], &result);
            }
            "QuickGelu" => {
                let alpha = self.half(attribute(node, "alpha").f.unwrap());
                let gate = self.node("Mul", &[&input(0), &alpha], vec![]);
                let gate = self.node("Sigmoid", &[&gate], vec![]);
                self.to("Mul", &[&input(0), &gate], vec![], &result);
            }
            "MultiHeadAttention" => self.attention(node, &result),
            other => panic!("{other}"),
        }
    }

    /// Sums and gains in f32, as the kernel has them.
    fn group_norm(&mut self, node: &NodeProto, x: &str, result: &str) {
        let groups = attribute(node, "groups").i.unwrap();
        let x = self.node("Cast", &[x], vec![int("to", data_type::FLOAT.into())]);
        let planes = self.node("Transpose", &[&x], vec![ints("perm", &[0, 3, 1, 2])]);
        let shape = self.ints(&[0, groups, -1]);
        let rows = self.node("Reshape", &[&planes, &shape], vec![]);
        let count = usize::try_from(groups).unwrap();
        let (ones, zeros) = (self.floats(&vec![1.0; count]), self.floats(&vec![0.0; count]));
        let epsilon = attribute(node, "epsilon").clone();
        let rows = self.node("InstanceNormalization", &[&rows, &ones, &zeros], vec![epsilon]);
        let shape = self.node("Shape", &[&planes], vec![]);
        let planes = self.node("Reshape", &[&rows, &shape], vec![]);
        let y = self.node("Transpose", &[&planes], vec![ints("perm", &[0, 2, 3, 1])]);
        let y = self.node("Mul", &[&y, &node.input[1]], vec![]);
        let mut y = self.node("Add", &[&y, &node.input[2]], vec![]);
        if attribute(node, "activation").i == Some(1) {
            let gate = self.node("Sigmoid", &[&y], vec![]);
            y = self.node("Mul", &[&y, &gate], vec![]);
        }
        self.to("Cast", &[&y], vec![int("to", data_type::FLOAT16.into())], result);
    }

    /// softmax(q·kᵀ/√N)·v, heads side by side in rows; scores in f32.
    fn attention(&mut self, node: &NodeProto, result: &str) {
        let heads = attribute(node, "num_heads").i.unwrap();
        let shape = self.ints(&[0, 0, heads, -1]);
        let by_head = |pen: &mut Self, x: &str, order: &[i64]| {
            let x = pen.node("Cast", &[x], vec![int("to", data_type::FLOAT.into())]);
            let x = pen.node("Reshape", &[&x, &shape], vec![]);
            pen.node("Transpose", &[&x], vec![ints("perm", order)])
        };
        let q = by_head(self, &node.input[0], &[0, 2, 1, 3]);
        let k = by_head(self, &node.input[1], &[0, 2, 3, 1]);
        let v = by_head(self, &node.input[2], &[0, 2, 1, 3]);
        let width = self.node("Shape", &[&q], vec![int("start", 3)]);
        let width = self.node("Cast", &[&width], vec![int("to", data_type::FLOAT.into())]);
        let width = self.node("Sqrt", &[&width], vec![]);
        let scores = self.node("MatMul", &[&q, &k], vec![]);
        let scores = self.node("Div", &[&scores, &width], vec![]);
        let weights = self.node("Softmax", &[&scores], vec![int("axis", -1)]);
        let mixed = self.node("MatMul", &[&weights, &v], vec![]);
        let mixed = self.node("Transpose", &[&mixed], vec![ints("perm", &[0, 2, 1, 3])]);
        let shape = self.ints(&[0, 0, -1]);
        let mixed = self.node("Reshape", &[&mixed, &shape], vec![]);
        self.to("Cast", &[&mixed], vec![int("to", data_type::FLOAT16.into())], result);
    }

    fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.count += 1;
        let name = format!("written out {}", self.count);
        self.to(op, inputs, attribute, &name);
        name
    }

    fn to(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, output: &str) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(format!("{op} {output}")),
            op_type: Some(op.to_owned()),
            attribute,
            domain: None,
        });
    }

    fn constant(&mut self, kind: i32, dims: &[i64], raw: Vec<u8>) -> String {
        self.count += 1;
        let name = format!("constant {}", self.count);
        self.constants.push(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(kind),
            name: Some(name.clone()),
            raw_data: Some(raw),
            ..Default::default()
        });
        name
    }

    fn ints(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(data_type::INT64, &[values.len() as i64], raw)
    }

    fn floats(&mut self, values: &[f32]) -> String {
        let raw = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(data_type::FLOAT, &[values.len() as i64], raw)
    }

    fn half(&mut self, value: f32) -> String {
        self.constant(data_type::FLOAT16, &[], half::f16::from_f32(value).to_le_bytes().to_vec())
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..named(name, attribute_type::INT) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..named(name, attribute_type::INTS) }
}

fn named(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..Default::default() }
}
