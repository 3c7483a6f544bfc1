//! `kandinsky fit-prior`: a linear or residual prior from a folder of pictures with captions.

use super::bars::Bars;
use super::{Report, RuntimeArgs, cancel_on_interrupt, open_engine, to_json};
use anyhow::Result;
use kandinsky::internal::priors::Card;
use kandinsky::internal::{atomic_file, fit};
use kandinsky::{Observer, PriorKind};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Fit a prior on a folder of pictures with captions
///
/// The folder holds captions.jsonl with lines {"file": "a.png", "caption": "…"}, or captions.tsv with lines
/// of a file, a tab and a caption, or NAME.txt beside each NAME.png (jpg, webp) with a caption a line. A
/// picture can have several captions. One picture in five is held out, and the errors on those are told
/// beside those of always answering with the mean embedding. The prior fits every model with the same CLIP.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of pictures with captions, at least 8 pictures
    folder: PathBuf,
    /// The prior: linear, a closed-form ridge regression, or residual, 18 residual blocks trained by Adam
    #[arg(long, value_name = "KIND", default_value = "linear", value_parser = ["linear", "residual"])]
    kind: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Seed of the split and of the residual prior's training
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Replace an output file that exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let kind: PriorKind = args.kind.parse()?;
    atomic_file::check_target(&args.out, args.force)?;
    // A folder that cannot be used is refused before the model is opened.
    let captioned = fit::captions::read(&args.folder)?;
    let (_, engine) = open_engine(args.model.as_deref(), &args.runtime)?;
    let cancel = cancel_on_interrupt()?;
    let mut bars = Bars::default();
    let mut observer = Observer {
        on_progress: Some(Box::new(|progress| bars.show(progress))),
        cancel,
        ..Observer::default()
    };
    let encoder = engine.encoder(false);
    let prior = engine
        .with_networks(|networks| fit::run(networks, &encoder, &captioned, kind, args.seed, &mut observer));
    drop(observer);
    bars.clear();
    let prior = prior?;
    prior.save(&args.out, args.force)?;
    let (model, runtime) = (engine.manifest().name.clone(), engine.runtime().to_owned());
    Ok(Box::new(Fitted { model, runtime, card: prior.card().clone(), file: args.out.clone() }))
}

#[derive(Serialize)]
struct Fitted {
    model: String,
    runtime: String,
    #[serde(flatten)]
    card: Card,
    file: PathBuf,
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Card { kind, width, pictures, pairs, lambda, held_out, .. } = &self.card;
        writeln!(f, "fitted   {kind}, {width} numbers, on {pairs} captions of {pictures} pictures")?;
        if let Some(lambda) = lambda {
            writeln!(f, "lambda   {lambda}")?;
        }
        writeln!(f, "{:<21} {:>9} {:>9}", format!("on {} held out", held_out.pairs), "error", "cosine")?;
        writeln!(f, "{kind:<21} {:>9.4} {:>9.4}", held_out.error, held_out.cosine)?;
        writeln!(f, "{:<21} {:>9.4} {:>9.4}", "mean embedding", held_out.mean_error, held_out.mean_cosine)?;
        writeln!(f, "prior    {}", self.file.display())
    }
}

impl Report for Fitted {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}
