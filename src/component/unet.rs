//! The UNet, split by what a result depends on: the prompt, the time, or the picture.

use super::Networks;
use super::text::MultilingualText;
use crate::error::Result;
use crate::tensor::{Tensor, Value, rows};
use kandinsky_models::Component;
use std::sync::atomic::{AtomicU64, Ordering};

/// UnetVariant UNet of a model runs.
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

impl Context {
    /// A context of its own.
    pub fn new(k: Tensor, v: Tensor, aug: Tensor) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { k, v, aug, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The second half of the rows: the text's, where the first is the unconditional one.
    ///
    /// # Errors
    /// When there are no rows.
    pub fn text_half(&self) -> Result<Self> {
        let total = self.aug.shape().first().copied().unwrap_or(0);
        let half = |tensor: &Tensor| rows(tensor, total / 2, total);
        Ok(Self::new(half(&self.k)?, half(&self.v)?, half(&self.aug)?))
    }
}

/// Keys, values and added embedding of texts and image embeddings f32\[B,D\].
///
/// # Errors
/// As [`Networks::call`].
pub fn context(
    networks: &mut Networks,
    which: UnetVariant,
    text: &MultilingualText,
    image_embed: Tensor,
) -> Result<Context> {
    let [graph, _, _] = which.parts();
    let inputs = [
        ("text_hidden", text.hidden.clone().into()),
        ("text_pooled", text.pooled.clone().into()),
        ("image_embed", image_embed.into()),
    ];
    let [k, v, aug] = networks.call_f32(graph, &inputs, ["k", "v", "aug"])?;
    Ok(Context::new(k, v, aug))
}

/// Scales and shifts f32\[T,B,C\] of every residual block at times t f32\[T\].
///
/// # Errors
/// As [`Networks::call`].
pub fn film(networks: &mut Networks, which: UnetVariant, t: Tensor, aug: &Tensor) -> Result<Tensor> {
    let [_, graph, _] = which.parts();
    let inputs = [("t", t.into()), ("aug", aug.clone().into())];
    let [film] = networks.call_f32(graph, &inputs, ["film"])?;
    Ok(film)
}

/// The UNet's output f32\[B,8,h,w\] for a sample f32\[B,4 or 9,h,w\] and its rows of `film` f32\[B,C\].
///
/// # Errors
/// As [`Networks::call`].
pub fn step(
    networks: &mut Networks,
    which: UnetVariant,
    sample: Tensor,
    film: Tensor,
    context: &Context,
) -> Result<Tensor> {
    let graph = which.step_graph();
    let inputs = step_inputs(networks, graph, [sample, film], context)?;
    let [out] = networks.call_f32(graph, &inputs, ["out"])?;
    Ok(out)
}

/// As [`step`], and what the deep levels gave f32\[B,C,h,w\], of a model that was exported with `deep-cache`.
///
/// # Errors
/// As [`Networks::call`].
pub fn deep_step(
    networks: &mut Networks,
    which: UnetVariant,
    sample: Tensor,
    film: Tensor,
    context: &Context,
) -> Result<[Tensor; 2]> {
    let graph = which.step_graph();
    let inputs = step_inputs(networks, graph, [sample, film], context)?;
    networks.call_f32(graph, &inputs, ["out", "deep"])
}

/// As [`step`] of the outermost level alone, on what the deep ones gave in an earlier [`deep_step`].
///
/// # Errors
/// As [`Networks::call`].
pub fn shallow_step(
    networks: &mut Networks,
    which: UnetVariant,
    [sample, film, deep]: [Tensor; 3],
    context: &Context,
) -> Result<Tensor> {
    let graph = which.shallow_graph();
    let known = networks.folder().graph(graph)?.inputs.clone();
    let mut inputs = step_inputs(networks, graph, [sample, film], context)?;
    inputs.push(("deep", deep.into()));
    // Where the outermost level has no attention, the graph takes no context.
    inputs.retain(|(name, _)| known.iter().any(|port| port.name == *name));
    let [out] = networks.call_f32(graph, &inputs, ["out"])?;
    Ok(out)
}

/// Keys and values are left out where the device has those of this context.
fn step_inputs(
    networks: &mut Networks,
    graph: Component,
    [sample, film]: [Tensor; 2],
    context: &Context,
) -> Result<Vec<(&'static str, Value)>> {
    let mut inputs = vec![("sample", sample.into()), ("film", film.into())];
    if !networks.keep(graph, context.id, &[("k", &context.k), ("v", &context.v)])? {
        inputs.extend([("k", context.k.clone().into()), ("v", context.v.clone().into())]);
    }
    Ok(inputs)
}
