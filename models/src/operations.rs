//! How much a graph computes at given sizes, counted from its text: what a benchmark divides by time.
//!
//! Counted are multiplications and additions of matrix products and convolutions, two operations a pair. What
//! is done once an element (norms, activations, sums) is left out: it is bound by memory and not by arithmetic.

use crate::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto, data_type};
use std::collections::BTreeMap;

/// What one run of a graph takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operations {
    /// Floating-point operations.
    pub flop: u64,
    /// Bytes of weights that are read; of a table, the rows that are looked up.
    pub weight_bytes: u64,
    /// Floating-point operations by operator.
    pub by_operator: BTreeMap<String, u64>,
}

/// Counts a graph for inputs of given shapes.
///
/// # Errors
/// A sentence that names the input that is missing, or the node whose sides do not follow.
pub fn count(graph: &GraphProto, inputs: &BTreeMap<String, Vec<usize>>) -> Result<Operations, String> {
    let mut counter = Counter::default();
    graph.initializer.iter().for_each(|tensor| counter.weight(tensor));
    for input in &graph.input {
        let name = input.name.clone().unwrap_or_default();
        let dims = inputs.get(&name).ok_or_else(|| format!("no shape was given for the input {name}"))?;
        counter.known.insert(name, Known::of(dims.clone()));
    }
    for node in &graph.node {
        counter.visit(node).map_err(|reason| {
            let (name, operator) = (node.name.as_deref().unwrap_or("?"), operator(node));
            format!("the sides of the node {name} ({operator}) do not follow: {reason}")
        })?;
    }
    Ok(counter.total)
}

/// What is known of a tensor before the graph runs.
#[derive(Debug, Clone, Default)]
struct Known {
    dims: Vec<usize>,
    /// Its numbers, where they are few integers: sizes and indices.
    ints: Option<Vec<i64>>,
    /// Its numbers, where they are few floats: scales.
    floats: Option<Vec<f32>>,
    /// Bytes of an element, where it is a weight.
    stored: Option<usize>,
}

impl Known {
    fn of(dims: Vec<usize>) -> Self {
        Self { dims, ..Self::default() }
    }

    fn ints(dims: Vec<usize>, ints: Vec<i64>) -> Self {
        Self { dims, ints: Some(ints), ..Self::default() }
    }

    fn side(&self, axis: usize) -> Result<usize, String> {
        self.dims.get(axis).copied().ok_or_else(|| format!("{:?} has no axis {axis}", self.dims))
    }

    /// An axis counted from the end where it is below 0.
    fn axis(&self, axis: i64) -> Result<usize, String> {
        let found = usize::try_from(axis)
            .ok()
            .or_else(|| self.dims.len().checked_sub(usize::try_from(axis.unsigned_abs()).ok()?));
        found.ok_or_else(|| format!("{:?} has no axis {axis}", self.dims))
    }

    fn with_side(&self, axis: usize, side: usize) -> Result<Vec<usize>, String> {
        let mut dims = self.dims.clone();
        *dims.get_mut(axis).ok_or_else(|| format!("{:?} has no axis {axis}", self.dims))? = side;
        Ok(dims)
    }
}

#[derive(Default)]
struct Counter {
    known: BTreeMap<String, Known>,
    total: Operations,
}

impl Counter {
    fn weight(&mut self, tensor: &TensorProto) {
        let dims: Vec<usize> = tensor.dims.iter().map(|side| whole(*side)).collect();
        let kind = tensor.data_type.unwrap_or_default();
        let bytes = tensor.raw_data.as_deref().filter(|bytes| bytes.len() <= 1 << 10).unwrap_or_default();
        let (eights, fours) = (bytes.as_chunks::<8>().0, bytes.as_chunks::<4>().0);
        let ints = || eights.iter().map(|eight| i64::from_le_bytes(*eight)).collect();
        let floats = || fours.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let known = Known {
            dims,
            ints: (kind == data_type::INT64).then(ints),
            floats: (kind == data_type::FLOAT).then(floats),
            stored: Some(element_bytes(kind)),
        };
        self.known.insert(tensor.name.clone().unwrap_or_default(), known);
    }

