//! The operators that drawings use, each with the rule for its result's sides.
//!
//! All are of opset 18's standard domain. A side that is `None` is known only when the graph runs.

use super::{Dims, Element, Number, Scope, Value};
use crate::Result;
use kandinsky_models::onnx::{AttributeProto, attribute_type, data_type};

impl Scope<'_> {
    /// Sum, with broadcasting.
    pub fn add(&self, a: &Value, b: &Value) -> Result<Value> {
        self.binary("Add", a, b)
    }

    /// Difference, with broadcasting.
    pub fn sub(&self, a: &Value, b: &Value) -> Result<Value> {
        self.binary("Sub", a, b)
    }

    /// Product, with broadcasting.
    pub fn mul(&self, a: &Value, b: &Value) -> Result<Value> {
        self.binary("Mul", a, b)
    }

    /// Quotient, with broadcasting.
    pub fn div(&self, a: &Value, b: &Value) -> Result<Value> {
        self.binary("Div", a, b)
    }

    /// Where `a` equals `b`: a boolean, to be [`Scope::cast`].
    pub fn equal(&self, a: &Value, b: &Value) -> Result<Value> {
        let dims = self.broadcast(&a.dims, &b.dims)?;
        Ok(self.typed("Equal", &[a, b], vec![], dims, Element::Bool))
    }

    /// 1 / (1 + e^-x).
    pub fn sigmoid(&self, x: &Value) -> Value {
        self.unary("Sigmoid", x)
    }

    /// The error function.
    pub fn erf(&self, x: &Value) -> Value {
        self.unary("Erf", x)
    }

    /// The sine.
    pub fn sin(&self, x: &Value) -> Value {
        self.unary("Sin", x)
    }

    /// The cosine.
    pub fn cos(&self, x: &Value) -> Value {
        self.unary("Cos", x)
    }

    /// Softmax over the last axis.
    pub fn softmax(&self, x: &Value) -> Value {
        self.one("Softmax", &[x], vec![int("axis", -1)], x.dims.to_vec())
    }

    /// The same numbers in another type.
    pub fn cast(&self, x: &Value, to: Number) -> Value {
        let (to, element) = match to {
            Number::F32 => (data_type::FLOAT, Element::F32),
            Number::F16 => (data_type::FLOAT16, Element::F16),
            Number::I64 => (data_type::INT64, Element::I64),
        };
        self.typed("Cast", &[x], vec![int("to", to.into())], x.dims.to_vec(), element)
    }

    /// Product of matrices (.., M, K) · (.., K, N).
    pub fn matmul(&self, a: &Value, b: &Value) -> Result<Value> {
        let ([a_outer @ .., m, k], [b_outer @ .., k2, n]) = (&a.dims[..], &b.dims[..]) else {
            return Err(self.wrong("a product of less than matrices"));
        };
        self.same(*k, *k2)?;
        let mut dims = self.broadcast(a_outer, b_outer)?;
        dims.extend([*m, *n]);
        Ok(self.one("MatMul", &[a, b], vec![], dims))
    }

    /// a · bᵀ + c of matrices a (M, K), b (N, K) and, where there is one, a row c (N).
    pub fn gemm_transposed(&self, a: &Value, b: &Value, c: Option<&Value>) -> Result<Value> {
        let (&[m, k], &[n, k2]) = (&a.dims[..], &b.dims[..]) else {
            return Err(self.wrong("a product of other than matrices"));
        };
        self.same(k, k2)?;
        if let Some(c) = c {
            let &[n2] = &c.dims[..] else { return Err(self.wrong("a sum with other than a row")) };
            self.same(n, n2)?;
        }
        let inputs: Vec<&Value> = [a, b].into_iter().chain(c).collect();
        Ok(self.one("Gemm", &inputs, vec![int("transB", 1)], vec![m, n]))
    }

    /// Convolution of x (B, C, H, W) with kernel (O, C, k, k); `pads` are zeros at top, left, bottom, right.
    pub fn conv(&self, inputs: &[&Value], stride: i64, pads: [i64; 4]) -> Result<Value> {
        let [x, kernel, ..] = inputs else { return Err(self.wrong("a convolution without a kernel")) };
        let (&[b, c, h, w], &[out, c2, kh, kw]) = (&x.dims[..], &kernel.dims[..]) else {
            return Err(self.wrong("a convolution of other than pictures"));
        };
        self.same(c, c2)?;
        let kept = stride == 1 && keeps(pads, [kh, kw]);
        let (h, w) = if kept { (h, w) } else { (None, None) };
        let attributes = conv_attributes([kh, kw], [stride; 2], pads);
        Ok(self.one("Conv", inputs, attributes, vec![b, out, h, w]))
    }

    /// Convolution of pictures of one channel with kernels (O, 1, k, l), strides of their own along each side.
    pub fn conv_strided(
        &self,
        x: &Value,
        kernel: &Value,
        strides: [i64; 2],
        pads: [i64; 4],
    ) -> Result<Value> {
        let (&[b, c, _, _], &[out, c2, kh, kw]) = (&x.dims[..], &kernel.dims[..]) else {
            return Err(self.wrong("a convolution of other than pictures"));
        };
        self.same(c, c2)?;
        let attributes = conv_attributes([kh, kw], strides, pads);
        Ok(self.one("Conv", &[x, kernel], attributes, vec![b, out, None, None]))
    }

    /// Convolutions of `groups` groups of channels, each with its own kernels: x (B, g·C, H, W) with (g·O, C, k, l).
    pub fn conv_grouped(&self, x: &Value, kernel: &Value, groups: usize, pads: [i64; 4]) -> Result<Value> {
        let (&[b, c, h, w], &[out, c2, kh, kw]) = (&x.dims[..], &kernel.dims[..]) else {
            return Err(self.wrong("a convolution of other than pictures"));
        };
        self.same(c, c2.map(|c| c * groups))?;
        let (h, w) = if keeps(pads, [kh, kw]) { (h, w) } else { (None, None) };
        let mut attributes = conv_attributes([kh, kw], [1; 2], pads);
        attributes.push(int("group", i64::try_from(groups).map_err(|e| self.wrong(e))?));
        Ok(self.one("Conv", &[x, kernel], attributes, vec![b, out, h, w]))
    }

    /// Means of 2x2 pixels: half the height and width.
    pub fn halve(&self, x: &Value) -> Result<Value> {
        let planes = self.to_nchw(x)?;
        let &[b, c, h, w] = planes.dims() else { return Err(self.wrong("a mean of other than pictures")) };
        let attributes = vec![ints("kernel_shape", vec![2, 2]), ints("strides", vec![2, 2])];
        let dims = vec![b, c, h.map(|h| h / 2), w.map(|w| w / 2)];
        self.from_nchw(&self.one("AveragePool", &[&planes], attributes, dims))
    }

    /// Every pixel `factor` times as high and wide.
    pub fn enlarge(&self, x: &Value, factor: usize) -> Result<Value> {
        if x.dims.len() != 4 {
            return Err(self.wrong("a picture of other than 4 sides"));
        }
        let times = u16::try_from(factor).map_err(|_| self.wrong("too large a factor"))?;
        let channels = self.channel_axis();
        let scale = |axis: usize| if axis == 0 || axis == channels { 1 } else { times };
        let scales: Vec<f32> = (0..4).map(|axis| scale(axis).into()).collect();
        let scales = self.wide().numbers(&scales)?;
        let attributes = vec![
            text("coordinate_transformation_mode", "asymmetric"),
            text("mode", "nearest"),
            text("nearest_mode", "floor"),
        ];
        let side = |(axis, side): (usize, &Option<usize>)| side.map(|side| side * usize::from(scale(axis)));
        let dims = x.dims.iter().enumerate().map(side).collect();
        // The second input would be a region of interest, which this mode does not read.
        let result = self.result("Resize", dims, x.element);
        self.push("Resize", &[&x.name, "", &scales.name], attributes, std::slice::from_ref(&result));
        Ok(result)
    }

    /// Pictures (B, 4·C, H, W), which hold every second pixel of every second row, row by row, to (B, C, 2·H, 2·W).
    pub fn interleave(&self, x: &Value) -> Result<Value> {
        let &[b, c, h, w] = &x.dims[..] else { return Err(self.wrong("a picture of other than 4 sides")) };
        let dims = vec![b, c.map(|c| c / 4), h.map(|h| 2 * h), w.map(|w| 2 * w)];
        Ok(self.one("DepthToSpace", &[x], vec![int("blocksize", 2), text("mode", "DCR")], dims))
    }

    /// Each row of x (B, C, N) minus its mean over its deviation.
    pub fn instance_norm(&self, x: &Value, scale: &Value, shift: &Value, epsilon: f32) -> Value {
        self.one(
            "InstanceNormalization",
            &[x, scale, shift],
            vec![float("epsilon", epsilon)],
            x.dims.to_vec(),
        )
    }

    /// Group normalisation of x (B, C, ..), of TensorRT's operator set.
    pub fn group_normalization(
        &self,
        x: &Value,
        [gain, shift]: [&Value; 2],
        groups: usize,
        epsilon: f32,
    ) -> Result<Value> {
        let groups = i64::try_from(groups).map_err(|e| self.wrong(e))?;
        let attributes = vec![float("epsilon", epsilon), int("num_groups", groups)];
        Ok(self.one("GroupNormalization", &[x, gain, shift], attributes, x.dims.to_vec()))
    }

    /// Layer normalisation over the last axis.
    pub fn layer_normalization(&self, x: &Value, scale: &Value, shift: &Value, epsilon: f32) -> Value {
        let attributes = vec![int("axis", -1), float("epsilon", epsilon)];
        self.one("LayerNormalization", &[x, scale, shift], attributes, x.dims.to_vec())
    }

    /// Axes in another order.
    pub fn transpose(&self, x: &Value, order: &[usize]) -> Result<Value> {
        let dims: Option<Dims> = order.iter().map(|axis| x.dims.get(*axis).copied()).collect();
        let dims = dims.filter(|dims| dims.len() == x.dims.len());
        let dims = dims.ok_or_else(|| self.wrong(format!("{:?} cannot be ordered {order:?}", x.dims)))?;
        let order = order.iter().filter_map(|axis| i64::try_from(*axis).ok()).collect();
        Ok(self.one("Transpose", &[x], vec![ints("perm", order)], dims))
    }

    /// The same elements with other sides: 0 keeps a side, -1 takes what is left.
    pub fn reshape(&self, x: &Value, sides: &[i64]) -> Result<Value> {
        let kept = |(axis, side): (usize, &i64)| match side {
            0 => x.dims.get(axis).copied().flatten(),
            side => usize::try_from(*side).ok(),
        };
        let mut dims: Dims = sides.iter().enumerate().map(kept).collect();
        if let Some(axis) = sides.iter().position(|side| *side == -1) {
            let size = left_over(&x.dims, sides);
            dims.iter_mut().skip(axis).take(1).for_each(|side| *side = size);
        }
        let shape = self.ints(sides)?;
        Ok(self.one("Reshape", &[x, &shape], vec![], dims))
    }

    /// The same elements with the sides of `like`.
    pub fn reshape_like(&self, x: &Value, like: &Value) -> Value {
        let shape = self.shape(like);
        self.one("Reshape", &[x, &shape], vec![], like.dims.to_vec())
    }

    /// The same elements with sides that are computed: `dims` says what is known of them.
    pub fn reshape_to(&self, x: &Value, shape: &Value, dims: Dims) -> Value {
        self.one("Reshape", &[x, shape], vec![], dims)
    }

    /// The sides of x, as integers.
    pub fn shape(&self, x: &Value) -> Value {
        self.typed("Shape", &[x], vec![], vec![Some(x.dims.len())], Element::I64)
    }

    /// The first sides of x, as integers.
    pub fn first_sides(&self, x: &Value, count: usize) -> Result<Value> {
        let end = i64::try_from(count).map_err(|e| self.wrong(e))?;
        Ok(self.typed("Shape", &[x], vec![int("start", 0), int("end", end)], vec![Some(count)], Element::I64))
    }

    /// One side of x, as a list of one integer.
    pub fn side(&self, x: &Value, axis: i64) -> Value {
        let bounds = vec![int("start", axis), int("end", axis + 1)];
        self.typed("Shape", &[x], bounds, vec![Some(1)], Element::I64)
    }

    /// x repeated along its sides of 1 until it has the sides `shape`; `dims` says what is known of them.
    pub fn expand(&self, x: &Value, shape: &Value, dims: Dims) -> Value {
        self.one("Expand", &[x, shape], vec![], dims)
    }

    /// New sides of 1.
    pub fn unsqueeze(&self, x: &Value, axes: &[i64]) -> Result<Value> {
        let mut dims = x.dims.to_vec();
        for axis in axes {
            let at = usize::try_from(*axis).ok().filter(|at| *at <= dims.len());
            dims.insert(at.ok_or_else(|| self.wrong(format!("no place for the axis {axis}")))?, Some(1));
        }
        let axes = self.ints(axes)?;
        Ok(self.one("Unsqueeze", &[x, &axes], vec![], dims))
    }

    /// Values one after the other along an axis.
    pub fn concat(&self, values: &[&Value], axis: usize) -> Result<Value> {
        let first = values.first().ok_or_else(|| self.wrong("nothing to join"))?;
        let mut dims = first.dims.to_vec();
        for value in values {
            let pairs = value.dims.iter().zip(&dims).enumerate().filter(|(at, _)| *at != axis);
            if value.dims.len() != dims.len()
                || pairs.clone().any(|(_, (a, b))| a.is_some() && b.is_some() && a != b)
            {
                return Err(self.wrong(format!("{:?} cannot be joined to {dims:?}", value.dims)));
            }
        }
        let total = values.iter().map(|value| value.dims.get(axis).copied().flatten()).sum::<Option<usize>>();
        dims.iter_mut().skip(axis).take(1).for_each(|side| *side = total);
        let axis = i64::try_from(axis).map_err(|e| self.wrong(e))?;
        Ok(self.one("Concat", values, vec![int("axis", axis)], dims))
    }

    /// Pieces of the sizes given along an axis.
    pub fn split(&self, x: &Value, axis: usize, sizes: &[usize]) -> Result<Vec<Value>> {
        let whole = x.dims.get(axis).copied().flatten();
        self.same(whole, Some(sizes.iter().sum()))?;
        let piece = |size: &usize| {
            let mut dims = x.dims.to_vec();
            dims.iter_mut().skip(axis).take(1).for_each(|side| *side = Some(*size));
            dims
        };
        let dims: Vec<Dims> = sizes.iter().map(piece).collect();
        let axis = int("axis", i64::try_from(axis).map_err(|e| self.wrong(e))?);
        let results: Vec<Value> = dims
            .into_iter()
            .enumerate()
            .map(|(i, dims)| self.result(&format!("Split.{i}"), dims, x.element))
            .collect();
        if sizes.iter().all(|size| Some(size) == sizes.first()) {
            let count = i64::try_from(sizes.len()).map_err(|e| self.wrong(e))?;
            self.push("Split", &[&x.name], vec![axis, int("num_outputs", count)], &results);
            return Ok(results);
        }
        let sizes: Vec<i64> = sizes.iter().filter_map(|size| i64::try_from(*size).ok()).collect();
        let sizes = self.ints(&sizes)?;
        self.push("Split", &[&x.name, &sizes.name], vec![axis], &results);
        Ok(results)
    }

    /// Elements `start..end` along an axis, the bounds being lists of one integer.
    pub fn slice(&self, x: &Value, start: &Value, end: &Value, axis: usize) -> Result<Value> {
        let mut dims = x.dims.to_vec();
        dims.iter_mut().skip(axis).take(1).for_each(|side| *side = None);
        let axis = self.ints(&[i64::try_from(axis).map_err(|e| self.wrong(e))?])?;
        Ok(self.one("Slice", &[x, start, end, &axis], vec![], dims))
    }

    /// Elements `start..end` along an axis.
    pub fn part(&self, x: &Value, start: usize, end: usize, axis: usize) -> Result<Value> {
        let bound = |n: usize| i64::try_from(n).map_err(|e| self.wrong(e)).and_then(|n| self.ints(&[n]));
        let sliced = self.slice(x, &bound(start)?, &bound(end)?, axis)?;
        let mut dims = sliced.dims.to_vec();
        dims.iter_mut().skip(axis).take(1).for_each(|side| *side = Some(end.saturating_sub(start)));
        Ok(Value::new(sliced.name, dims, sliced.element))
    }

    /// Rows of a table (N, W) by index (..): (.., W).
    pub fn gather(&self, table: &Value, indices: &Value) -> Result<Value> {
        let &[_, width] = &table.dims[..] else { return Err(self.wrong("a table of other than two sides")) };
        let mut dims = indices.dims.to_vec();
        dims.push(width);
        Ok(self.one("Gather", &[table, indices], vec![int("axis", 0)], dims))
    }

    /// One row of x (B, S, W) a batch row, by index (B, 1): (B, W).
    pub fn gather_rows(&self, x: &Value, indices: &Value) -> Result<Value> {
        let &[b, _, width] = &x.dims[..] else { return Err(self.wrong("rows of other than three sides")) };
        Ok(self.one("GatherND", &[x, indices], vec![int("batch_dims", 1)], vec![b, width]))
    }

    /// Index of the largest element along the last axis, the first of equals; the axis stays with one
    /// element where `keep`.
    pub fn argmax(&self, x: &Value, keep: bool) -> Value {
        self.extremum("ArgMax", x, keep)
    }

    /// As [`Scope::argmax`], of the smallest element.
    pub fn argmin(&self, x: &Value, keep: bool) -> Value {
        self.extremum("ArgMin", x, keep)
    }

    /// Sum over an axis, which is dropped.
    pub fn reduce_sum(&self, x: &Value, axis: usize) -> Result<Value> {
        let mut dims = x.dims.to_vec();
        if axis >= dims.len() {
            return Err(self.wrong("a sum over an axis that is not there"));
        }
        dims.remove(axis);
        let axes = self.ints(&[i64::try_from(axis).map_err(|e| self.wrong(e))?])?;
        Ok(self.one("ReduceSum", &[x, &axes], vec![int("keepdims", 0)], dims))
    }

    fn extremum(&self, op: &str, x: &Value, keep: bool) -> Value {
        let mut dims = x.dims.to_vec();
        dims.pop();
        dims.extend(keep.then_some(Some(1)));
        let attributes = vec![int("axis", -1), int("keepdims", keep.into()), int("select_last_index", 0)];
        self.typed(op, &[x], attributes, dims, Element::I64)
    }

    fn unary(&self, op: &str, x: &Value) -> Value {
        self.one(op, &[x], vec![], x.dims.to_vec())
    }

    fn binary(&self, op: &str, a: &Value, b: &Value) -> Result<Value> {
        let dims = self.broadcast(&a.dims, &b.dims)?;
        Ok(self.one(op, &[a, b], vec![], dims))
    }

    pub(super) fn one(
        &self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
        dims: Dims,
    ) -> Value {
        let element = inputs.first().map_or(self.float(), |value| value.element);
        self.typed(op, inputs, attributes, dims, element)
    }

    fn typed(
        &self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<AttributeProto>,
        dims: Dims,
        element: Element,
    ) -> Value {
        let names: Vec<&str> = inputs.iter().map(|value| &*value.name).collect();
        let result = self.result(op, dims, element);
        self.push(op, &names, attributes, std::slice::from_ref(&result));
        result
    }

    pub(super) fn same(&self, a: Option<usize>, b: Option<usize>) -> Result<()> {
        match (a, b) {
            (Some(a), Some(b)) if a != b => Err(self.wrong(format!("a side of {a} meets one of {b}"))),
            _ => Ok(()),
        }
    }

    fn broadcast(&self, a: &[Option<usize>], b: &[Option<usize>]) -> Result<Dims> {
        let rank = a.len().max(b.len());
        let padded = |x: &[Option<usize>]| -> Dims {
            std::iter::repeat_n(Some(1), rank - x.len()).chain(x.iter().copied()).collect()
        };
        let sides = padded(a).into_iter().zip(padded(b));
        sides
            .map(|(a, b)| match (a, b) {
                (Some(1), other) | (other, Some(1)) => Ok(other),
                (None, other) | (other, None) => Ok(other),
                (a, b) => self.same(a, b).map(|()| a),
            })
            .collect()
    }
}

