//! What every command that draws has in common: settings, the run with its bars, the report.

use super::bars::Bars;
use super::settings::SettingsArgs;
use super::{Report, RuntimeArgs, cancel_on_interrupt, open_engine, to_json};
use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kandinsky::internal::image::check_target;
use kandinsky::{
    Engine, Error, Format, Kind, Observer, Outcome, Plan, Preview, PreviewKind, Previews, Request,
    ResolvedRequest,
};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Settings of a picture. What is not given comes from the model.
#[derive(clap::Args)]
pub struct DrawArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Draw nothing; show which graphs would be in memory when, and how much that takes
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Where a picture is drawn and where it goes.
#[derive(clap::Args)]
pub struct RunArgs {
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The picture to write: .png, .jpg or .webp
    #[arg(short, long, value_name = "FILE", default_value = "picture.png")]
    output: PathBuf,
    /// Quality of a JPEG, 1 to 100; 95 when it is not given
    #[arg(long, value_name = "N")]
    quality: Option<usize>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
    /// While drawing, write what the picture looks like so far after every N steps, to FILE.preview.png
    #[arg(long, value_name = "N")]
    preview_every: Option<usize>,
    /// How previews are made: linear costs nothing and is coarse, decode costs what the last decoding does
    #[arg(long, value_name = "KIND", default_value = "linear", value_parser = one_of(PreviewKind::ALL, PreviewKind::name))]
    preview_kind: PreviewKind,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Also write latents, image_embeds and negative_image_embeds as they were computed (safetensors)
    #[arg(long, value_name = "FILE")]
    tensors: Option<PathBuf>,
}

impl DrawArgs {
    /// Sets everything that is the same for all regimes, and draws.
    pub fn draw(&self, mut request: Request) -> Result<Box<dyn Report>> {
        self.settings.apply(&mut request)?;
        request.check()?;
        if self.plan {
            return self.run.plan(&request);
        }
        self.run.draw(&request).map(|drawn| -> Box<dyn Report> { Box::new(drawn) })
    }
}

impl RunArgs {
    /// What a request takes of memory.
    fn plan(&self, request: &Request) -> Result<Box<dyn Report>> {
        let (_, engine) = open_engine(self.model.as_deref(), &self.runtime)?;
        Ok(Box::new(engine.plan(request)?))
    }

    /// Draws a request and writes its pictures.
    pub fn draw(&self, request: &Request) -> Result<Drawn> {
        kandinsky::internal::limits::COUNT.check(request.count)?;
        let files = output_files(&self.output, request.prompt.len().saturating_mul(request.count));
        files.iter().try_for_each(|file| check_target(file, self.force))?;
        files.iter().try_for_each(|file| self.format(file).map(drop))?;
        if self.preview_every.is_some() {
            files.iter().try_for_each(|file| check_target(&preview_of(file), self.force))?;
        }
        self.tensors
            .as_deref()
            .map_or(Ok(()), |file| kandinsky::internal::atomic_file::check_target(file, self.force))?;
        let (model, engine) = open_engine(self.model.as_deref(), &self.runtime)?;
        let cancel = cancel_on_interrupt()?;
        let mut bars = Bars::default();
        let mut observer = Observer {
            on_progress: Some(Box::new(|progress| bars.show(progress))),
            previews: self.previews(&files),
            cancel,
            ..Observer::default()
        };
        let outcome = engine.run_all(request, &mut observer);
        drop(observer);
        bars.clear();
        self.remove_previews(&files);
        let outcome = outcome?;
        for (picture, file) in outcome.pictures.iter().zip(&files) {
            picture.write(file, self.format(file)?, self.force)?;
        }
        self.tensors.as_deref().map_or(Ok(()), |file| write_tensors(file, &outcome))?;
        Ok(Drawn::new(&engine, &model, outcome, files))
    }
}

impl RunArgs {
    /// The format of an output file.
    fn format(&self, file: &Path) -> Result<Format> {
        let format = Format::of(file)?;
        self.quality.map_or(Ok(format), |quality| Ok(format.with_quality(quality)?))
    }

    /// Writes each preview over the one before; one that cannot be written is passed over, since the picture
    /// itself is on its way.
    fn previews<'a>(&self, files: &'a [PathBuf]) -> Option<Previews<'a>> {
        let show = |preview: Preview| {
            let file = files.get(preview.picture).map(|file| preview_of(file));
            let _ = file.map(|file| preview.image.replace(file));
        };
        let kind = self.preview_kind;
        self.preview_every.map(|every| Previews { every, kind, show: Box::new(show) })
    }

    /// Previews have done their service when the picture is there, or will not be.
    fn remove_previews(&self, files: &[PathBuf]) {
        if self.preview_every.is_some() {
            files.iter().for_each(|file| {
                let _ = std::fs::remove_file(preview_of(file));
            });
        }
    }
}

fn write_tensors(file: &Path, outcome: &Outcome) -> Result<()> {
    let Outcome { latents, image_embeds, negative_image_embeds, .. } = outcome;
    let tensors = [
        ("latents", latents),
        ("image_embeds", image_embeds),
        ("negative_image_embeds", negative_image_embeds),
    ];
    let named = tensors.map(|(name, tensor)| (name.to_owned(), tensor.clone().into()));
    super::run_graphs::write(file, &named.into())
}

/// `apple.preview.png` of `apple.png`.
fn preview_of(file: &Path) -> PathBuf {
    file.with_extension("preview.png")
}

/// Reads one of `all` by its name.
fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name_of: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let find = move |name: String| all.into_iter().find(|one| name_of(*one) == name).ok_or("it is unknown");
    PossibleValuesParser::new(all.map(name_of)).try_map(find)
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

/// What was drawn.
#[derive(Serialize)]
pub struct Drawn {
    model: String,
    model_path: PathBuf,
    runtime: String,
    regime: &'static str,
    #[serde(rename = "job")]
    resolved: ResolvedRequest,
    seconds: Vec<(&'static str, f64)>,
    /// When the first step of the denoising loop began, in seconds since 1970.
    denoising_began: Option<f64>,
    files: Vec<PathBuf>,
    notes: Vec<String>,
    peak_bytes: Option<u64>,
    #[serde(skip)]
    outcome: Outcome,
}

impl Drawn {
    fn new(engine: &Engine, model: &Path, outcome: Outcome, files: Vec<PathBuf>) -> Self {
        let mut seconds: Vec<_> =
            outcome.timings.iter().map(|(stage, time)| (stage.name(), time.as_secs_f64())).collect();
        seconds.push(("total", outcome.timings.total().as_secs_f64()));
        Self {
            model: engine.manifest().name.clone(),
            model_path: model.to_owned(),
            runtime: outcome.runtime.clone(),
            regime: outcome.resolved.regime(),
            resolved: outcome.resolved.clone(),
            seconds,
            denoising_began: outcome.denoising_began.and_then(seconds_since_1970),
            files,
            notes: outcome.notes.clone(),
            peak_bytes: kandinsky::internal::system::peak(),
            outcome,
        }
    }

    /// The pictures and everything else that came of the request.
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

fn seconds_since_1970(time: SystemTime) -> Option<f64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (stage, seconds) in &self.seconds {
            writeln!(f, "{stage:<8} {seconds:.2} s")?;
        }
        let seeds: Vec<_> = (0..self.files.len()).map(|i| self.resolved.seed_of(i).to_string()).collect();
        writeln!(f, "seed     {}", seeds.join(", "))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note     {note}"))?;
        self.files.iter().try_for_each(|file| writeln!(f, "picture  {}", file.display()))
    }
}

impl Report for Plan {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
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
