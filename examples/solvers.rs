//! Measures how close every sampler comes to the solution of 1000 steps, in how many steps, with the bundled
//! model and the same noise for all; writes a table and a plot.
//!
//! `cargo run --release --example solvers -- benches/results`

use kandinsky::internal::component::text::MultilingualText;
use kandinsky::internal::component::unet::UnetVariant;
use kandinsky::internal::guidance::Guidance;
use kandinsky::internal::sampler::{self, Choice, Noise, Role};
use kandinsky::internal::stage::denoise::{self, Condition, DenoiseRun, Known};
use kandinsky::internal::stage::noise::PictureNoise;
use kandinsky::internal::stage::prior::{self, PriorRun, PriorText};
use kandinsky::internal::tensor::{concat, repeat, rows};
use kandinsky::{Engine, Generator, Observer, Profile, Result, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const PROMPTS: [&str; 8] = [
    "red apple",
    "красное яблоко",
    "cat face",
    "лиса",
    "blue heart on a yellow background",
    "синее сердце на жёлтом фоне",
    "owl 3D render",
    "дом на зелёном фоне",
];
const STEPS: [usize; 6] = [10, 16, 20, 25, 50, 100];
const SOLUTION: usize = 1000;
/// Samplers that draw noise at every step: they solve another equation.
const STOCHASTIC: [&str; 4] = ["ddpm", "dpmpp_2m_sde", "euler_a", "unclip"];
/// Samplers that end at the first training timestep's noise level, as the released DDIM does.
const NOISY_END: [&str; 3] = ["ddim", "pndm", "plms"];

type Anything<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Anything<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "benches/results".into()));
    let engine = Engine::open("models/emoji")?;
    let study = Study::new(&engine)?;
    let prior = measure(&study, Role::Prior)?;
    let decoder = measure(&study, Role::Decoder)?;
    std::fs::write(folder.join("solvers.md"), report(&engine, &decoder, &prior)?)?;
    std::fs::write(folder.join("solvers.svg"), plot(&[("Decoder", &decoder), ("Prior", &prior)])?)?;
    println!("{}", folder.join("solvers.md").display());
    Ok(())
}

/// What every run shares.
struct Study<'a> {
    engine: &'a Engine,
    prior: PriorText,
    text: MultilingualText,
    /// Image embeddings that the decoder's runs start from, the unconditional half first.
    image: Tensor,
}

impl<'a> Study<'a> {
    fn new(engine: &'a Engine) -> Result<Self> {
        let encoder = engine.encoder(false);
        let blank = [""; PROMPTS.len()];
        let (prior, text, zero) = engine.with_networks(|networks| {
            let prior = PriorText {
                prompts: encoder.prior_text(networks, &PROMPTS)?,
                unconditional: encoder.prior_text(networks, &blank)?,
            };
            let both: Vec<&str> = blank.iter().chain(&PROMPTS).copied().collect();
            let zero = kandinsky::internal::component::image_encoder::encode_zeros(networks)?;
            Ok((prior, encoder.unet_text(networks, &both)?, zero))
        })?;
        let mut study = Self { engine, prior, text, image: zero };
        let steps = engine.manifest().defaults.prior_steps;
        let (drawn, _) = study.embeds("unclip", steps)?;
        let constants = engine.constants();
        let positive = drawn * &constants.clip_std + &constants.clip_mean;
        study.image = concat(&[repeat(&study.image, PROMPTS.len())?, positive], 0)?;
        Ok(study)
    }

    /// Normalised image embeddings, and the calls of the network.
    fn embeds(&self, name: &str, steps: usize) -> Result<(Tensor, usize)> {
        let manifest = self.engine.manifest();
        let sampler = sampler::build(&Choice::new(name, Role::Prior, steps), &manifest.schedulers)?;
        let mut noise = noise();
        let mut noise = noise.part(0, PROMPTS.len());
        let run = PriorRun {
            sampler: sampler.as_ref(),
            guidance: Guidance::new(manifest.defaults.prior_guidance),
            noise: &mut noise,
            start: None,
        };
        let constants = self.engine.constants();
        let drawn = self.engine.with_networks(|networks| {
            prior::sample(networks, &self.prior, constants, run, &mut Observer::default())
        })?;
        Ok(((drawn - &constants.clip_mean) / &constants.clip_std, sampler.timesteps().len()))
    }

    /// Latents, and the calls of the network.
    fn latents(&self, name: &str, steps: usize, schedulers: &Schedulers) -> Result<(Tensor, usize)> {
        let manifest = self.engine.manifest();
        let latent = &manifest.latent;
        let sampler = sampler::build(&Choice::new(name, Role::Decoder, steps), schedulers)?;
        let sides = (manifest.defaults.height / latent.factor, manifest.defaults.width / latent.factor);
        let count = PROMPTS.len();
        let mut noise = noise();
        let mut noise = noise.part(0, count);
        let start = noise.draw(&[count, latent.channels, sides.0, sides.1])? * sampler.init_sigma();
        let known = (latent.unet_channels != latent.channels)
            .then(|| Known::nothing(count, sides.0, sides.1, latent.channels));
        let run = DenoiseRun {
            deep_cache: 1,
            sampler: sampler.as_ref(),
            guidance: Guidance::new(manifest.defaults.guidance),
            noise: &mut noise,
            start,
            unet: UnetVariant::Draw,
            known,
            preview: None,
        };
        let condition = Condition { text: self.text.clone(), image: self.image.clone() };
        let latents = self
            .engine
            .with_networks(|networks| denoise::sample(networks, condition, run, &mut Observer::default()))?;
        Ok((latents, sampler.timesteps().len()))
    }
}

