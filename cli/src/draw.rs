//! What every command that draws has in common: settings, the run with its bars, the report.

use super::bars::Bars;
use super::{Report, RuntimeArgs, cancel_on_interrupt, open_engine, to_json};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kandinsky::engine::{Engine, Outcome};
use kandinsky::error::{Error, Kind, Result};
use kandinsky::image::{Format, check_target};
use kandinsky::progress::{Observer, Preview, PreviewKind, Previews};
use kandinsky::request::{
    Blend, Generator, Interval, Part, PriorKind, Profile, Request, ResolvedRequest, Size,
};
use kandinsky::residency::Plan;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Settings of a picture. What is not given comes from the model.
#[derive(clap::Args)]
pub struct DrawArgs {
    /// What it shall not show; reaches both stages: the prior (its unconditional half, and an image
    /// embedding to move away from) and the decoder (its unconditional half)
    #[arg(long, value_name = "TEXT", help_heading = NEGATIVE)]
    negative: Option<String>,
    /// The same for the prior alone
    #[arg(long, value_name = "TEXT", help_heading = NEGATIVE)]
    negative_prior: Option<String>,
    /// The same for the decoder alone
    #[arg(long, value_name = "TEXT", help_heading = NEGATIVE)]
    negative_decoder: Option<String>,
    /// A picture whose look the decoder moves away from
    #[arg(long, value_name = "FILE", help_heading = NEGATIVE)]
    negative_picture: Option<PathBuf>,
    /// Condition the picture by a part of a mix, [WEIGHT=]TEXT or [WEIGHT=]@FILE, instead of the prompt
    /// through the prior; may be given several times
    #[arg(long = "mix", value_name = "PART", value_parser = part, help_heading = CONDITION)]
    mixed: Vec<Part>,
    /// Mix along the sphere instead of by a weighted sum
    #[arg(long, help_heading = CONDITION)]
    spherical: bool,
    /// Seed of the first picture, picture i gets seed + i; drawn and printed when it is not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A seed for each picture
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "seed")]
    seeds: Vec<u64>,
    /// Whose generator turns seeds into noise: torch's on the processor, or torch's on a GPU
    #[arg(long, value_name = "NAME", default_value = "torch-cpu", value_parser = one_of(Generator::ALL, Generator::name))]
    generator: Generator,
    /// Decoder steps, 1 to 1000
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Decoder guidance, 0 to 30; 1 and less turns it off
    #[arg(long, value_name = "X")]
    guidance: Option<f64>,
    /// The decoder's sampler: ddim, dpmpp_2m_karras, … (kandinsky samplers lists them)
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// The decoder's timesteps, falling, instead of --steps
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "steps")]
    timesteps: Vec<i32>,
    /// Where image embeddings of texts come from: the diffusion prior, a fitted one, or none, where the text
    /// embedding stands in
    #[arg(long, value_name = "KIND", default_value = "diffusion", value_parser = one_of(PriorKind::ALL, PriorKind::name))]
    prior: PriorKind,
    /// The file of a fitted prior (kandinsky fit-prior writes one)
    #[arg(long, value_name = "FILE")]
    prior_file: Option<PathBuf>,
    /// Prior steps, 2 to 1000
    #[arg(long, value_name = "N")]
    prior_steps: Option<usize>,
    /// Prior guidance, 0 to 30; 1 and less turns it off
    #[arg(long, value_name = "X")]
    prior_guidance: Option<f64>,
    /// The prior's sampler
    #[arg(long, value_name = "NAME")]
    prior_sampler: Option<String>,
    /// Width and height in pixels, 64 to 2048 a side, such as 512x768
    #[arg(long, value_name = "WxH", conflicts_with = "aspect")]
    size: Option<Size>,
    /// Aspect ratio at the model's own area: 1:1, 2:3, 3:2, 9:16, 16:9
    #[arg(long, value_name = "W:H")]
    aspect: Option<String>,
    /// Keep the size that was computed, a multiple of the model's, instead of cropping to the one asked for
    #[arg(long)]
    rounded: bool,
    /// Pictures of each prompt, 10 at most in all; several are named picture-1.png, picture-2.png, …
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// Read (word:1.3) in texts as a weight, 0 to 2; a \ before a parenthesis makes it text
    #[arg(long)]
    weighted: bool,
    /// Quantise the latents before MoVQ decodes them: on is what the paper says it does, off (the default) is
    /// what the released code does
    #[arg(long)]
    quantize: bool,
    /// Whose timesteps, clamps and rounding: diffusers' or the original repository's
    #[arg(long, value_name = "NAME", default_value = "diffusers", value_parser = one_of(Profile::ALL, Profile::name))]
    profile: Profile,
    /// Guide the decoder in this part of the way from noise (0) to picture (1) alone, such as 0.2..0.8: faster, and
    /// another picture
    #[arg(long, value_name = "START..END", default_value_t = Interval::WHOLE)]
    guidance_interval: Interval,
    /// Draw nothing; show which graphs would be in memory when, and how much that takes
    #[arg(long)]
    plan: bool,
    /// Run the UNet's deep levels at every N-th step alone: faster, and another picture; needs a model exported
    /// --with deep-cache
    #[arg(long, value_name = "N", default_value_t = 1)]
    deep_cache: usize,
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

