//! The UNet, split by what a result depends on: the prompt, the time, or the picture.

use super::Networks;
use super::text::MultilingualText;
use crate::error::Result;
use crate::tensor::{Input, Tensor, TensorView, side, view_rows};
use kandinsky_models::Component;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which UNet of a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnetVariant {
    /// The one that draws.
    Draw,
    /// The one that inpaints, where the model has a second one.
    Inpaint,
}

impl UnetVariant {
    /// Its three graphs, in the order in which they run.
    pub const fn parts(self) -> [Component; 3] {
        match self {
            Self::Draw => [Component::UnetContext, Component::UnetFilm, Component::UnetStep],
            Self::Inpaint => [Component::InpaintContext, Component::InpaintFilm, Component::InpaintStep],
        }
    }

    /// The graph of a denoising step of the outermost level alone.
    pub const fn shallow_graph(self) -> Component {
        match self {
            Self::Draw => Component::UnetShallow,
            Self::Inpaint => Component::InpaintShallow,
        }
    }

    /// The graph of one denoising step.
    pub const fn step_graph(self) -> Component {
        let [_, _, step] = self.parts();
        step
    }
}

/// What the UNet needs of prompts and image embeddings, a row each, once a request.
#[derive(Debug, Clone)]
pub struct Context {
    /// Keys of every attention block f32\[B,Σheads,87,head\].
    pub k: Tensor,
    /// Values of every attention block f32\[B,Σheads,87,head\].
    pub v: Tensor,
    /// What is added to the time embedding f32\[B,E\].
    pub aug: Tensor,
    /// Tells contexts apart, so that a GPU keeps the keys and values of one that it has.
    id: u64,
}

/// Keys and values of some rows of a [`Context`], where they lie.
#[derive(Debug, Clone)]
pub struct ContextRows<'a> {
    k: TensorView<'a>,
    v: TensorView<'a>,
    id: u64,
}

impl Context {
    /// A context of its own.
    pub fn new(k: Tensor, v: Tensor, aug: Tensor) -> Self {
        // The second number is that of the text's half.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { k, v, aug, id: NEXT.fetch_add(2, Ordering::Relaxed) }
    }

    /// All rows.
    pub fn rows(&self) -> ContextRows<'_> {
        ContextRows { k: self.k.view(), v: self.v.view(), id: self.id }
    }

    /// The second half of the rows: the text's, where the first is the unconditional one.
    ///
    /// # Errors
    /// When the tensors have no rows.
    pub fn text_half(&self) -> Result<ContextRows<'_>> {
        let total = side(self.aug.shape(), 0)?;
        let k = view_rows(&self.k.view(), total / 2, total)?;
        let v = view_rows(&self.v.view(), total / 2, total)?;
        Ok(ContextRows { k, v, id: self.id + 1 })
    }
}

/// What a denoising step is given.
#[derive(Debug, Clone)]
pub struct StepInputs<'a> {
    /// The sample f32\[B,4 or 9,h,w\].
    pub sample: TensorView<'a>,
    /// Its rows of scales and shifts f32\[B,C\].
    pub film: TensorView<'a>,
    /// Keys and values of its rows.
    pub context: ContextRows<'a>,
}

/// What a full step gives of a model that was exported with `deep-cache`.
#[derive(Debug, Clone)]
pub struct DeepStep {
    /// The UNet's output f32\[B,8,h,w\].
    pub out: Tensor,
    /// What the deep levels gave f32\[B,C,h,w\].
    pub deep: Tensor,
}

/// Keys, values and added embedding of texts and image embeddings f32\[B,D\].
///
/// # Errors
/// As [`Networks::call`].
pub fn context(
    networks: &mut Networks,
    which: UnetVariant,
    text: &MultilingualText,
    image_embed: &Tensor,
) -> Result<Context> {
    let [graph, _, _] = which.parts();
    let inputs = [
        ("text_hidden", (&text.hidden).into()),
        ("text_pooled", (&text.pooled).into()),
        ("image_embed", image_embed.into()),
    ];
    let [k, v, aug] = networks.call_f32(graph, &inputs, ["k", "v", "aug"])?;
    Ok(Context::new(k, v, aug))
}

/// Scales and shifts f32\[T,B,C\] of every residual block at times t f32\[T\].
///
/// # Errors
/// As [`Networks::call`].
pub fn film(networks: &mut Networks, which: UnetVariant, t: &Tensor, aug: &Tensor) -> Result<Tensor> {
    let [_, graph, _] = which.parts();
    let [film] = networks.call_f32(graph, &[("t", t.into()), ("aug", aug.into())], ["film"])?;
    Ok(film)
}

/// The UNet's output f32\[B,8,h,w\].
///
/// # Errors
/// As [`Networks::call`].
pub fn step(networks: &mut Networks, which: UnetVariant, given: &StepInputs<'_>) -> Result<Tensor> {
    let graph = which.step_graph();
    let inputs = step_inputs(networks, graph, given)?;
    let [out] = networks.call_f32(graph, &inputs, ["out"])?;
    Ok(out)
}

/// As [`step`], with what the deep levels gave.
///
/// # Errors
/// As [`Networks::call`].
pub fn deep_step(networks: &mut Networks, which: UnetVariant, given: &StepInputs<'_>) -> Result<DeepStep> {
    let graph = which.step_graph();
    let inputs = step_inputs(networks, graph, given)?;
    let [out, deep] = networks.call_f32(graph, &inputs, ["out", "deep"])?;
    Ok(DeepStep { out, deep })
}

/// As [`step`] of the outermost level alone, on what the deep ones gave in an earlier [`deep_step`].
///
/// # Errors
/// As [`Networks::call`].
pub fn shallow_step(
    networks: &mut Networks,
    which: UnetVariant,
    given: &StepInputs<'_>,
    deep: &TensorView<'_>,
) -> Result<Tensor> {
    let graph = which.shallow_graph();
    let mut inputs = step_inputs(networks, graph, given)?;
    inputs.push(("deep", deep.view().into()));
    // Where the outermost level has no attention, the graph takes no context.
    let known = &networks.folder().graph(graph)?.inputs;
    inputs.retain(|(name, _)| known.iter().any(|port| port.name == *name));
    let [out] = networks.call_f32(graph, &inputs, ["out"])?;
    Ok(out)
}

/// Keys and values are left out where the device has those of this context.
fn step_inputs<'a>(
    networks: &mut Networks,
    graph: Component,
    given: &'a StepInputs<'_>,
) -> Result<Vec<(&'static str, Input<'a>)>> {
    let StepInputs { sample, film, context: ContextRows { k, v, id } } = given;
    let mut inputs = vec![("sample", sample.view().into()), ("film", film.view().into())];
    let context = [("k", k.view().into()), ("v", v.view().into())];
    if !networks.keep(graph, *id, &context)? {
        inputs.extend(context);
    }
    Ok(inputs)
}