fn noise() -> PictureNoise {
    PictureNoise::new(Generator::TorchCpu, &[0, 1, 2, 3, 4, 5, 6, 7])
}

type Schedulers = BTreeMap<String, Value>;

/// A sampler's distances, one for each of [`STEPS`].
struct Row {
    name: &'static str,
    calls: Vec<usize>,
    distances: Vec<f64>,
    /// Deviation of the results, relative to the solution's.
    spreads: Vec<f64>,
}

/// Every sampler of a role against DDIM's solution that ends at the same noise level.
fn measure(study: &Study<'_>, role: Role) -> Result<Vec<Row>> {
    let schedulers = &study.engine.manifest().schedulers;
    let mut clean = schedulers.clone();
    if let Some(ddim) = clean.get_mut("ddim") {
        ddim["set_alpha_to_one"] = true.into();
        ddim["steps_offset"] = 0.into(); // else the last of 1000 steps ends at timestep 0
    }
    let sample = |name: &str, steps, schedulers: &Schedulers| match role {
        Role::Prior => study.embeds(name, steps),
        Role::Decoder => study.latents(name, steps, schedulers),
    };
    let (to_clean, _) = sample("ddim", SOLUTION, &clean)?;
    let (to_noise, _) = sample("ddim", SOLUTION, schedulers)?;
    let mut table = Vec::new();
    for name in sampler::names(role, Profile::Diffusers) {
        let solution = if NOISY_END.contains(&name) { &to_noise } else { &to_clean };
        let mut row = Row { name, calls: vec![], distances: vec![], spreads: vec![] };
        for steps in STEPS {
            let (found, calls) = sample(name, steps, schedulers)?;
            row.calls.push(calls);
            row.distances.push(distance(&found, solution)?);
            row.spreads.push(norm(&found) / norm(solution));
        }
        println!("{role:?} {name}: {:.4?}", row.distances);
        table.push(row);
    }
    Ok(table)
}

fn norm(x: &Tensor) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Relative L2, the mean over the rows.
fn distance(ours: &Tensor, solution: &Tensor) -> Result<f64> {
    let mut sum = 0.0;
    for row in 0..PROMPTS.len() {
        let (ours, theirs) = (rows(ours, row, row + 1)?, rows(solution, row, row + 1)?);
        sum += norm(&(ours - &theirs)) / norm(&theirs);
    }
    Ok(sum / f64::from(u32::try_from(PROMPTS.len()).unwrap_or(u32::MAX)))
}

fn report(engine: &Engine, decoder: &[Row], prior: &[Row]) -> std::result::Result<String, std::fmt::Error> {
    let defaults = &engine.manifest().defaults;
    let mut text = String::new();
    writeln!(text, "# How close samplers come to the solution, and in how many steps\n")?;
    writeln!(
        text,
        "`cargo run --release --example solvers -- benches/results`, {}, {}.\n",
        cpu(),
        engine.runtime()
    )?;
    writeln!(
        text,
        "Model `models/emoji`, {} prompts in English and Russian, seeds 0 to {}, the model's own guidance \
         ({} and {}), {}x{} pixels. Distance: relative L2 of latents (of normalised image embeddings for the \
         prior) to DDIM's solution of {SOLUTION} steps from the same noise, the mean over the prompts. Samplers \
         that end at the noise level of the first timestep (ddim, pndm and plms of the decoder) are compared with \
         the solution that ends there, the others with the one that ends at the clean picture. `calls` is what \
         25 steps cost. The plot is [solvers.svg](solvers.svg).\n",
        PROMPTS.len(),
        PROMPTS.len() - 1,
        defaults.guidance,
        defaults.prior_guidance,
        defaults.width,
        defaults.height,
    )?;
    for (title, table) in [("Decoder", decoder), ("Prior", prior)] {
        writeln!(text, "## {title}, deterministic\n")?;
        let rows = || table.iter().filter(|row| !STOCHASTIC.contains(&row.name));
        write!(text, "{}", columns(rows().map(|row| (row, &row.distances))))?;
        writeln!(text, "\nFewest calls to come as close as DDIM does in 50 and in 100 steps:\n")?;
        writeln!(text, "| sampler | as DDIM in 50 | as DDIM in 100 |\n| --- | ---: | ---: |")?;
        for row in rows().filter(|row| row.name != "ddim") {
            let [half, full] = [50, 100].map(|steps| as_close(table, row, steps));
            writeln!(text, "| {} | {half} | {full} |", row.name)?;
        }
        writeln!(text, "\n## {title}, with fresh noise each step\n")?;
        writeln!(
            text,
            "They draw from the model's distribution and do not converge to DDIM's solution. So this is the length \
             of what they drew, relative to that solution's: 1 is right, less is too smooth.\n"
        )?;
        let fresh = table.iter().filter(|row| STOCHASTIC.contains(&row.name));
        write!(text, "{}", columns(fresh.map(|row| (row, &row.spreads))))?;
        writeln!(text)?;
    }
    Ok(text.trim_end().to_owned() + "\n")
}

