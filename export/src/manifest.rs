//! The manifest of a model folder, from the checkpoint's config files.

use crate::arch::Network;
use crate::checkpoint::{Checkpoint, Config, Part};
use crate::request::Request;
use crate::tokenizers::{self, Prepared};
use crate::{Error, Result, constants, schedulers};
use kandinsky_models::manifest::{ClipImage, Defaults, FORMAT, Latent, Source, Text, Tokenizer};
use kandinsky_models::{KANDINSKY_2_1, Manifest};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the configs say, before any graph or file is written.
pub(crate) struct Described {
    /// The manifest, still without components and files.
    pub manifest: Manifest,
    /// The tokenisers by role.
    pub tokenizers: Vec<(&'static str, Prepared)>,
    /// The config files that were read.
    pub sources: Vec<PathBuf>,
}

/// Reads everything of the checkpoint but weights. Where `bare`, tokenisers may be missing: a checkpoint
/// of configs alone, of which no picture will be drawn.
///
/// # Errors
/// When a file is missing, a field is missing or unknown, or two networks do not fit together.
pub(crate) fn describe(request: &Request, parts: &[Part], bare: bool) -> Result<Described> {
    let config = |kind| configs(parts, kind);
    let (unet, movq) = (config(Network::Unet)?, config(Network::Movq)?);
    check_fit(parts)?;
    let latent = latent(config(Network::Prior)?, unet, movq)?;
    let Checkpoint { prior, decoder, .. } = &request.checkpoint;
    let (mut schedulers, mut sources) = schedulers::read(prior, decoder)?;
    if let Some(on) = request.defaults.thresholding {
        schedulers::set(&mut schedulers, KANDINSKY_2_1.schedulers.ddpm, "thresholding", on.into());
    }
    let processor = Config::read(&prior.join("image_processor/preprocessor_config.json"))?;
    let clip_image = clip_image(&processor, config(Network::ImageEncoder)?)?;
    let (text, tokenizers) = text(&request.checkpoint, parts, bare)?;
    sources.push(processor.path);
    sources.extend(parts.iter().map(|part| part.config.path.clone()));
    sources.extend(tokenizers.iter().flat_map(|(_, prepared)| prepared.sources.clone()));
    let source = Source {
        description: request.description.clone(),
        licence: request.licence.clone(),
        files: BTreeMap::new(),
    };
    let manifest = Manifest {
        format: FORMAT,
        family: KANDINSKY_2_1.name.to_owned(),
        name: request.name.clone(),
        precision: request.stored(),
        target: request.target,
        rewrites: request.style().rewrites.names(),
        source,
        components: BTreeMap::new(),
        files: BTreeMap::new(),
        text,
        clip_image,
        defaults: defaults(request, unet, &latent)?,
        latent,
        schedulers,
    };
    Ok(Described { manifest, tokenizers, sources })
}

fn configs(parts: &[Part], kind: Network) -> Result<&Config> {
    let part = parts.iter().find(|part| part.kind == kind);
    let reason = || format!("the checkpoint was listed without {kind:?}");
    part.map(|part| &part.config)
        .ok_or_else(|| Error::Drawing { graph: constants::ROLE.to_owned(), reason: reason() })
}

/// Networks of different checkpoints have other widths; each pair of fields states one width.
fn check_fit(parts: &[Part]) -> Result<()> {
    let pairs = [
        ((Network::TextEncoder, "projection_dim"), (Network::Prior, "embedding_dim")),
        ((Network::ImageEncoder, "projection_dim"), (Network::Prior, "embedding_dim")),
        ((Network::Unet, "cross_attention_dim"), (Network::Prior, "embedding_dim")),
        ((Network::MultilingualEncoder, "numDims"), (Network::Unet, "cross_attention_dim")),
        ((Network::MultilingualEncoder, "transformerDimensions"), (Network::Unet, "encoder_hid_dim")),
    ];
    let inpaint = parts.iter().any(|part| part.kind == Network::InpaintUnet);
    let same = ["cross_attention_dim", "encoder_hid_dim"];
    let same = same
        .iter()
        .filter(|_| inpaint)
        .map(|field| ((Network::InpaintUnet, *field), (Network::Unet, *field)));
    for ((kind, field), (other, other_field)) in pairs.into_iter().chain(same) {
        let (config, other) = (configs(parts, kind)?, configs(parts, other)?);
        let (found, expected) = (config.whole(field)?, other.whole(other_field)?);
        if found != expected {
            let whose = other.path.display();
            return Err(config.bad(format!("{field} is {found}, and {other_field} of {whose} is {expected}")));
        }
    }
    let movq = configs(parts, Network::Movq)?.whole("latent_channels")?;
    let knowing = movq.saturating_mul(2).saturating_add(1);
    for part in parts {
        match part.kind {
            Network::Unet => check_channels(&part.config, &[movq, knowing], movq)?,
            Network::InpaintUnet => check_channels(&part.config, &[knowing], movq)?,
            _ => {}
        }
    }
    Ok(())
}

/// A UNet takes latents, or latents with known latents and their mask, and gives noise and variance.
fn check_channels(config: &Config, known: &[usize], latent: usize) -> Result<()> {
    let (inputs, outputs) = (config.whole("in_channels")?, config.whole("out_channels")?);
    let what = |field: &str| format!("{field} of {}", config.path.display());
    if !known.contains(&inputs) {
        let known: Vec<_> = known.iter().map(ToString::to_string).collect();
        let (found, known) = (inputs.to_string(), known.join(" or "));
        return Err(Error::Unknown { what: what("in_channels"), found, known });
    }
    let twice = latent.saturating_mul(2);
    if outputs != twice {
        let (found, known) = (outputs.to_string(), twice.to_string());
        return Err(Error::Unknown { what: what("out_channels"), found, known });
    }
    Ok(())
}

fn latent(prior: &Config, unet: &Config, movq: &Config) -> Result<Latent> {
    Ok(Latent {
        channels: movq.whole("latent_channels")?,
        factor: halvings(movq)?,
        multiple: halvings(unet)?,
        embed: prior.whole("embedding_dim")?,
        unet_channels: unet.whole("in_channels")?,
    })
}

/// 2 to the number of a network's halvings: one between each two of its levels.
fn halvings(config: &Config) -> Result<usize> {
    let levels = config.list("block_out_channels")?.len();
    let exponent = levels.checked_sub(1).and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 10);
    let factor = exponent.and_then(|n| 1_usize.checked_shl(n));
    factor
        .ok_or_else(|| config.bad(format!("block_out_channels has {levels} levels; the limits are 1 and 11")))
}