    fn visit(&mut self, node: &NodeProto) -> Result<(), String> {
        let inputs: Result<Vec<Known>, String> = node.input.iter().map(|name| self.input(name)).collect();
        let inputs = inputs?;
        let outputs = outputs(node, &inputs)?;
        let first = outputs.first().map(|known| known.dims.clone()).unwrap_or_default();
        self.compute(node, &inputs, &first);
        for (name, known) in node.output.iter().zip(outputs) {
            self.known.insert(name.clone(), known);
        }
        Ok(())
    }

    /// An input by name; one that is left out has the empty name.
    fn input(&self, name: &str) -> Result<Known, String> {
        if name.is_empty() {
            return Ok(Known::default());
        }
        self.known.get(name).cloned().ok_or_else(|| format!("nothing makes {name}"))
    }

    fn compute(&mut self, node: &NodeProto, inputs: &[Known], output: &[usize]) {
        let operator = operator(node);
        let flop = 2 * product(output) * multiplications(node, inputs);
        if flop > 0 {
            self.total.flop += flop;
            *self.total.by_operator.entry(operator.to_owned()).or_default() += flop;
        }
        // A weight that is only widened is read where it is stored; the numbers that come out are not stored.
        for (place, input) in inputs.iter().enumerate() {
            let Some(bytes) = input.stored else { continue };
            let looked_up = place == 0 && operator.starts_with("Gather");
            self.total.weight_bytes += bytes_of(if looked_up { output } else { &input.dims }, bytes);
        }
    }
}

/// Multiplications for each number that comes out.
fn multiplications(node: &NodeProto, inputs: &[Known]) -> u64 {
    let (a, b) = (inputs.first(), inputs.get(1));
    let dims = |known: Option<&Known>| known.map(|known| known.dims.clone()).unwrap_or_default();
    match operator(node) {
        "MatMul" => dims(a).last().copied().map_or(0, wide),
        "Gemm" => {
            let axis = if int(node, "transA", 0) == 0 { 1 } else { 0 };
            dims(a).get(axis).copied().map_or(0, wide)
        }
        "Conv" | "FusedConv" | "NhwcConv" => product(dims(b).get(1..).unwrap_or_default()),
        _ => 0,
    }
}

