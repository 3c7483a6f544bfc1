//! The networks of Kandinsky 2.1: one file each, drawn from the checkpoint's own config.

mod image_encoder;
mod movq;
mod multilingual_encoder;
mod prior;
mod text_encoder;
mod unet;

use crate::graph::{Graph, Scope};
use crate::rewrites::{GraphStyle, Rewrite};
use crate::weights::Weights;
use crate::{Error, Result, config};
use kandinsky_models::Component;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A folder of a checkpoint that holds a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// `text_encoder` of a prior: CLIP.
    TextEncoder,
    /// `image_encoder` of a prior: CLIP.
    ImageEncoder,
    /// `text_encoder` of a decoder: XLM-R with a projection.
    MultilingualEncoder,
    /// `prior` of a prior.
    Prior,
    /// `unet` of a decoder that draws.
    Unet,
    /// `unet` of a decoder that inpaints.
    InpaintUnet,
    /// `movq` of a decoder.
    Movq,
}

/// A drawn graph and what it is in a model folder.
#[derive(Debug, Clone)]
pub struct BuiltGraph {
    /// What it is.
    pub component: Component,
    /// Its nodes and weights.
    pub graph: Graph,
}

/// Draws every graph of a network, checking every tensor against `weights`.
///
/// # Errors
/// When the config (read from `config_path`, which is named in messages) lacks a field or asks for
/// something that is not drawn, or a tensor is missing or has another shape.
pub fn draw(
    kind: Network,
    config: &Value,
    config_path: &Path,
    weights: &dyn Weights,
) -> Result<Vec<BuiltGraph>> {
    draw_for(&GraphStyle::default(), kind, config, config_path, weights)
}

/// As [`draw`], in a style.
///
/// # Errors
/// As [`draw`].
pub fn draw_for(
    style: &GraphStyle,
    kind: Network,
    config: &Value,
    config_path: &Path,
    weights: &dyn Weights,
) -> Result<Vec<BuiltGraph>> {
    draw_with(kind, config, config_path, BuildOptions { style, weights: Some(weights) })
}

/// Every tensor that a network has in a checkpoint, with its shape, sorted by name.
///
/// # Errors
/// When the config cannot be drawn, as in [`draw`].
pub fn tensors(kind: Network, config: &Value, config_path: &Path) -> Result<Vec<(String, Vec<usize>)>> {
    let drawings =
        draw_with(kind, config, config_path, BuildOptions { style: &GraphStyle::default(), weights: None })?;
    let all = drawings.iter().flat_map(|drawing| drawing.graph.tensors().clone());
    Ok(all.collect::<BTreeMap<_, _>>().into_iter().collect())
}

/// The prior or a UNet as one graph that computes everything at every step. No model folder has it: it
/// is what the split graphs are compared with.
///
/// # Errors
/// As [`draw`], and for a network that is never split.
pub fn unsplit(kind: Network, config: &Value, config_path: &Path, weights: &dyn Weights) -> Result<Graph> {
    match kind {
        Network::Prior => {
            let c = config::Prior::read(config, config_path)?;
            Graph::draw("prior", Some(weights), |w| prior::unsplit(w, &c))
        }
        Network::Unet | Network::InpaintUnet => {
            let c = config::Unet::read(config, config_path)?;
            Graph::draw("unet", Some(weights), |w| unet::unsplit(w, &c))
        }
        other => Err(Error::Unknown {
            what: "the network to draw in one piece".to_owned(),
            found: format!("{other:?}"),
            known: "the prior or a UNet".to_owned(),
        }),
    }
}

/// What a network is drawn on.
#[derive(Clone, Copy)]
struct BuildOptions<'a> {
    style: &'a GraphStyle,
    weights: Option<&'a dyn Weights>,
}

fn draw_with(
    kind: Network,
    config: &Value,
    path: &Path,
    options: BuildOptions<'_>,
) -> Result<Vec<BuiltGraph>> {
    match kind {
        Network::TextEncoder => {
            let c = config::TextEncoder::read(config, path)?;
            Ok(vec![one(Component::TextEncoder, options, &|w| text_encoder::draw(w, &c))?])
        }
        Network::ImageEncoder => {
            let c = config::ImageEncoder::read(config, path)?;
            Ok(vec![one(Component::ImageEncoder, options, &|w| image_encoder::draw(w, &c))?])
        }
        Network::MultilingualEncoder => {
            let c = config::MultilingualEncoder::read(config, path)?;
            Ok(vec![one(Component::MultilingualEncoder, options, &|w| multilingual_encoder::draw(w, &c))?])
        }
        Network::Prior => {
            let c = config::Prior::read(config, path)?;
            Ok(vec![
                one(Component::PriorPrefix, options, &|w| prior::prefix(w, &c))?,
                one(Component::PriorStep, options, &|w| prior::step(w, &c))?,
            ])
        }
        Network::Unet => {
            let parts =
                [Component::UnetContext, Component::UnetFilm, Component::UnetStep, Component::UnetShallow];
            unets(parts, config, path, options)
        }
        Network::InpaintUnet => {
            let parts = [
                Component::InpaintContext,
                Component::InpaintFilm,
                Component::InpaintStep,
                Component::InpaintShallow,
            ];
            unets(parts, config, path, options)
        }
        Network::Movq => {
            let c = config::Movq::read(config, path)?;
            Ok(vec![
                one(Component::MovqEncoder, options, &|w| movq::encoder(w, &c))?,
                one(Component::MovqQuantize, options, &|w| movq::quantize(w, &c))?,
                one(Component::MovqDecoder, options, &|w| movq::decoder(w, &c))?,
            ])
        }
    }
}

fn unets(
    [context, film, step, shallow]: [Component; 4],
    config: &Value,
    path: &Path,
    options: BuildOptions<'_>,
) -> Result<Vec<BuiltGraph>> {
    let c = config::Unet::read(config, path)?;
    let mut drawings = vec![
        one(context, options, &|w| unet::context(w, &c))?,
        one(film, options, &|w| unet::film(w, &c))?,
        one(step, options, &|w| unet::step(w, &c))?,
    ];
    if options.style.rewrites.has(Rewrite::DeepCache) {
        drawings.push(one(shallow, options, &|w| unet::shallow(w, &c))?);
    }
    Ok(drawings)
}

fn one(
    component: Component,
    options: BuildOptions<'_>,
    build: &dyn Fn(&Scope<'_>) -> Result<()>,
) -> Result<BuiltGraph> {
    Ok(BuiltGraph {
        component,
        graph: Graph::draw_for(options.style, component.name(), options.weights, build)?,
    })
}
