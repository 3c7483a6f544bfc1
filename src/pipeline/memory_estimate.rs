//! What a request takes of memory: its phases in order, and its graphs' footprints at its sizes.

use super::{Sides, start};
use crate::component::Networks;
use crate::component::unet::UnetVariant;
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::opening::GraphFacts;
use crate::priors::PriorKind;
use crate::progress::Stage;
use crate::request::ResolvedRequest;
use crate::residency::{Coefficients, Footprint, Phase};
use crate::stage::denoise::FILM_NUMBERS;
use kandinsky_models::manifest::Precision;
use kandinsky_models::{Component, Folder, KANDINSKY_2_1};
use std::collections::BTreeMap;

/// The phases of a request, in order. The image encoder is in them only where a picture is looked at, or its constant
/// is not stored; `previewed` says whether previews are decoded while the UNet runs.
///
/// # Errors
/// When the model lacks a UNet that the request needs.
pub fn phases(
    folder: &Folder,
    constants: &Constants,
    resolved: &ResolvedRequest,
    previewed: bool,
) -> Result<Vec<Phase>> {
    use Component::{
        ImageEncoder, MovqDecoder, MovqEncoder, MovqQuantize, MultilingualEncoder, PriorPrefix, PriorStep,
        TextEncoder,
    };
    let looks =
        resolved.mix.iter().any(|part| part.what.picture().is_some()) || resolved.negative_picture.is_some();
    let diffuses = resolved.prior == PriorKind::Diffusion;
    let mut prior = vec![if diffuses { PriorStep } else { TextEncoder }];
    prior.extend(constants.zero_image.is_none().then_some(ImageEncoder));
    let unet = start::which(folder, &resolved.start)?;
    let [context, film, step] = unet.parts();
    let mut condition = vec![context, film];
    let mut denoise = vec![step];
    denoise.extend((resolved.deep_cache > 1).then_some(unet.shallow_graph()));
    denoise.extend(previewed.then_some(MovqDecoder));
    if !conditioned_once(folder, resolved)? {
        denoise.append(&mut condition);
    }
    let mut decode = vec![MovqDecoder];
    decode.extend(resolved.quantize.then_some(MovqQuantize));
    let all = [
        (Stage::EncodeImages, resolved.start.picture().map(|_| MovqEncoder).into_iter().collect()),
        (Stage::EncodeImages, looks.then_some(ImageEncoder).into_iter().collect()),
        (Stage::Encode, if diffuses { vec![TextEncoder, PriorPrefix] } else { Vec::new() }),
        (Stage::Encode, vec![MultilingualEncoder]),
        (Stage::Prior, prior),
        (Stage::Denoise, condition),
        (Stage::Denoise, denoise),
        (Stage::Decode, decode),
    ];
    let phase =
        |(stage, graphs): (Stage, Vec<Component>)| Phase { stage, graphs: graphs.into_iter().collect() };
    Ok(all.into_iter().map(phase).filter(|phase| !phase.graphs.is_empty()).collect())
}

/// Whether the UNet's context and FiLM are computed before its first step and never again: where all pictures are denoised
/// together, and one table of FiLM holds every step. Half of its numbers leave room for samplers that call twice a step.
fn conditioned_once(folder: &Folder, resolved: &ResolvedRequest) -> Result<bool> {
    let parts = Sides::new(&folder.manifest().latent, resolved).parts(resolved);
    let [part] = parts.as_slice() else { return Ok(false) };
    let steps = resolved.steps.max(resolved.timesteps.len());
    Ok(wide(2 * part.len() * steps) * film_width(folder)? <= wide(FILM_NUMBERS) / 2)
}

/// What each graph of some phases takes of memory for a request.
///
/// # Errors
/// When a graph is missing or cannot be read.
pub fn footprints(
    networks: &mut Networks,
    phases: &[Phase],
    resolved: &ResolvedRequest,
) -> Result<BTreeMap<Component, Footprint>> {
    let graphs = phases.iter().flat_map(|phase| phase.graphs.iter().copied());
    graphs.map(|component| Ok((component, footprint(networks, component, resolved)?))).collect()
}

fn footprint(networks: &mut Networks, component: Component, resolved: &ResolvedRequest) -> Result<Footprint> {
    let (rates, facts) = (networks.coefficients(component)?, networks.facts(component)?);
    let folder = networks.folder();
    let spec = folder.graph(component)?;
    // Runtimes widen half floats as they open a graph.
    let widened = if folder.manifest().precision == Precision::F16 { 2 } else { 1 };
    let weights = spec.data_bytes().saturating_mul(widened);
    let graph = Estimated { component, weights, rates: &rates, facts };
    let running = running(folder, &graph, resolved)?;
    Ok(Footprint::new(&rates, component, (weights, spec.graph.bytes), running))
}

/// Bytes of a number.
const F32: u64 = 4;
/// What graphs take whose maps are few: texts and embeddings.
const SMALL: u64 = 1 << 20;

/// A graph and what is known of it.
struct Estimated<'a> {
    component: Component,
    /// Bytes of its weights as f32.
    weights: u64,
    rates: &'a Coefficients,
    facts: GraphFacts,
}

/// Memory of a graph's run at a request's sizes, in bytes.
fn running(folder: &Folder, graph: &Estimated<'_>, resolved: &ResolvedRequest) -> Result<u64> {
    let Estimated { component, weights, rates, facts } = *graph;
    let latent = &folder.manifest().latent;
    let sides = Sides::new(latent, resolved);
    let points = wide(sides.height * sides.width);
    let pixels = points * wide(latent.factor * latent.factor);
    let together = sides.parts(resolved).first().map_or(1, |part| wide(part.len()));
    let rows = together * if Guidance::new(resolved.guidance).is_on() { 2 } else { 1 };
    Ok(match component {
        Component::UnetStep | Component::InpaintStep | Component::UnetShallow | Component::InpaintShallow => {
            let channels = facts.channels(component)?;
            // Attention begins at half the sides, where maps are twice as wide.
            let (attended, heads) = (points / 4, 2 * channels / facts.head.unwrap_or(HEAD).max(1));
            F32 * rows
                * (rates.unet_maps * channels * points
                    + rates.scores * heads * attended * (attended + wide(KANDINSKY_2_1.context_tokens())))
        }
        Component::MovqDecoder | Component::MovqEncoder => {
            let maps = rates.movq_maps * facts.channels(component)? * pixels;
            // Attention at latent size comes before the widest maps, or after them.
            F32 * maps.max(rates.scores * points * points)
        }
        // Distances of all latents to all entries of the codebook.
        Component::MovqQuantize => 2 * points * weights / wide(latent.channels).max(1),
        Component::UnetFilm | Component::InpaintFilm => {
            SMALL + 2 * F32 * rows * wide(resolved.steps) * film_width(folder)?
        }
        Component::TextEncoder
        | Component::MultilingualEncoder
        | Component::ImageEncoder
        | Component::PriorPrefix
        | Component::PriorStep
        | Component::UnetContext
        | Component::InpaintContext => SMALL + weights / 200,
    })
}

/// Numbers of a head where a step is given no keys to tell: its outermost level has no attention.
const HEAD: u64 = 64;

/// Numbers of FiLM of a row.
fn film_width(folder: &Folder) -> Result<u64> {
    let step = UnetVariant::Draw.step_graph();
    let port = folder.graph(step)?.inputs.iter().find(|port| port.name == "film");
    let width = port.and_then(|port| port.fixed(1)).map(wide);
    let missing = || format!("{step} does not say how wide its film is; export the model again");
    width.ok_or_else(|| Error::new(Kind::BadModel, missing()))
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