fn conv_attributes(kernel: [Option<usize>; 2], strides: [i64; 2], pads: [i64; 4]) -> Vec<AttributeProto> {
    let kernel = kernel.iter().filter_map(|k| i64::try_from((*k)?).ok()).collect();
    vec![ints("kernel_shape", kernel), ints("pads", pads.to_vec()), ints("strides", strides.to_vec())]
}

/// Whether zeros around make up for what a kernel takes away.
fn keeps([top, left, bottom, right]: [i64; 4], kernel: [Option<usize>; 2]) -> bool {
    [top + bottom + 1, left + right + 1].map(|side| usize::try_from(side).ok()) == kernel
}

/// What the side -1 of a reshape comes to, where the others are known or kept.
fn left_over(from: &[Option<usize>], sides: &[i64]) -> Option<usize> {
    let changed = from.iter().enumerate().filter(|(axis, _)| sides.get(*axis) != Some(&0));
    let all: usize = changed.map(|(_, side)| *side).product::<Option<usize>>()?;
    let given: usize =
        sides.iter().filter_map(|side| usize::try_from(*side).ok()).filter(|side| *side > 0).product();
    all.checked_div(given)
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(r#type), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, attribute_type::INT) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, attribute_type::FLOAT) }
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, attribute_type::INTS) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, attribute_type::STRING) }
}