const NEGATIVE: &str = "What to move away from";
const CONDITION: &str = "What to condition on";

impl DrawArgs {
    /// Sets everything that is the same for all regimes, and draws.
    pub fn draw(&self, mut request: Request) -> Result<Box<dyn Report>> {
        request.mix.extend(self.mixed.iter().cloned());
        let request = Request {
            negative: self.negative.clone(),
            negative_prior: self.negative_prior.clone(),
            negative_decoder: self.negative_decoder.clone(),
            negative_picture: self.negative_picture.clone().map(Into::into),
            blend: if self.spherical { Blend::Spherical } else { Blend::Linear },
            count: self.count,
            seed: self.seed,
            seeds: self.seeds.clone(),
            generator: self.generator,
            size: self.size,
            aspect: self.aspect.clone(),
            rounded: self.rounded,
            steps: self.steps,
            guidance: self.guidance,
            sampler: self.sampler.clone(),
            timesteps: self.timesteps.clone(),
            prior_steps: self.prior_steps,
            prior_guidance: self.prior_guidance,
            prior_sampler: self.prior_sampler.clone(),
            prior: self.prior,
            prior_file: self.prior_file.clone(),
            weighted: self.weighted,
            quantize: self.quantize,
            profile: self.profile,
            guidance_interval: self.guidance_interval,
            deep_cache: self.deep_cache,
            ..request
        };
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
        kandinsky::limits::COUNT.check(request.count)?;
        let files = output_files(&self.output, request.prompt.len().saturating_mul(request.count));
        files.iter().try_for_each(|file| check_target(file, self.force))?;
        files.iter().try_for_each(|file| self.format(file).map(drop))?;
        if self.preview_every.is_some() {
            files.iter().try_for_each(|file| check_target(&preview_of(file), self.force))?;
        }
        self.tensors
            .as_deref()
            .map_or(Ok(()), |file| kandinsky::atomic_file::check_target(file, self.force))?;
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
        self.quality.map_or(Ok(format), |quality| format.with_quality(quality))
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

/// Reads a part of a mix: `[WEIGHT=]TEXT` or `[WEIGHT=]@FILE`.
pub fn part(text: &str) -> std::result::Result<Part, String> {
    let weighed = text.split_once('=').and_then(|(weight, rest)| Some((weight.trim().parse().ok()?, rest)));
    let (weight, what) = weighed.unwrap_or((1.0, text));
    match what.strip_prefix('@') {
        Some("") => Err(format!("{text:?} names no file behind the @")),
        Some(file) => Ok(Part::picture(file, weight)),
        None => Ok(Part::text(what, weight)),
    }
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
            peak_bytes: kandinsky::system::peak(),
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
