//! What was measured, as a table and as JSON (`docs/bench.md` describes the fields).

use super::memory::Watermark;
use super::stages::Bench;
use super::{Options, names};
use crate::error::Result;
use crate::math::percent;
use kandinsky_models::{Component, hash};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Version of the JSON's form; it grows with every change that a reader must know of.
pub const VERSION: u32 = 1;

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `kandinsky-bench`.
    pub schema: &'static str,
    /// `VERSION`.
    pub schema_version: u32,
    /// The command, as it was given.
    pub command: Vec<String>,
    /// Of what.
    pub versions: Versions,
    /// On what.
    pub machine: Machine,
    /// The model.
    pub model: Model,
    /// What was drawn.
    pub settings: Settings,
    /// Each stage.
    pub stages: Vec<Measured>,
    /// What operators took, where they were profiled.
    pub operators: Option<Vec<Operators>>,
}

/// Versions of what ran.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// This program's.
    pub kandinsky: &'static str,
    /// The runtime with its version, provider and threads.
    pub runtime: String,
}

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Its features that matter.
    pub cpu_features: Vec<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads of the runtime.
    pub threads: usize,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// The best that it can do, measured.
    pub peak: Peak,
}

/// What the machine can do at best.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Peak {
    /// Operations a second of products of 1024x1024 matrices on the same runtime.
    pub flop_per_second: f64,
    /// Bytes a second that all threads read together.
    pub read_bytes_per_second: f64,
}

/// The model.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// SHA-256 of its `model.json`, which holds every file's.
    pub sha256: String,
    /// How weights are stored.
    pub precision: kandinsky_models::manifest::Precision,
    /// Weights of all graphs, as numbers.
    pub parameters: u64,
}

/// What was drawn.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// The prompt.
    pub prompt: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Decoder steps.
    pub steps: usize,
    /// The decoder's sampler.
    pub sampler: String,
    /// Decoder guidance.
    pub guidance: f64,
    /// Prior steps.
    pub prior_steps: usize,
    /// Prior guidance.
    pub prior_guidance: f64,
    /// Timed runs of each stage.
    pub repeat: usize,
}

/// Seconds of some runs.
#[derive(Debug, Clone, Serialize)]
pub struct Times {
    /// Of each run, in order.
    pub runs: Vec<f64>,
    /// The middle one; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The shortest.
    pub least: f64,
    /// The longest.
    pub most: f64,
}

impl Times {
    /// Sums runs up.
    pub fn of(runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
        let (half, last) = (sorted.len() / 2, sorted.len().saturating_sub(1));
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(half.saturating_sub(1)), at(half))
        } else {
            at(half)
        };
        Self { runs, median, least: at(0), most: at(last) }
    }

    /// From the shortest to the longest, as a share of the median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 { (self.most - self.least) / self.median } else { 0.0 }
    }
}

/// A stage.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// What is timed.
    pub what: &'static str,
    /// Graphs that are open.
    pub graphs: Vec<&'static str>,
    /// How long it took.
    pub seconds: Times,
    /// Resident before it was timed, its graphs among it.
    pub resident_bytes_before: Option<u64>,
    /// Most that was resident; mapped weights count.
    pub peak_bytes: Option<u64>,
    /// Most that was private after a run.
    pub anonymous_bytes: Option<u64>,
    /// Bytes of the graphs' weights on disk.
    pub weight_bytes: u64,
    /// Bytes of weights that a run reads, counted from the graphs; a graph that runs n times reads them n times.
    pub weight_bytes_read: Option<u64>,
    /// Operations of a run, counted from the graphs: multiplications and additions of products and convolutions.
    pub flop: Option<u64>,
    /// Operations a second of the median run.
    pub flop_per_second: Option<f64>,
    /// The same as a share of the machine's peak.
    pub share_of_peak: Option<f64>,
    /// Reading of weights as a share of the machine's.
    pub share_of_bandwidth: Option<f64>,
}