/// What comes out of a node.
fn outputs(node: &NodeProto, inputs: &[Known]) -> Result<Vec<Known>, String> {
    let x = || inputs.first().ok_or_else(|| "it has no input".to_owned());
    let at = |place: usize| inputs.get(place).ok_or_else(|| format!("it has no input {place}"));
    let one = |dims: Vec<usize>| Ok(vec![Known::of(dims)]);
    match operator(node) {
        "Add" | "Sub" | "Mul" | "Div" | "Equal" | "Pow" | "Where" | "Less" | "Greater" | "And" => {
            Ok(vec![elementwise(node, inputs)?])
        }
        "Sigmoid"
        | "Erf"
        | "Sin"
        | "Cos"
        | "Softmax"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "Sqrt"
        | "Exp"
        | "Tanh"
        | "Neg"
        | "Not"
        | "Gelu"
        | "GroupNormalization"
        | "Clip"
        | "Reciprocal" => one(x()?.dims.clone()),
        "Cast" | "Identity" => Ok(vec![Known { stored: None, ..x()?.clone() }]),
        "MatMul" => one(matmul(&x()?.dims, &at(1)?.dims)?),
        "Gemm" => one(gemm(node, x()?, at(1)?)?),
        "Conv" => one(conv(node, &x()?.dims, &at(1)?.dims)?),
        "AveragePool" | "MaxPool" => one(pool(node, &x()?.dims)?),
        "Resize" => one(resize(x()?, inputs)?),
        "DepthToSpace" => one(shuffled(node, &x()?.dims)?),
        "Pad" => one(padded(x()?, at(1)?, inputs.get(3))?),
        "Shape" => Ok(vec![shape(node, x()?)]),
        "Reshape" => one(reshaped(&x()?.dims, ints_of(at(1)?)?)?),
        "Expand" => {
            let sides: Vec<usize> = ints_of(at(1)?)?.iter().map(|side| whole(*side)).collect();
            one(broadcast(&x()?.dims, &sides)?)
        }
        "Unsqueeze" => Ok(vec![unsqueezed(x()?, ints_of(at(1)?)?)?]),
        "Squeeze" => Ok(vec![squeezed(x()?, ints_of(at(1)?)?)?]),
        "Transpose" => one(transposed(node, &x()?.dims)?),
        "Concat" => Ok(vec![concatenated(node, inputs)?]),
        "Split" => split(node, x()?, inputs.get(1)),
        "Slice" => Ok(vec![sliced(inputs)?]),
        "Gather" => Ok(vec![gathered(node, x()?, at(1)?)?]),
        "GatherND" => one(gathered_nd(node, &x()?.dims, &at(1)?.dims)?),
        "ArgMax" | "ArgMin" => one(reduced(x()?, &[int(node, "axis", 0)], int(node, "keepdims", 1))?),
        "ReduceSum" | "ReduceMean" | "ReduceMax" => {
            let all: Vec<i64> = (0..).take(x()?.dims.len()).collect();
            let axes = inputs.get(1).and_then(|axes| axes.ints.clone()).unwrap_or(all);
            one(reduced(x()?, &axes, int(node, "keepdims", 1))?)
        }
        other => Err(format!("the operator {other} is not known here")),
    }
}

fn elementwise(node: &NodeProto, inputs: &[Known]) -> Result<Known, String> {
    let dims = inputs.iter().try_fold(Vec::new(), |dims, input| broadcast(&dims, &input.dims))?;
    let ints = match inputs {
        [a, b] => a.ints.as_ref().zip(b.ints.as_ref()).and_then(|(a, b)| arithmetic(operator(node), a, b)),
        _ => None,
    };
    Ok(Known { dims, ints, ..Known::default() })
}

/// Sizes that are computed from sizes; a single number goes with all.
fn arithmetic(operator: &str, a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    let count = a.len().max(b.len());
    let at = |list: &[i64], place: usize| list.get(if list.len() == 1 { 0 } else { place }).copied();
    let pairs = (0..count).map(|place| at(a, place).zip(at(b, place)));
    pairs
        .map(|pair| {
            let (a, b) = pair?;
            match operator {
                "Add" => a.checked_add(b),
                "Sub" => a.checked_sub(b),
                "Mul" => a.checked_mul(b),
                "Div" => a.checked_div(b),
                _ => None,
            }
        })
        .collect()
}

fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let from = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).and_then(|axis| dims.get(axis).copied()).unwrap_or(1)
    };
    let sides = (0..rank).map(|axis| match (from(a, axis), from(b, axis)) {
        (1, side) | (side, 1) => Ok(side),
        (same, other) if same == other => Ok(same),
        _ => Err(format!("{a:?} and {b:?} do not go together")),
    });
    sides.collect()
}

fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let wrong = || format!("{a:?} and {b:?} cannot be multiplied");
    let ([before @ .., rows, inner], [rest @ .., depth, columns]) = (a, b) else { return Err(wrong()) };
    if inner != depth {
        return Err(wrong());
    }
    let mut dims = broadcast(before, rest)?;
    dims.extend([*rows, *columns]);
    Ok(dims)
}

fn gemm(node: &NodeProto, a: &Known, b: &Known) -> Result<Vec<usize>, String> {
    let rows = a.side(usize::from(int(node, "transA", 0) != 0))?;
    let columns = b.side(usize::from(int(node, "transB", 0) == 0))?;
    Ok(vec![rows, columns])
}

