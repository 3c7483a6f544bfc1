//! Operators of ONNX Runtime's own domain, which its CUDA provider runs as one kernel each.
//!
//! Pictures are (B, H, W, C). Two neighbours become one as they are drawn: a sum and the normalisation
//! that reads it, a normalisation and its SiLU.

use super::op::{float, int, ints};
use super::{Content, Dims, Scope, Value};
use crate::Result;
use kandinsky_models::onnx::{AttributeProto, CONTRIB, NodeProto};

/// What is done with `activation` in a group normalisation: SiLU.
const SILU: i64 = 1;

impl Scope<'_> {
    /// Group normalisation of a picture (B, H, W, C), weights in f32. Where x is a sum that was drawn just
    /// before, the sum is taken in.
    pub fn group_norm_last(&self, x: &Value, groups: usize, epsilon: f32) -> Result<Value> {
        let channels = self.known(x, 3)?;
        let gain = self.wide().tensor("weight", &[channels])?;
        let shift = self.wide().tensor("bias", &[channels])?;
        let attributes = vec![
            int("activation", 0),
            int("channels_last", 1),
            float("epsilon", epsilon),
            int("groups", i64::try_from(groups).map_err(|e| self.wrong(e))?),
        ];
        let Some([a, b]) = self.last_sum(x) else {
            return Ok(self.contrib("GroupNorm", &[x, &gain, &shift], attributes, x.dims.to_vec()));
        };
        let result = self.result("SkipGroupNorm", x.dims.to_vec(), x.element);
        let inputs = [&*b, &gain.name, &shift.name, &a];
        self.push_in(Some(CONTRIB), "SkipGroupNorm", &inputs, attributes, &[result.clone(), x.clone()]);
        Ok(result)
    }

    /// x·sigmoid(alpha·x). Where x is a normalisation that was drawn just before and alpha is 1, it becomes
    /// the normalisation's activation.
    pub fn quick_gelu(&self, x: &Value, alpha: f32) -> Value {
        let joined = if alpha.to_bits() == 1.0_f32.to_bits() { self.activate_last(x) } else { None };
        joined
            .unwrap_or_else(|| self.contrib("QuickGelu", &[x], vec![float("alpha", alpha)], x.dims.to_vec()))
    }

    /// Convolution of a picture (B, H, W, C) with the kernel `weight` (out, C, k, k) and the bias `bias`.
    pub fn conv_last(&self, x: &Value, out: usize, k: usize, stride: i64, pads: [i64; 4]) -> Result<Value> {
        let &[b, h, w, _] = x.dims() else { return Err(self.wrong("a convolution of other than pictures")) };
        let channels = self.known(x, 3)?;
        let full = self.ask("weight", &[out, channels, k, k])?;
        let content = Content::ChannelsLast(full.clone());
        let kernel = self.initializer(&format!("{full}.channels_last"), &[out, k, k, channels], content)?;
        let bias = self.tensor("bias", &[out])?;
        let side = i64::try_from(k).map_err(|e| self.wrong(e))?;
        let attributes = vec![
            ints("dilations", vec![1; 2]),
            int("group", 1),
            ints("kernel_shape", vec![side; 2]),
            ints("pads", pads.to_vec()),
            ints("strides", vec![stride; 2]),
        ];
        let (h, w) = if stride == 1 { (h, w) } else { (None, None) };
        Ok(self.contrib("NhwcConv", &[x, &kernel, &bias], attributes, vec![b, h, w, Some(out)]))
    }

    /// Attention of rows q (B, Q, heads·N) to keys and values (B, K, heads·N): (B, Q, heads·N).
    pub fn multi_head_attention(&self, q: &Value, [k, v]: [&Value; 2], heads: usize) -> Result<Value> {
        let heads = i64::try_from(heads).map_err(|e| self.wrong(e))?;
        let attributes = vec![int("num_heads", heads)];
        Ok(self.contrib("MultiHeadAttention", &[q, k, v], attributes, q.dims.to_vec()))
    }

    fn contrib(&self, op: &str, inputs: &[&Value], attributes: Vec<AttributeProto>, dims: Dims) -> Value {
        let names: Vec<&str> = inputs.iter().map(|value| &*value.name).collect();
        let element = inputs.first().map_or(self.float(), |value| value.element);
        let result = self.result(op, dims, element);
        self.push_in(Some(CONTRIB), op, &names, attributes, std::slice::from_ref(&result));
        result
    }

    /// The two pictures whose sum x is, where that sum is the last node; it is taken back.
    fn last_sum(&self, x: &Value) -> Option<[String; 2]> {
        let mut graph = self.state.graph.borrow_mut();
        let node = graph.nodes.pop_if(|node| is(node, "Add") && gives(node, x))?;
        <[String; 2]>::try_from(node.input).ok()
    }

    /// Gives the last node its activation, where it is a normalisation that gives x. The result has a name
    /// of its own, so that nothing can read x any more.
    fn activate_last(&self, x: &Value) -> Option<Value> {
        let normalises = |node: &NodeProto| is(node, "GroupNorm") || is(node, "SkipGroupNorm");
        let last =
            self.state.graph.borrow().nodes.last().is_some_and(|node| normalises(node) && gives(node, x));
        if !last {
            return None;
        }
        let result = self.result("SiLU", x.dims.to_vec(), x.element);
        let mut graph = self.state.graph.borrow_mut();
        let node = graph.nodes.last_mut()?;
        let activation = node.attribute.iter_mut().filter(|a| a.name.as_deref() == Some("activation"));
        activation.for_each(|attribute| attribute.i = Some(SILU));
        node.output.iter_mut().take(1).for_each(|output| *output = result.name.to_string());
        Some(result)
    }
}

fn is(node: &NodeProto, op: &str) -> bool {
    node.op_type.as_deref() == Some(op)
}

fn gives(node: &NodeProto, x: &Value) -> bool {
    node.output.first().is_some_and(|output| **output == *x.name)
}