impl Measured {
    pub(super) fn new(
        (name, what): (String, &'static str),
        graphs: Vec<Component>,
        seconds: Times,
        (weight_bytes, counted): (u64, Option<(u64, u64)>),
        memory: Watermark,
        peak: Peak,
    ) -> Self {
        let counted = counted.filter(|(flop, bytes)| *flop > 0 || *bytes > 0);
        let a_second = |number: u64| wide(number) / seconds.median;
        let speed = counted.map(|(flop, _)| a_second(flop));
        let reading = counted.map(|(_, bytes)| a_second(bytes));
        Self {
            name,
            what,
            graphs: names(&graphs),
            resident_bytes_before: memory.before,
            peak_bytes: memory.peak,
            anonymous_bytes: memory.anonymous,
            weight_bytes,
            weight_bytes_read: counted.map(|(_, bytes)| bytes),
            flop: counted.map(|(flop, _)| flop),
            flop_per_second: speed,
            share_of_peak: speed.map(|speed| speed / peak.flop_per_second),
            share_of_bandwidth: reading.map(|reading| reading / peak.read_bytes_per_second),
            seconds,
        }
    }
}

/// What the operators of a graph took in a stage, a run.
#[derive(Debug, Clone, Serialize)]
pub struct Operators {
    /// The stage.
    pub stage: String,
    /// The graph.
    pub graph: String,
    /// Runs that were looked at; the first is left out where there are several, since it makes ready.
    pub runs: u64,
    /// All operators together, a run.
    pub seconds: f64,
    /// The longest 20, longest first.
    pub operators: Vec<Operator>,
}

/// An operator, all its kernels together.
#[derive(Debug, Clone, Serialize)]
pub struct Operator {
    /// Its name; the runtime's own where it fused several.
    pub operator: String,
    /// How often it ran in all runs.
    pub calls: u64,
    /// How long it took, a run.
    pub seconds: f64,
    /// As a share of all operators of the graph.
    pub share: f64,
}

pub(super) fn assemble(
    (model, bench, options): (&Path, &Bench<'_>, &Options),
    machine: Machine,
    stages: Vec<Measured>,
    operators: Option<Vec<Operators>>,
) -> Result<Report> {
    let (manifest, resolved) = (bench.engine.manifest(), &bench.resolved);
    let (sha256, _) = hash::of_file(&model.join(kandinsky_models::manifest::FILE_NAME))?;
    Ok(Report {
        schema: "kandinsky-bench",
        schema_version: VERSION,
        command: std::env::args().collect(),
        versions: Versions {
            kandinsky: env!("CARGO_PKG_VERSION"),
            runtime: bench.engine.runtime().to_owned(),
        },
        machine,
        model: Model {
            name: manifest.name.clone(),
            sha256,
            precision: manifest.precision,
            parameters: manifest.components.values().map(|spec| spec.parameters).sum(),
        },
        settings: Settings {
            prompt: resolved.prompt_of(0).to_owned(),
            width: resolved.size.width,
            height: resolved.size.height,
            steps: resolved.steps,
            sampler: resolved.sampler.clone(),
            guidance: resolved.guidance,
            prior_steps: resolved.prior_steps,
            prior_guidance: resolved.prior_guidance,
            repeat: options.repeat,
        },
        stages,
        operators,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cpu, cores, threads, peak, .. } = &self.machine;
        let cpu = cpu.as_deref().unwrap_or("unknown processor");
        writeln!(f, "machine  {cpu}, {cores} cores, {threads} threads")?;
        writeln!(
            f,
            "         at best {:.0} GFLOP/s in products of matrices on this runtime, {:.1} GB/s read",
            peak.flop_per_second / 1e9,
            peak.read_bytes_per_second / 1e9
        )?;
        let Settings { width, height, steps, sampler, prior_steps, repeat, .. } = &self.settings;
        writeln!(
            f,
            "picture  {width}x{height}, {steps} steps of {sampler}, {prior_steps} of the prior; {repeat} runs\n"
        )?;
        writeln!(
            f,
            "{:<26} {:>10} {:>7} {:>9} {:>9} {:>10} {:>8} {:>6} {:>6}",
            "stage", "median", "spread", "peak MB", "weight MB", "GFLOP", "GFLOP/s", "% peak", "% read"
        )?;
        self.stages.iter().try_for_each(|stage| writeln!(f, "{stage}"))?;
        self.operators.iter().flatten().try_for_each(|operators| write!(f, "\n{operators}"))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<f64>, digits: usize| {
            number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
        };
        let share = |share: Option<f64>| number(share.map(percent), 0);
        write!(
            f,
            "{:<26} {:>10} {:>6.0}% {:>9} {:>9.0} {:>10} {:>8} {:>6} {:>6}",
            self.name,
            seconds(self.seconds.median),
            percent(self.seconds.spread()),
            number(self.peak_bytes.map(|bytes| wide(bytes) / 1e6), 0),
            wide(self.weight_bytes) / 1e6,
            number(self.flop.map(|flop| wide(flop) / 1e9), 2),
            number(self.flop_per_second.map(|speed| speed / 1e9), 1),
            share(self.share_of_peak),
            share(self.share_of_bandwidth),
        )
    }
}

impl fmt::Display for Operators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, graph, runs, .. } = self;
        writeln!(f, "operators of {graph} in {stage}: {} a run ({runs} runs)", seconds(self.seconds))?;
        self.operators.iter().try_for_each(|row| {
            let (calls, took, share) = (row.calls, seconds(row.seconds), percent(row.share));
            writeln!(f, "  {:<24} {calls:>6} {took:>10} {share:>5.1} %", row.operator)
        })
    }
}

/// A time in the unit that suits it.
fn seconds(time: f64) -> String {
    match time {
        time if time < 1e-3 => format!("{:.1} us", time * 1e6),
        time if time < 1.0 => format!("{:.2} ms", time * 1e3),
        time => format!("{time:.2} s"),
    }
}

/// Exact below 2^53, which no count here reaches.
fn wide(number: u64) -> f64 {
    let half = |half: u64| f64::from(u32::try_from(half & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    half(number >> 32) * 4_294_967_296.0 + half(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Times::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Times::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let times = Times::of(vec![2.0, 1.0, 3.0]);
        assert_eq!(
            (times.least, times.most, times.spread(), times.runs),
            (1.0, 3.0, 1.0, vec![2.0, 1.0, 3.0])
        );
    }

    #[test]
    fn counts_beyond_32_bits_stay_exact() {
        assert_eq!(wide(1_726_000_000_001), 1_726_000_000_001.0);
        assert_eq!([wide(0), wide(4_294_967_295)], [0.0, 4_294_967_295.0]);
    }

    #[test]
    fn times_are_told_in_the_unit_that_suits_them() {
        assert_eq!([12e-6, 0.0125, 12.345].map(seconds), ["12.0 us", "12.50 ms", "12.35 s"]);
    }
}