fn conv(node: &NodeProto, x: &[usize], weight: &[usize]) -> Result<Vec<usize>, String> {
    let ([rows, _, sides @ ..], [channels, _, kernel @ ..]) = (x, weight) else {
        return Err(format!("{x:?} cannot be convolved with {weight:?}"));
    };
    let mut dims = vec![*rows, *channels];
    dims.extend(windows(node, sides, kernel)?);
    Ok(dims)
}

fn pool(node: &NodeProto, x: &[usize]) -> Result<Vec<usize>, String> {
    let [rows, channels, sides @ ..] = x else { return Err(format!("{x:?} cannot be pooled")) };
    let kernel: Vec<usize> = list(node, "kernel_shape").iter().map(|side| whole(*side)).collect();
    let mut dims = vec![*rows, *channels];
    dims.extend(windows(node, sides, &kernel)?);
    Ok(dims)
}

/// How often a window fits along each side.
fn windows(node: &NodeProto, sides: &[usize], kernel: &[usize]) -> Result<Vec<usize>, String> {
    let (pads, strides, dilations) = (list(node, "pads"), list(node, "strides"), list(node, "dilations"));
    let at = |list: &[i64], place: usize, default: usize| list.get(place).map_or(default, |x| whole(*x));
    let fit = sides.iter().zip(kernel).enumerate().map(|(axis, (side, window))| {
        let padded = side + at(pads, axis, 0) + at(pads, axis + kernel.len(), 0);
        let reach = (window.saturating_sub(1)) * at(dilations, axis, 1) + 1;
        let rest = padded.checked_sub(reach);
        let count = rest.map(|rest| rest / at(strides, axis, 1).max(1) + 1);
        count.ok_or_else(|| format!("a window of {reach} does not fit into {padded}"))
    });
    fit.collect()
}

fn resize(x: &Known, inputs: &[Known]) -> Result<Vec<usize>, String> {
    if let Some(sizes) = inputs.get(3).and_then(|sizes| sizes.ints.as_ref()) {
        return Ok(sizes.iter().map(|side| whole(*side)).collect());
    }
    let scales = inputs.get(2).and_then(|scales| scales.floats.as_ref());
    let scales = scales.ok_or_else(|| "its scales are not known".to_owned())?;
    Ok(x.dims.iter().zip(scales).map(|(side, scale)| scaled(*side, *scale)).collect())
}

#[expect(clippy::as_conversions, reason = "a side is far below 2^24, and scales are small whole numbers")]
fn scaled(side: usize, scale: f32) -> usize {
    (side as f32 * scale).floor() as usize
}

fn shuffled(node: &NodeProto, x: &[usize]) -> Result<Vec<usize>, String> {
    let block = whole(int(node, "blocksize", 1)).max(1);
    let [rows, channels, height, width] = x else { return Err(format!("{x:?} is no batch of maps")) };
    Ok(vec![*rows, channels / (block * block), height * block, width * block])
}

fn padded(x: &Known, pads: &Known, axes: Option<&Known>) -> Result<Vec<usize>, String> {
    let pads = ints_of(pads)?;
    let all: Vec<i64> = (0..).take(x.dims.len()).collect();
    let axes = axes.and_then(|axes| axes.ints.clone()).unwrap_or(all);
    let mut dims = x.dims.clone();
    for (place, axis) in axes.iter().enumerate() {
        let more = [place, place + axes.len()].map(|place| pads.get(place).map_or(0, |pad| whole(*pad)));
        let axis = x.axis(*axis)?;
        *dims.get_mut(axis).ok_or_else(|| format!("there is no axis {axis}"))? += more.iter().sum::<usize>();
    }
    Ok(dims)
}

fn shape(node: &NodeProto, x: &Known) -> Known {
    let rank = x.dims.len();
    let end = |at: i64| if at < 0 { rank.saturating_sub(whole(-at)) } else { whole(at).min(rank) };
    let from = end(int(node, "start", 0));
    let to = end(int(node, "end", i64::MAX)).max(from);
    let sides = x.dims.get(from..to).unwrap_or_default();
    Known::ints(vec![sides.len()], sides.iter().map(|side| narrow(*side)).collect())
}

