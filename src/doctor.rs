//! What this machine can run: runtimes, providers, processor, memory, and what to do for more.

use crate::runtime::{self, Availability, Precision, RUNTIMES, RuntimeEntry, RuntimeOptions, precision};
use crate::system;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// This program's version.
    pub version: &'static str,
    /// Cores that this process may use.
    pub cores: usize,
    /// Features of the processor that matter to the runtimes.
    pub cpu_features: Vec<String>,
    /// Memory in bytes, where it is known.
    pub memory_bytes: Option<u64>,
    /// Runtimes and providers.
    pub runtimes: Vec<Finding>,
    /// What the networks can compute in.
    pub precisions: Vec<Tier>,
    /// Where verdicts and other things that can be computed again are kept.
    pub cache: Option<PathBuf>,
}

/// A runtime or provider.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What `--runtime` calls it.
    pub name: &'static str,
    /// Whether it can run graphs.
    pub works: bool,
    /// Its version and where it was found, or why it does not work.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// A tier of precision.
#[derive(Debug, Clone, Serialize)]
pub struct Tier {
    /// What `--precision` calls it.
    pub name: &'static str,
    /// Whether it can run here.
    pub works: bool,
    /// On what, or what is missing.
    pub how: String,
}

/// Looks at everything.
pub fn examine(options: &RuntimeOptions) -> Findings {
    let runtimes = runtimes(options);
    Findings {
        version: env!("CARGO_PKG_VERSION"),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: precision::cpu_features(),
        memory_bytes: system::total(),
        precisions: tiers(&runtimes),
        runtimes,
        cache: crate::verification::cache_folder(),
    }
}

fn runtimes(options: &RuntimeOptions) -> Vec<Finding> {
    let finding = |entry: &RuntimeEntry| {
        let Availability { works, found, remedy } = (entry.check)(options);
        Finding { name: entry.name, works, found, advice: remedy }
    };
    RUNTIMES.iter().copied().map(finding).collect()
}

/// Each tier of precision, and what runs it here or what is missing.
fn tiers(runtimes: &[Finding]) -> Vec<Tier> {
    let settled = Precision::ALL.into_iter().filter(|precision| *precision != Precision::Auto);
    settled.map(|precision| tier(precision, runtimes)).collect()
}

fn tier(precision: Precision, runtimes: &[Finding]) -> Tier {
    let rows = || RUNTIMES.iter().copied().filter_map(|entry| Some((entry, entry.tier(precision)?)));
    let works = |name: &str| runtimes.iter().any(|finding| finding.name == name && finding.works);
    let name = precision.name();
    if rows().count() == RUNTIMES.len() {
        return Tier { name, works: true, how: "every runtime; the reference's numbers".to_owned() };
    }
    let working: Vec<_> = rows().filter(|(entry, _)| works(entry.name)).collect();
    let able = if working.is_empty() { rows().collect() } else { working.clone() };
    let names = able.iter().map(|(entry, _)| entry.name).collect::<Vec<_>>().join(" or ");
    let here = able.iter().map(|(_, tier)| (tier.here)()).find(Result::is_ok);
    match (here, working.is_empty()) {
        (Some(Ok(why)), false) => Tier { name, works: true, how: format!("{names}: {why}") },
        (Some(Ok(why)), true) => Tier { name, works: false, how: format!("needs {names}: {why}") },
        _ => {
            let needs = able.iter().map(|(_, tier)| tier.needs).take(1);
            let otherwise = able.iter().filter_map(|(_, tier)| tier.otherwise).take(1);
            let how = needs.chain(otherwise).collect::<Vec<_>>().join("; ");
            Tier { name, works: false, how: format!("needs {how}") }
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kandinsky  {}", self.version)?;
        let memory = self.memory_bytes.map_or("unknown".to_owned(), |b| format!("{} MiB", b >> 20));
        writeln!(f, "machine    {} cores, {memory} memory; {}", self.cores, self.cpu_features.join(" "))?;
        if let Some(cache) = &self.cache {
            writeln!(f, "cache      {}", cache.display())?;
        }
        for finding in &self.runtimes {
            let mark = if finding.works { "yes" } else { "no" };
            writeln!(f, "{:<10} {mark:<4} {}", finding.name, finding.found)?;
            if let Some(advice) = &finding.advice {
                writeln!(f, "                {advice}")?;
            }
        }
        for tier in &self.precisions {
            let mark = if tier.works { "yes" } else { "no" };
            writeln!(f, "{:<10} {mark:<4} {}", tier.name, tier.how)?;
        }
        let (runtime, precision) = self.automatic();
        writeln!(f, "auto       the runtime {runtime}; the precision {precision}")
    }
}

impl Findings {
    /// What `--runtime auto` takes in f32, and what `--precision auto` takes.
    fn automatic(&self) -> (&'static str, String) {
        let works = |entry: &&'static RuntimeEntry| {
            self.runtimes.iter().any(|finding| finding.name == entry.name && finding.works)
        };
        let first = |precision| runtime::automatic(precision).find(works).map(|entry| entry.name);
        let here = |tier: &&Tier| tier.works && tier.name != Precision::F32.name();
        let quicker = self.precisions.iter().filter(here).find_map(|tier| {
            let precision = tier.name.parse().ok()?;
            Some(format!("{precision}, on {}", first(precision)?))
        });
        let f32 = Precision::F32;
        (first(f32).unwrap_or("none"), quicker.unwrap_or_else(|| f32.to_string()))
    }
}
