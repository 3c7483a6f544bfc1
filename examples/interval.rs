//! How far a guidance interval moves a picture, and what it saves: the table of `docs/faster.md`.
//!
//! `cargo run --release --example interval` draws eight prompts with the bundled model in 50 steps of DDIM, whole and
//! in each interval, and compares latents and pixels.

#![allow(clippy::indexing_slicing, clippy::as_conversions, reason = "an example, whose counts are small")]

use kandinsky::{Engine, Interval, Observer, Outcome, Request, Result, Stage};
use kandinsky_models::Component;

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
const INTERVALS: [&str; 5] = ["0..1", "0.2..0.8", "0.1..1", "0..0.5", "0.5..1"];

fn main() -> Result<()> {
    let engine = Engine::open("models/emoji")?;
    println!("{}\n", engine.runtime());
    println!(
        "| interval | UNet rows | of all | seconds of denoising | latents, relative L2 | pixels, mean of 255 |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let whole = Run::of(&engine, INTERVALS[0].parse()?)?;
    for text in INTERVALS {
        let run = Run::of(&engine, text.parse()?)?;
        let (latents, pixels) = run.distance(&whole);
        let (rows, seconds) = (run.rows, run.seconds);
        let share = 100.0 * rows as f64 / whole.rows as f64;
        println!("| {text} | {rows} | {share:.0} % | {seconds:.2} | {latents:.3} | {pixels:.1} |");
    }
    Ok(())
}

struct Run {
    drawn: Vec<Outcome>,
    rows: u64,
    seconds: f64,
}

impl Run {
    fn of(engine: &Engine, interval: Interval) -> Result<Self> {
        engine.with_networks(|networks| Ok(networks.take_call_statistics()))?;
        let draw = |(seed, prompt): (u64, &&str)| {
            let request = Request::text_to_image(*prompt).seed(seed).sampler("ddim").steps(50);
            engine.run_all(&request.guidance_interval(interval), &mut Observer::default())
        };
        let drawn: Vec<Outcome> = (0..).zip(&PROMPTS).map(draw).collect::<Result<_>>()?;
        let calls = engine.with_networks(|networks| Ok(networks.take_call_statistics()))?;
        let denoising = |outcome: &Outcome| {
            let own = outcome.timings.iter().filter(|(stage, _)| *stage == Stage::Denoise);
            own.map(|(_, time)| time.as_secs_f64()).sum::<f64>()
        };
        let seconds = drawn.iter().map(denoising).sum();
        Ok(Self { drawn, rows: calls.rows(Component::UnetStep, "sample"), seconds })
    }

    /// Mean over all pictures.
    fn distance(&self, other: &Self) -> (f64, f64) {
        let count = self.drawn.len() as f64;
        let square = |x: f32| f64::from(x) * f64::from(x);
        let mut sums = (0.0, 0.0);
        for (a, b) in self.drawn.iter().zip(&other.drawn) {
            let apart: f64 = a.latents.iter().zip(&b.latents).map(|(a, b)| square(a - b)).sum();
            let long: f64 = b.latents.iter().map(|b| square(*b)).sum();
            sums.0 += (apart / long).sqrt() / count;
            let (ours, theirs) = (a.pictures[0].bytes(), b.pictures[0].bytes());
            let apart: f64 = ours.iter().zip(theirs).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
            sums.1 += apart / ours.len() as f64 / count;
        }
        sums
    }
}