/// The fewest calls of `row` that come as close as DDIM does in `steps`.
fn as_close(table: &[Row], row: &Row, steps: usize) -> String {
    let place = STEPS.iter().position(|known| *known == steps);
    let ddim = table.iter().find(|row| row.name == "ddim");
    let aim = place.and_then(|place| ddim?.distances.get(place)).copied().unwrap_or(0.0);
    let reached = row.calls.iter().zip(&row.distances).find(|(_, distance)| **distance <= aim);
    reached.map_or_else(|| "more".to_owned(), |(calls, _)| calls.to_string())
}

/// A table of numbers by sampler and steps.
fn columns<'a>(rows: impl Iterator<Item = (&'a Row, &'a Vec<f64>)>) -> String {
    let heads: String = STEPS.iter().map(|steps| format!(" {steps} |")).collect();
    let mut text = format!("| sampler | calls |{heads}\n| --- | ---: |{}\n", " ---: |".repeat(STEPS.len()));
    for (row, numbers) in rows {
        let calls = STEPS.iter().position(|steps| *steps == 25).and_then(|place| row.calls.get(place));
        let cells: String = numbers.iter().map(|number| format!(" {number:.4} |")).collect();
        text.push_str(&format!("| {} | {} |{cells}\n", row.name, calls.copied().unwrap_or(0)));
    }
    text
}

fn cpu() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("a processor that has no name", |(_, name)| name.trim());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("{name}, {threads} threads")
}

const COLOURS: [&str; 13] = [
    "#000000", "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000",
    "#f032e6", "#800000", "#46a0c0", "#808080",
];
/// Panels in pixels: width and height of the plot, and the room around it.
const PANEL: (f64, f64, f64) = (380.0, 320.0, 50.0);
/// Room for the names.
const NAMES: f64 = 130.0;

/// Distances over calls of the network, both as logarithms, a panel a role.
fn plot(panels: &[(&str, &[Row])]) -> std::result::Result<String, std::fmt::Error> {
    let (width, height, room) = PANEL;
    let panel = width + room + NAMES;
    let count = f64::from(u32::try_from(panels.len()).unwrap_or(u32::MAX));
    let (all, tall) = (panel * count + room, height + 2.0 * room);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {all} {tall}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{all}\" height=\"{tall}\" fill=\"white\"/>\n"
    );
    let mut left = room;
    for (title, table) in panels {
        let rows: Vec<&Row> = table.iter().filter(|row| !STOCHASTIC.contains(&row.name)).collect();
        draw(&mut svg, title, &rows, left)?;
        left += panel;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn draw(svg: &mut String, title: &str, rows: &[&Row], left: f64) -> std::fmt::Result {
    let (width, height, top) = PANEL;
    let x = |calls: f64| left + width * (calls / 9.0).ln() / (210.0_f64 / 9.0).ln();
    let numbers = || rows.iter().flat_map(|row| row.distances.iter().copied());
    let (least, most) = (numbers().fold(f64::MAX, f64::min) / 1.2, numbers().fold(0.0, f64::max) * 1.2);
    let y = |distance: f64| top + height * (most / distance).ln() / (most / least).ln();
    writeln!(
        svg,
        "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}: relative L2 to the solution of {SOLUTION} steps</text>",
        top - 14.0
    )?;
    writeln!(
        svg,
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#888\"/>"
    )?;
    for calls in [10.0, 20.0, 50.0, 100.0, 200.0] {
        let (at, bottom) = (x(calls), top + height);
        writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{calls}</text>",
            bottom + 16.0
        )?;
    }
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">calls of the network</text>",
        left + width / 2.0,
        top + height + 34.0
    )?;
    for distance in [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0] {
        if (least..=most).contains(&distance) {
            let (at, right) = (y(distance), left + width);
            writeln!(
                svg,
                "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{distance}</text>",
                left - 6.0,
                at + 4.0
            )?;
        }
    }
    let mut line = top + 10.0;
    for (row, colour) in rows.iter().zip(COLOURS) {
        let points = row.calls.iter().zip(&row.distances).map(|(calls, distance)| {
            format!("{:.1},{:.1}", x(f64::from(u32::try_from(*calls).unwrap_or(u32::MAX))), y(*distance))
        });
        let points: Vec<String> = points.collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            points.join(" ")
        )?;
        writeln!(
            svg,
            "<path d=\"M{} {line}h18\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"{}\">{}</text>",
            left + width + 8.0,
            left + width + 30.0,
            line + 4.0,
            row.name
        )?;
        line += 18.0;
    }
    Ok(())
}