fn defaults(request: &Request, unet: &Config, latent: &Latent) -> Result<Defaults> {
    let (own, usual) = (&request.defaults, &KANDINSKY_2_1.defaults);
    let trained = unet.whole("sample_size")?.saturating_mul(latent.factor);
    Ok(Defaults {
        steps: own.steps.unwrap_or(usual.steps),
        guidance: own.guidance.unwrap_or(usual.guidance),
        prior_steps: own.prior_steps.unwrap_or(usual.prior_steps),
        prior_guidance: own.prior_guidance.unwrap_or(usual.prior_guidance),
        width: own.width.unwrap_or(trained),
        height: own.height.unwrap_or(trained),
        sampler: own.sampler.clone().unwrap_or_else(|| KANDINSKY_2_1.samplers.decoder.to_owned()),
    })
}

fn clip_image(processor: &Config, encoder: &Config) -> Result<ClipImage> {
    let size = side(processor, "crop_size", "height")?;
    for (config, found) in [
        (processor, side(processor, "crop_size", "width")?),
        (processor, side(processor, "size", "shortest_edge")?),
        (encoder, encoder.whole("image_size")?),
    ] {
        if found != size {
            return Err(config.bad(format!("a side is {found}, and crop_size of the preprocessor is {size}")));
        }
    }
    if processor.field("resample").is_some_and(|filter| filter.as_u64() != Some(3)) {
        let found = processor.need("resample")?.to_string();
        return Err(Error::Unknown { what: "resample".to_owned(), found, known: "3 (bicubic)".to_owned() });
    }
    Ok(ClipImage { size, mean: channels(processor, "image_mean")?, std: channels(processor, "image_std")? })
}

/// A side stated as a number or as an object; `edge` is the object's field.
fn side(config: &Config, field: &str, edge: &str) -> Result<usize> {
    let value = config.need(field)?;
    let number = value.as_u64().or_else(|| value.get(edge)?.as_u64());
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| config.bad(format!("{field} states no {edge}")))
}

fn channels(config: &Config, field: &str) -> Result<[f64; 3]> {
    let numbers: Option<Vec<f64>> = config.list(field)?.iter().map(Value::as_f64).collect();
    let three = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
    three.ok_or_else(|| config.bad(format!("{field} is not a list of three numbers")))
}

type Texts = (Text, Vec<(&'static str, Prepared)>);

fn text(checkpoint: &Checkpoint, parts: &[Part], bare: bool) -> Result<Texts> {
    let clip_config = configs(parts, Network::TextEncoder)?;
    let clip_positions = clip_config.whole("max_position_embeddings")?;
    let clip_positions = clip_positions.min(configs(parts, Network::Prior)?.whole("num_embeddings")?);
    let config = configs(parts, Network::MultilingualEncoder)?;
    // Rows up to that of padding are no positions of tokens.
    let positions =
        config.whole("max_position_embeddings")?.saturating_sub(config.whole("pad_token_id")? + 1);
    let mut prepared = Vec::new();
    let folder = checkpoint.prior.join("tokenizer");
    let clip = if bare && !folder.is_dir() {
        tokenizers::ids_of_config(clip_config, clip_positions)?
    } else {
        add(&mut prepared, KANDINSKY_2_1.tokenizers.clip, tokenizers::clip(&folder, clip_positions)?)
    };
    let folder = checkpoint.decoder.join("tokenizer");
    let multilingual = if bare && !folder.is_dir() {
        tokenizers::ids_of_config(config, positions)?
    } else {
        add(
            &mut prepared,
            KANDINSKY_2_1.tokenizers.multilingual,
            tokenizers::multilingual(&folder, positions)?,
        )
    };
    Ok((Text { clip, multilingual }, prepared))
}

fn add(all: &mut Vec<(&'static str, Prepared)>, role: &'static str, prepared: Prepared) -> Tokenizer {
    let ids = prepared.ids.clone();
    all.push((role, prepared));
    ids
}
