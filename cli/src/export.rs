//! `kandinsky export`: a checkpoint becomes a model folder.

use super::bars;
use super::{Report, cancel_on_interrupt, size_in_bytes, to_json};
use anyhow::Result;
use kandinsky::internal::bake;
use kandinsky::internal::sampler::{self, Role};
use kandinsky::{CancelToken, Error, Kind, Profile, Size};
use kandinsky_export::rewrites::{Facts, On};
use kandinsky_export::{
    Checkpoint, Overrides, Progress, Request, Rewrite, Rewrites, StoredDtype, SyntheticCheckpoint,
    WeightSource,
};
use kandinsky_models::manifest::{Precision, Target};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Turn a checkpoint into a model folder
///
/// Reads the layout of kandinsky-community/kandinsky-2-1-prior, -2-1 and -2-1-inpaint (safetensors, single
/// files or shards) and writes ONNX graphs, tokenisers, constants and a manifest with hashes. With
/// --synthetic, weights are made up from a folder of config files. An output folder that exists is left
/// alone unless --force is given and it is a model folder; a folder appears whole or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// The repository with the prior and CLIP
    #[arg(long, value_name = "DIR", required_unless_present = "synthetic", requires = "decoder")]
    prior: Option<PathBuf>,
    /// The repository with the UNet, MoVQ and XLM-R
    #[arg(long, value_name = "DIR", required_unless_present = "synthetic", requires = "prior")]
    decoder: Option<PathBuf>,
    /// The repository with the inpainting UNet
    #[arg(long, value_name = "DIR", requires = "decoder")]
    inpaint: Option<PathBuf>,
    /// A folder of config folders to make weights up for, instead of a checkpoint
    #[arg(long, value_name = "DIR", conflicts_with_all = ["prior", "decoder", "inpaint"])]
    synthetic: Option<PathBuf>,
    /// Seed of the synthetic weights, decimal or 0x…; the inpainting UNet takes the next
    #[arg(long, value_name = "N", requires = "synthetic", default_value = "0x4B414E44494E5359", value_parser = seed)]
    seed: u64,
    /// Write the synthetic weights as a checkpoint here
    #[arg(long, value_name = "DIR", requires = "synthetic")]
    checkpoint_out: Option<PathBuf>,
    /// Bytes of a shard of that checkpoint, such as 2G; one file a component when it is not given
    #[arg(long, value_name = "SIZE", requires = "checkpoint_out", value_parser = size_in_bytes)]
    shard_size: Option<u64>,
    /// How that checkpoint stores weights
    #[arg(long, value_name = "TYPE", requires = "checkpoint_out", default_value = "f32", value_parser = ["f32", "f16", "bf16"])]
    checkpoint_precision: String,
    /// The model folder to write
    #[arg(long, value_name = "DIR", required_unless_present = "checkpoint_out")]
    out: Option<PathBuf>,
    /// How the model folder stores weights; arithmetic is f32 either way
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "f16"])]
    precision: String,
    /// What to call the model; the folder's name when it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the weights are, in words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// SPDX expression of the weights' licence
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// The model's default decoder steps
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// The model's default sampler
    #[arg(long, value_name = "NAME", value_parser = sampler_names())]
    sampler: Option<String>,
    /// The model's default decoder guidance
    #[arg(long, value_name = "X")]
    guidance: Option<f64>,
    /// The model's default prior steps
    #[arg(long, value_name = "N")]
    prior_steps: Option<usize>,
    /// The model's default prior guidance
    #[arg(long, value_name = "X")]
    prior_guidance: Option<f64>,
    /// The model's default size
    #[arg(long, value_name = "WxH")]
    size: Option<Size>,
    /// Do not threshold the latents that ddpm predicts: for models whose latents exceed 1, unlike the published
    /// ones
    #[arg(long)]
    no_thresholding: bool,
    /// Replace a model folder that exists
    #[arg(long)]
    force: bool,
    /// Leave out the constants that are computed with the graphs; text to image then needs the image
    /// encoder
    #[arg(long)]
    no_constants: bool,
    /// What the graphs are drawn for: every runtime in f32, or one GPU runtime in f16
    #[arg(long, value_name = "NAME", default_value = "portable", value_parser = Target::ALL.map(Target::name))]
    target: String,
    /// Draw without a rewrite that is on: see --with
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    without: Vec<String>,
    /// Draw with a rewrite that is off
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', long_help = rewrites())]
    with: Vec<String>,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let cancel = cancel_on_interrupt()?;
    let mut made = Made::default();
    if let (Some(configs), Some(out)) = (&args.synthetic, &args.checkpoint_out) {
        let mirror = SyntheticCheckpoint {
            configs: configs.clone(),
            seed: args.seed,
            out: out.clone(),
            shard_limit: args.shard_size,
            stored: args.stored(),
        };
        with_bar("weights", &cancel, |tell| kandinsky_export::write_checkpoint(&mirror, tell))?;
        made.checkpoint = Some(out.clone());
    }
    if let Some(out) = &args.out {
        let request = args.request(out)?;
        let report = with_bar("export", &cancel, |tell| {
            if args.no_constants {
                return kandinsky_export::export(&request, tell);
            }
            kandinsky_export::export_then(&request, tell, &mut |folder| {
                bake::constants(folder).map_err(Box::from)
            })
        })?;
        made.peak_bytes = kandinsky::internal::system::peak();
        made.fill(out.clone(), &report);
    }
    Ok(Box::new(made))
}