fn reshaped(x: &[usize], asked: &[i64]) -> Result<Vec<usize>, String> {
    let side = |(axis, side): (usize, &i64)| match side {
        0 => x.get(axis).copied().unwrap_or(1),
        side => whole(*side), // 0 for the one that is left over
    };
    let mut dims: Vec<usize> = asked.iter().enumerate().map(side).collect();
    if let Some(open) = asked.iter().position(|side| *side == -1) {
        let rest = dims.iter().enumerate().filter(|(axis, _)| *axis != open).map(|(_, side)| *side);
        let rest: usize = rest.product();
        let total: usize = x.iter().product();
        let left = total.checked_div(rest).ok_or_else(|| format!("{x:?} cannot become {asked:?}"))?;
        dims.iter_mut().skip(open).take(1).for_each(|side| *side = left);
    }
    match x.iter().product::<usize>() == dims.iter().product::<usize>() {
        true => Ok(dims),
        false => Err(format!("{x:?} cannot become {asked:?}")),
    }
}

fn unsqueezed(x: &Known, axes: &[i64]) -> Result<Known, String> {
    let rank = x.dims.len() + axes.len();
    let grown = Known::of(vec![1; rank]);
    let mut axes = axes.iter().map(|axis| grown.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    let mut dims = x.dims.clone();
    for axis in axes.into_iter().filter(|axis| *axis < rank) {
        dims.insert(axis.min(dims.len()), 1);
    }
    Ok(Known { dims, stored: None, ..x.clone() })
}

fn squeezed(x: &Known, axes: &[i64]) -> Result<Known, String> {
    let axes = axes.iter().map(|axis| x.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    let kept = x.dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    Ok(Known { dims: kept.map(|(_, side)| *side).collect(), stored: None, ..x.clone() })
}

fn transposed(node: &NodeProto, x: &[usize]) -> Result<Vec<usize>, String> {
    let order = list(node, "perm");
    let side = |axis: &i64| x.get(whole(*axis)).copied().ok_or_else(|| format!("{x:?} has no axis {axis}"));
    order.iter().map(side).collect()
}

fn concatenated(node: &NodeProto, inputs: &[Known]) -> Result<Known, String> {
    let first = inputs.first().ok_or_else(|| "it has no input".to_owned())?;
    let axis = first.axis(int(node, "axis", 0))?;
    let side = inputs.iter().map(|input| input.side(axis)).sum::<Result<usize, _>>()?;
    let ints = inputs.iter().map(|input| input.ints.clone()).collect::<Option<Vec<_>>>();
    Ok(Known { dims: first.with_side(axis, side)?, ints: ints.map(|all| all.concat()), ..Known::default() })
}

fn split(node: &NodeProto, x: &Known, sizes: Option<&Known>) -> Result<Vec<Known>, String> {
    let axis = x.axis(int(node, "axis", 0))?;
    let side = x.side(axis)?;
    let sizes = match sizes.and_then(|sizes| sizes.ints.as_ref()) {
        Some(sizes) => sizes.iter().map(|size| whole(*size)).collect(),
        None => {
            let parts = node.output.len().max(1);
            let whole = side.div_ceil(parts);
            (0..parts).map(|part| whole.min(side.saturating_sub(part * whole))).collect::<Vec<_>>()
        }
    };
    sizes.into_iter().map(|size| Ok(Known::of(x.with_side(axis, size)?))).collect()
}

fn sliced(inputs: &[Known]) -> Result<Known, String> {
    let [x, starts, ends, rest @ ..] = inputs else { return Err("it lacks starts and ends".to_owned()) };
    let (starts, ends) = (ints_of(starts)?, ints_of(ends)?);
    let all: Vec<i64> = (0..).take(x.dims.len()).collect();
    let axes = rest.first().and_then(|axes| axes.ints.clone()).unwrap_or(all);
    let steps = rest.get(1).and_then(|steps| steps.ints.clone()).unwrap_or_default();
    let mut cut = Known::of(x.dims.clone());
    let mut ints = x.ints.clone();
    for (place, (axis, (start, end))) in axes.iter().zip(starts.iter().zip(ends)).enumerate() {
        let (axis, step) = (x.axis(*axis)?, steps.get(place).map_or(1, |step| whole(*step)).max(1));
        let side = x.side(axis)?;
        let at = |at: i64| if at < 0 { side.saturating_sub(whole(-at)) } else { whole(at).min(side) };
        let (from, to) = (at(*start), at(*end).max(at(*start)));
        cut.dims = cut.with_side(axis, (to - from).div_ceil(step))?;
        ints = ints.and_then(|ints| Some(ints.get(from..to)?.iter().step_by(step).copied().collect()));
    }
    Ok(Known { ints: ints.filter(|_| x.dims.len() == 1), ..cut })
}

fn gathered(node: &NodeProto, x: &Known, indices: &Known) -> Result<Known, String> {
    let axis = x.axis(int(node, "axis", 0))?;
    let (before, rest) = x.dims.split_at_checked(axis).ok_or("the axis is missing")?;
    let after = rest.get(1..).unwrap_or_default();
    let pick = |index: &i64| {
        x.ints
            .as_ref()?
            .get(if *index < 0 { x.dims.first()?.checked_sub(whole(-index))? } else { whole(*index) })
            .copied()
    };
    let ints = indices.ints.as_ref().and_then(|indices| indices.iter().map(pick).collect());
    Ok(Known { dims: [before, &indices.dims, after].concat(), ints, ..Known::default() })
}

fn gathered_nd(node: &NodeProto, x: &[usize], indices: &[usize]) -> Result<Vec<usize>, String> {
    let batch = whole(int(node, "batch_dims", 0));
    let (depth, places) = indices.split_last().ok_or("it has no indices")?;
    Ok([places, x.get(batch + depth..).unwrap_or_default()].concat())
}

fn reduced(x: &Known, axes: &[i64], keep: i64) -> Result<Vec<usize>, String> {
    let axes = axes.iter().map(|axis| x.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    let sides = x.dims.iter().enumerate();
    Ok(sides
        .filter_map(|(axis, side)| if !axes.contains(&axis) { Some(*side) } else { (keep != 0).then_some(1) })
        .collect())
}

fn ints_of(known: &Known) -> Result<&[i64], String> {
    known.ints.as_deref().ok_or_else(|| "a size is not known before it runs".to_owned())
}

fn operator(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.i).unwrap_or(default)
}

fn list<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| attribute.ints.as_slice())
}

