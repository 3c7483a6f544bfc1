//! `kandinsky generate`: pictures of a prompt.

use super::bars::Bars;
use super::{Report, RuntimeArgs, cancel_on_interrupt, to_json};
use crate::engine::{Engine, Outcome, find_model};
use crate::error::{Error, Kind, Result};
use crate::image;
use crate::progress::Watch;
use crate::request::{Request, Size};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Draw pictures of a prompt
///
/// Settings that are not given come from the model. An output file that exists is left alone, and
/// nothing is drawn, unless --force is given; a picture appears whole or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// What the picture shows, in English or Russian
    prompt: String,
    /// What it shall not show; reaches both stages: the prior (its unconditional half, and an image
    /// embedding to move away from) and the decoder (its unconditional half)
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// Seed of the first picture, picture i gets seed + i; drawn and printed when it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Decoder steps, 1 to 1000
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Decoder guidance, 0 to 30; 1 and less turns it off
    #[arg(long, value_name = "X")]
    guidance: Option<f64>,
    /// Prior steps, 2 to 1000
    #[arg(long, value_name = "N")]
    prior_steps: Option<usize>,
    /// Prior guidance, 0 to 30; 1 and less turns it off
    #[arg(long, value_name = "X")]
    prior_guidance: Option<f64>,
    /// Width and height in pixels, 64 to 2048 a side, such as 512x768
    #[arg(long, value_name = "WxH", conflicts_with = "aspect")]
    size: Option<Size>,
    /// Aspect ratio at the model's own area: 1:1, 2:3, 3:2, 9:16, 16:9
    #[arg(long, value_name = "W:H")]
    aspect: Option<String>,
    /// Pictures, 1 to 10; several are named picture-1.png, picture-2.png, …
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// The decoder's sampler
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The picture to write
    #[arg(short, long, value_name = "FILE.png", default_value = "picture.png")]
    output: PathBuf,
    /// Replace output files that exist
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

impl Args {
    fn request(&self) -> Request {
        Request {
            prompt: self.prompt.clone(),
            negative: self.negative.clone(),
            seed: self.seed,
            steps: self.steps,
            guidance: self.guidance,
            prior_steps: self.prior_steps,
            prior_guidance: self.prior_guidance,
            size: self.size,
            aspect: self.aspect.clone(),
            count: self.count,
            sampler: self.sampler.clone(),
            rounded: false,
        }
    }
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let request = args.request();
    crate::limits::COUNT.check(request.count)?;
    let files = output_files(&args.output, request.count);
    files.iter().try_for_each(|file| image::check_target(file, args.force))?;
    let (model, how) = find_model(args.model.as_deref())?;
    let engine = Engine::open_with(&model, &args.runtime.options()?)?;
    eprintln!("model    {} ({}, {how})", engine.manifest().name, model.display());
    eprintln!("runtime  {}", engine.runtime());
    engine.notes().iter().for_each(|note| eprintln!("         {note}"));
    let cancel = cancel_on_interrupt()?;
    let mut bars = Bars::default();
    let mut watch =
        Watch { on_progress: Some(Box::new(|progress| bars.show(progress))), cancel, ..Watch::default() };
    let outcome = engine.run_all(&request, &mut watch);
    drop(watch);
    bars.clear();
    let outcome = outcome?;
    for (picture, file) in outcome.pictures.iter().zip(&files) {
        if args.force { picture.replace(file) } else { picture.save(file) }?;
    }
    Ok(Box::new(Drawn::new(&engine, &model, outcome, files)))
}

/// `apple.png`, or `apple-1.png`, `apple-2.png`, … for several pictures.
fn output_files(output: &Path, count: usize) -> Vec<PathBuf> {
    if count == 1 {
        return vec![output.to_owned()];
    }
    let stem = output.file_stem().unwrap_or_default().to_string_lossy();
    let extension = output.extension().map_or_else(|| "png".into(), |e| e.to_string_lossy());
    (1..=count).map(|i| output.with_file_name(format!("{stem}-{i}.{extension}"))).collect()
}

#[derive(Serialize)]
struct Drawn {
    model: String,
    model_path: PathBuf,
    runtime: String,
    job: crate::request::Job,
    seconds: Vec<(&'static str, f64)>,
    files: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Drawn {
    fn new(engine: &Engine, model: &Path, outcome: Outcome, files: Vec<PathBuf>) -> Self {
        let mut seconds: Vec<_> =
            outcome.timings.iter().map(|(stage, time)| (stage.name(), time.as_secs_f64())).collect();
        seconds.push(("total", outcome.timings.total().as_secs_f64()));
        Self {
            model: engine.manifest().name.clone(),
            model_path: model.to_owned(),
            runtime: outcome.runtime,
            job: outcome.job,
            seconds,
            files,
            notes: outcome.notes,
        }
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stage, seconds) in &self.seconds {
            writeln!(f, "{stage:<8} {seconds:.2} s")?;
        }
        writeln!(f, "seed     {}", self.job.seed)?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note     {note}"))?;
        self.files.iter().try_for_each(|file| writeln!(f, "picture  {}", file.display()))
    }
}

impl Report for Drawn {
    fn json(&self) -> Result<serde_json::Value> {
        let mut value = to_json(self)?;
        let seconds = self.seconds.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        let slot = value.get_mut("seconds");
        let slot = slot.ok_or_else(|| Error::new(Kind::Internal, "the report has no times"))?;
        *slot = serde_json::Value::Object(seconds);
        Ok(value)
    }
}
