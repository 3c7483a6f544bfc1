//! `kandinsky bench`: what every stage of a picture takes on this machine.

use super::{Report, RuntimeArgs, to_json};
use anyhow::Result;
use kandinsky::internal::bench::{self, Options, stages};
use kandinsky::{Size, find_model};
use std::fmt;
use std::path::PathBuf;

/// Measure every stage of a picture: time, memory, bytes, operations, share of the machine's peak
///
/// Each stage is measured alone, with only its own graphs open, once untimed and then --repeat times; the
/// table has medians and, as spread, the distance from the shortest to the longest in per cent of the median.
#[derive(clap::Args)]
#[command(after_help = stage_list())]
pub struct Args {
    /// Stages, or groups such as prior or unet; all when it is not given
    #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',')]
    stages: Vec<String>,
    /// Timed runs of each stage, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = Options::default().repeat)]
    repeat: usize,
    /// The prompt
    #[arg(long, value_name = "TEXT", default_value_t = Options::default().prompt)]
    prompt: String,
    /// Width and height in pixels, such as 512x768; the model's own when it is not given
    #[arg(long, value_name = "WxH")]
    size: Option<Size>,
    /// Decoder steps; the model's own when they are not given
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Prior steps; the model's own when they are not given
    #[arg(long, value_name = "N")]
    prior_steps: Option<usize>,
    /// Also tell what each operator takes, in a run of its own (ONNX Runtime alone)
    #[arg(long)]
    profile: bool,
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let (model, how) = find_model(args.model.as_deref())?;
    let options = Options {
        runtime: args.runtime.options()?,
        stages: args.stages.clone(),
        repeat: args.repeat,
        prompt: args.prompt.clone(),
        size: args.size,
        steps: args.steps,
        prior_steps: args.prior_steps,
        profile: args.profile,
    };
    eprintln!("model    {} ({how})", model.display());
    let report = bench::run(&model, &options, &mut |stage| eprintln!("measured {stage}"))?;
    Ok(Box::new(Benched(report)))
}

fn stage_list() -> String {
    let line = |stage: &stages::Stage| format!("  {:<20} {}\n", stage.name, stage.doc);
    std::iter::once("Stages:\n".to_owned()).chain(stages::STAGES.iter().map(line)).collect()
}

struct Benched(bench::Report);

impl Report for Benched {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(&self.0)
    }
}

impl fmt::Display for Benched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "runtime  {}", self.0.versions.runtime)?;
        self.0.fmt(f)
    }
}