fn element_bytes(kind: i32) -> usize {
    match kind {
        data_type::INT64 => 8,
        data_type::FLOAT16 => 2,
        data_type::BOOL => 1,
        _ => 4,
    }
}

fn product(sides: &[usize]) -> u64 {
    sides.iter().map(|side| wide(*side)).product()
}

fn bytes_of(dims: &[usize], bytes: usize) -> u64 {
    product(dims) * wide(bytes)
}

fn wide(side: usize) -> u64 {
    u64::try_from(side).unwrap_or(u64::MAX)
}

fn narrow(side: usize) -> i64 {
    i64::try_from(side).unwrap_or(i64::MAX)
}

/// 0 for what is below it.
fn whole(side: i64) -> usize {
    usize::try_from(side).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::ValueInfoProto;

    fn node(operator: &str, input: &[&str], output: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let op_type = Some(operator.to_owned());
        NodeProto { input: names(input), output: names(output), op_type, attribute, ..NodeProto::default() }
    }

    fn ints(name: &str, ints: &[i64]) -> AttributeProto {
        AttributeProto { name: Some(name.to_owned()), ints: ints.to_vec(), ..AttributeProto::default() }
    }

    fn weight(name: &str, dims: &[i64], kind: i32, raw: Option<Vec<u8>>) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(kind),
            raw_data: raw,
            ..TensorProto::default()
        }
    }

    fn counted(
        node: Vec<NodeProto>,
        initializer: Vec<TensorProto>,
        x: &[usize],
    ) -> Result<Operations, String> {
        let input = vec![ValueInfoProto { name: Some("x".to_owned()), r#type: None }];
        let graph = GraphProto { node, initializer, input, ..GraphProto::default() };
        count(&graph, &BTreeMap::from([("x".to_owned(), x.to_vec())]))
    }

    #[test]
    fn a_product_takes_two_operations_a_pair() {
        let weights = vec![weight("w", &[3, 5], data_type::FLOAT, None)];
        let found = counted(vec![node("MatMul", &["x", "w"], &["y"], vec![])], weights, &[2, 7, 3]).unwrap();
        assert_eq!((found.flop, found.weight_bytes), (2 * 2 * 7 * 3 * 5, 3 * 5 * 4));
    }

    #[test]
    fn a_convolution_counts_its_window_for_every_pixel_that_comes_out() {
        let weights = vec![weight("w", &[8, 4, 3, 3], data_type::FLOAT16, None)];
        let attributes = vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2])];
        let found =
            counted(vec![node("Conv", &["x", "w"], &["y"], attributes)], weights, &[2, 4, 10, 6]).unwrap();
        assert_eq!(found.flop, 2 * (2 * 8 * 5 * 3) * (4 * 9));
        assert_eq!((found.weight_bytes, found.by_operator["Conv"]), (8 * 4 * 9 * 2, found.flop));
    }

    #[test]
    fn sizes_are_followed_through_the_arithmetic_of_shapes() {
        let number = |name, n: i64| weight(name, &[1], data_type::INT64, Some(n.to_le_bytes().to_vec()));
        let nodes = vec![
            node("Shape", &["x"], &["sides"], vec![]),
            node("Gather", &["sides", "one"], &["width"], vec![]),
            node("Mul", &["width", "two"], &["double"], vec![]),
            node("Concat", &["half", "double"], &["to"], vec![]),
            node("Reshape", &["x", "to"], &["y"], vec![]),
            node("MatMul", &["y", "w"], &["z"], vec![]),
        ];
        let weights = vec![
            number("one", 1),
            number("two", 2),
            number("half", -1),
            weight("w", &[6, 11], data_type::FLOAT, None),
        ];
        assert_eq!(counted(nodes, weights, &[4, 3]).unwrap().flop, 2 * 2 * 6 * 11);
    }

    #[test]
    fn of_a_table_the_rows_that_are_looked_up_count() {
        let index = |n: i64| {
            weight("index", &[2], data_type::INT64, Some([n.to_le_bytes(), n.to_le_bytes()].concat()))
        };
        let weights = vec![weight("table", &[1000, 16], data_type::FLOAT, None), index(7)];
        let found =
            counted(vec![node("Gather", &["table", "index"], &["y"], vec![])], weights, &[1]).unwrap();
        assert_eq!((found.flop, found.weight_bytes), (0, 2 * 16 * 4 + 2 * 8));
    }

    #[test]
    fn what_does_not_follow_is_named() {
        let unknown = counted(vec![node("Loop", &["x"], &["y"], vec![])], vec![], &[1]).unwrap_err();
        assert!(unknown.contains("Loop"), "{unknown}");
        let weights = vec![weight("w", &[4, 5], data_type::FLOAT, None)];
        let unfit = counted(vec![node("MatMul", &["x", "w"], &["y"], vec![])], weights, &[2, 3]).unwrap_err();
        assert!(unfit.contains("[2, 3]"), "{unfit}");
        let graph = GraphProto {
            input: vec![ValueInfoProto { name: Some("x".to_owned()), r#type: None }],
            ..GraphProto::default()
        };
        assert!(count(&graph, &BTreeMap::new()).unwrap_err().contains("input x"));
    }
}