impl Args {
    fn stored(&self) -> StoredDtype {
        match self.checkpoint_precision.as_str() {
            "f16" => StoredDtype::F16,
            "bf16" => StoredDtype::Bf16,
            _ => StoredDtype::F32,
        }
    }

    fn stored_precision(&self) -> Precision {
        if self.precision == "f16" { Precision::F16 } else { Precision::F32 }
    }

    fn rewrites(&self) -> Result<Rewrites> {
        let named =
            |name: &String| Rewrite::named(name).map_err(|e| Error::new(Kind::BadRequest, e.to_string()));
        let mut rewrites = Rewrites::of(self.stored_precision());
        for name in &self.without {
            rewrites = rewrites.without(named(name)?);
        }
        for name in &self.with {
            rewrites = rewrites.with(named(name)?);
        }
        Ok(rewrites)
    }

    fn request(&self, out: &std::path::Path) -> Result<Request> {
        let (checkpoint, origin) = match (&self.synthetic, &self.prior, &self.decoder) {
            (Some(configs), _, _) => (Checkpoint::find(configs)?, WeightSource::Synthetic(self.seed)),
            (None, Some(prior), Some(decoder)) => {
                let (prior, decoder) = (prior.clone(), decoder.clone());
                (Checkpoint { prior, decoder, inpaint: self.inpaint.clone() }, WeightSource::Files)
            }
            _ => {
                return Err(
                    Error::new(Kind::BadRequest, "a prior and a decoder, or configs, are needed").into()
                );
            }
        };
        let mut request = Request::new(checkpoint, out);
        request.origin = origin;
        request.precision = self.stored_precision();
        let own_name = || out.file_name().map(|name| name.to_string_lossy().into_owned());
        request.name = self.name.clone().or_else(own_name).unwrap_or(request.name);
        request.description = self.description.clone().unwrap_or(request.description);
        request.licence = self.licence.clone();
        request.force = self.force;
        request.target = Target::ALL.into_iter().find(|t| t.name() == self.target).unwrap_or_default();
        request.rewrites = self.rewrites()?;
        request.defaults = Overrides {
            steps: self.steps,
            guidance: self.guidance,
            prior_steps: self.prior_steps,
            prior_guidance: self.prior_guidance,
            width: self.size.map(|size| size.width),
            height: self.size.map(|size| size.height),
            sampler: self.sampler.clone(),
            thresholding: self.no_thresholding.then_some(false),
        };
        Ok(request)
    }
}

/// Runs `work` with a bar of bytes; Ctrl-C ends it, and it removes what it began.
fn with_bar<T>(
    name: &'static str,
    cancel: &CancelToken,
    work: impl FnOnce(&mut dyn FnMut(Progress<'_>) -> kandinsky_export::Result<()>) -> kandinsky_export::Result<T>,
) -> Result<T> {
    let bar = bars::bar(name, 0, "{bytes}/{total_bytes} {prefix}");
    let outcome = work(&mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_prefix(progress.what.to_owned());
        if cancel.is_cancelled() { Err(kandinsky_export::Error::Cancelled) } else { Ok(()) }
    });
    bar.finish_and_clear();
    Ok(outcome?)
}

/// Every rewrite with its line.
fn rewrites() -> String {
    let when = |on| match on {
        On::Always => " (on)",
        On::F32 => " (on in f32)",
        On::Asked => "",
    };
    let line = |facts: Facts| format!("\n  {:<17} {}{}", facts.name, facts.doc, when(facts.on));
    let lines = Rewrite::ALL.map(|rewrite| line(rewrite.facts())).concat();
    format!("Draw with a rewrite that is off. Those of portable graphs:\n{lines}")
}

/// The decoder's samplers of the profile that models are used with.
fn sampler_names() -> clap::builder::PossibleValuesParser {
    sampler::names(Role::Decoder, Profile::Diffusers).collect::<Vec<_>>().into()
}

fn seed(text: &str) -> std::result::Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    parsed.map_err(|e| e.to_string())
}

#[derive(Default, Serialize)]
struct Made {
    model: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
    components: Vec<Row>,
    parameters: u64,
    bytes: u64,
    peak_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Row {
    component: &'static str,
    parameters: u64,
    bytes: u64,
}

impl Made {
    fn fill(&mut self, out: PathBuf, report: &kandinsky_export::Report) {
        self.model = Some(out);
        let row = |r: &kandinsky_export::ComponentReport| Row {
            component: r.component.name(),
            parameters: r.parameters,
            bytes: r.bytes,
        };
        self.components = report.components.iter().map(row).collect();
        self.parameters = report.parameters;
        self.bytes = report.bytes;
    }
}

impl Report for Made {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(checkpoint) = &self.checkpoint {
            writeln!(f, "checkpoint {}", checkpoint.display())?;
        }
        let Some(model) = &self.model else { return Ok(()) };
        writeln!(f, "{:<21} {:>13} {:>14}", "component", "parameters", "bytes")?;
        for row in &self.components {
            writeln!(f, "{:<21} {:>13} {:>14}", row.component, row.parameters, row.bytes)?;
        }
        writeln!(f, "{:<21} {:>13} {:>14}", "all files", self.parameters, self.bytes)?;
        writeln!(f, "model {}", model.display())
    }
}
