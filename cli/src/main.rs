//! The command line: one file a command, one line in `Command` each.
//!
//! A command turns its arguments into a report, and the report is printed: for people as its
//! `Display`, with `--json` as its JSON. What a command does while it works goes to standard error.

mod bars;
mod bench;
mod cache;
mod completions;
mod doctor;
mod draw;
mod edit;
mod export;
mod failure;
mod fit_prior;
mod generate;
mod inpaint;
mod inspect;
mod mix;
mod outpaint;
mod prepare;
mod replay;
mod run_graphs;
mod samplers;
mod settings;
mod vary;
mod verify;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, Parser, Subcommand};
use kandinsky::internal::atomic_file::{check_target, write_whole};
use kandinsky::internal::runtime;
use kandinsky::internal::runtime::provider::cuda::ConvSearch;
use kandinsky::internal::runtime::provider::tensorrt::MAX_LEVEL;
use kandinsky::{CacheMode, CancelToken, Engine, Error, Kind, Precision, RuntimeOptions, find_model};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Kandinsky 2.1: pictures from English and Russian text, without Python.
#[derive(Parser)]
#[command(name = "kandinsky", version, propagate_version = true, after_help = exit_codes(), max_term_width = 100)]
struct Cli {
    /// Print the result as JSON on standard output; with =FILE, write the JSON there and print the result for people
    #[arg(long, global = true, value_name = "=FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Generate(generate::Args),
    Vary(vary::Args),
    Mix(mix::Args),
    Edit(edit::Args),
    Inpaint(inpaint::Args),
    Outpaint(outpaint::Args),
    Replay(replay::Args),
    Export(export::Args),
    FitPrior(fit_prior::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Doctor(doctor::Args),
    Samplers(samplers::Args),
    Bench(bench::Args),
    RunGraphs(run_graphs::Args),
    Completions(completions::Args),
    Prepare(prepare::Args),
    Cache(cache::Args),
}

/// Which runtime runs the graphs, and how.
#[derive(clap::Args, Clone, Debug)]
struct RuntimeArgs {
    /// Runtime: auto takes ONNX Runtime where it is found and tract elsewhere
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = PossibleValuesParser::new(runtime::names()))]
    runtime: String,
    /// The ONNX Runtime library to load; else ORT_DYLIB_PATH, beside the executable, the loader's names
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
    /// Threads; all cores when it is not given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// The device of the cuda and tensorrt runtimes
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// What the networks compute in: f32 has the reference's numbers, auto takes the quickest that is here
    #[arg(long, value_name = "NAME", default_value = "f32", value_parser = Precision::ALL.map(Precision::name))]
    precision: String,
    /// The OpenVINO library (libopenvino_c) to load; else OPENVINO_DYLIB_PATH and the places of --ort-library
    #[arg(long, value_name = "FILE")]
    openvino_library: Option<PathBuf>,
    /// Most GPU memory that the arena of each graph takes, such as 8G
    #[arg(long, value_name = "SIZE", value_parser = memory_in_bytes)]
    gpu_memory: Option<u64>,
    /// Launch the steps of a loop one by one on the GPU, and capture no CUDA graphs
    #[arg(long)]
    no_cuda_graph: bool,
    /// Let CUDA round the factors of f32 products to TF32
    #[arg(long)]
    tf32: bool,
    /// How CUDA's algorithms of convolutions are found
    #[arg(long, value_name = "NAME", default_value = "exhaustive", value_parser = ConvSearch::ALL.map(ConvSearch::name))]
    conv_search: String,
    /// How long TensorRT looks for faster kernels, 0 to 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_LEVEL)))]
    builder_level: Option<u8>,
    /// Encode every prompt and picture anew, instead of keeping what the last ones became
    #[arg(long)]
    no_encoding_cache: bool,
    /// Compute what the empty prompt and the picture of zeros become, instead of reading it from the model
    #[arg(long)]
    no_constants: bool,
    /// Most memory that the program may take, such as 4G or 6500M; what the machine has to spare when it is not given
    #[arg(long, value_name = "SIZE", value_parser = memory_in_bytes)]
    memory: Option<u64>,
    /// Which graphs ONNX Runtime keeps compiled beside the model: auto (large ones of convolutions), all, off
    #[arg(long, value_name = "MODE", default_value = "auto", value_parser = CacheMode::ALL.map(CacheMode::name))]
    cache: String,
}

/// Reads a size: a number, which may have a fraction, and a unit (K, M, G and T count in thousands, KiB,
/// MiB, GiB and TiB in 1,024s).
fn size_in_bytes(text: &str) -> std::result::Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("K", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
    ];
    let odd = || format!("invalid size {text:?}; expected for example 4G or 6500M");
    let stem = text.strip_suffix('B').filter(|stem| stem.ends_with(['K', 'M', 'G', 'T'])).unwrap_or(text);
    let found = units.iter().find_map(|(unit, bytes)| Some((stem.strip_suffix(unit)?, *bytes)));
    let (number, unit) = found.ok_or_else(odd)?;
    let bytes = decimal(number, unit).ok_or_else(odd)?;
    if bytes == 0 { Err("a size must be greater than zero".to_owned()) } else { Ok(bytes) }
}

/// A size that is the memory of a machine.
fn memory_in_bytes(text: &str) -> std::result::Result<u64, String> {
    let bytes = size_in_bytes(text)?;
    kandinsky::internal::limits::MEMORY.check(bytes / 1_000_000).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// A decimal number of at most six places, times a unit.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let millionths: u64 = format!("{fraction:0<6}").parse().ok()?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    whole.checked_add(unit.checked_mul(millionths)? / 1_000_000)
}

impl RuntimeArgs {
    fn conv_search(&self) -> ConvSearch {
        let named = ConvSearch::ALL.into_iter().find(|search| search.name() == self.conv_search);
        named.unwrap_or_default()
    }

    fn options(&self) -> Result<RuntimeOptions> {
        if let Some(threads) = self.threads {
            kandinsky::internal::limits::THREADS.check(threads)?;
        }
        Ok(RuntimeOptions {
            runtime: self.runtime.clone(),
            precision: self.precision.parse()?,
            library: self.ort_library.clone(),
            openvino: self.openvino_library.clone(),
            threads: self.threads,
            device: self.device,
            gpu_memory: self.gpu_memory,
            no_cuda_graph: self.no_cuda_graph,
            tf32: self.tf32,
            conv_search: self.conv_search(),
            builder_level: self.builder_level,
            shapes: None,
            f32_only: None,
            no_encoding_cache: self.no_encoding_cache,
            no_constants: self.no_constants,
            profile: None,
            memory: self.memory,
            cache: CacheMode::ALL.into_iter().find(|mode| mode.name() == self.cache).unwrap_or_default(),
        })
    }
}

/// Opens the model that a command names, or the one that is found, and tells which it is and what runs it.
fn open_engine(named: Option<&Path>, runtime: &RuntimeArgs) -> Result<(PathBuf, Engine)> {
    let (model, how) = find_model(named)?;
    let engine = Engine::open_with(&model, &runtime.options()?)?;
    eprintln!("model    {} ({}, {how})", engine.manifest().name, model.display());
    eprintln!("runtime  {}", engine.runtime());
    engine.notes().iter().for_each(|note| eprintln!("         {note}"));
    Ok((model, engine))
}

/// What a command found or did.
trait Report: Display {
    /// The same as JSON.
    fn json(&self) -> Result<serde_json::Value>;

    /// The exit code; a report can tell of failures that it lists.
    fn exit_code(&self) -> u8 {
        0
    }
}

/// JSON of anything that can be serialised.
fn to_json(value: &impl Serialize) -> Result<serde_json::Value> {
    Ok(serde_json::to_value(value).map_err(|e| Error::new(Kind::Internal, format!("no JSON: {e}")))?)
}

/// Runs the program: parses the arguments, runs the command, prints, and says how it went.
fn main() -> ExitCode {
    if let Some(code) = kandinsky::internal::runtime::answer_probe() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Kind::BadRequest.exit_code() } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let file = cli.json.as_deref().filter(|file| *file != Path::new("-"));
    let on_output = cli.json.is_some() && file.is_none();
    match report(&cli.command, file, on_output) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            fail(&error, on_output);
            ExitCode::from(failure::kind(&error).exit_code())
        }
    }
}

/// Runs a command and tells what came of it: as JSON in `file` or on standard output, or for people. The exit code.
fn report(command: &Command, file: Option<&Path>, on_output: bool) -> Result<u8> {
    file.map_or(Ok(()), |file| check_target(file, true))?;
    let report = run(command)?;
    if let Some(file) = file {
        write_whole(file, format!("{:#}\n", report.json()?).as_bytes(), true)?;
    }
    print(report.as_ref(), on_output)?;
    Ok(report.exit_code())
}

fn run(command: &Command) -> Result<Box<dyn Report>> {
    match command {
        Command::Generate(args) => generate::run(args),
        Command::Vary(args) => vary::run(args),
        Command::Mix(args) => mix::run(args),
        Command::Edit(args) => edit::run(args),
        Command::Inpaint(args) => inpaint::run(args),
        Command::Outpaint(args) => outpaint::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Export(args) => export::run(args),
        Command::FitPrior(args) => fit_prior::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Samplers(args) => samplers::run(args),
        Command::Bench(args) => bench::run(args),
        Command::RunGraphs(args) => run_graphs::run(args),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
        Command::Prepare(args) => prepare::run(args),
        Command::Cache(args) => cache::run(args),
    }
}

fn print(report: &dyn Report, json: bool) -> Result<()> {
    let text = if json { format!("{:#}", report.json()?) } else { report.to_string() };
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other.map_err(|e| Error::new(Kind::Io, format!("the report cannot be printed: {e}")))?),
    }
}

fn fail(error: &anyhow::Error, json: bool) {
    let _ = if json {
        let report = serde_json::json!({ "error": { "kind": failure::kind(error).name(), "message": error.to_string() } });
        writeln!(std::io::stdout(), "{report:#}")
    } else {
        let hint = if failure::kind(error) == Kind::Exists { "; --force replaces it" } else { "" };
        writeln!(std::io::stderr(), "kandinsky: {error}{hint}")
    };
}

/// A token that Ctrl-C uses: the work in hand stops before its next step and removes what it began.
fn cancel_on_interrupt() -> Result<CancelToken> {
    let token = CancelToken::default();
    let hand = token.clone();
    let refused = |e: ctrlc::Error| Error::new(Kind::Internal, format!("Ctrl-C cannot be watched: {e}"));
    ctrlc::set_handler(move || hand.cancel()).map_err(refused)?;
    Ok(token)
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n  0    success\n");
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_of_c()) {
        text += &format!("  {:<4} {}\n", kind.exit_code(), kind.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_strictly() {
        for (text, bytes) in [
            ("4G", 4_000_000_000),
            ("6.5G", 6_500_000_000),
            ("6500MB", 6_500_000_000),
            ("2GiB", 2 << 30),
            ("0.5T", 500_000_000_000),
            ("64M", 64_000_000),
            ("1.5K", 1_500),
        ] {
            assert_eq!(size_in_bytes(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "4", "G", "4g", "-4G", "+4G", "4 G", "4.G", ".5G", "4.5.1G", "1e3M", "4GiBB", "4,5G", "0G"]
        {
            assert!(size_in_bytes(text).is_err(), "{text}");
        }
        for text in ["63M", "65000T"] {
            assert!(size_in_bytes(text).is_ok() && memory_in_bytes(text).is_err(), "{text}");
        }
        assert!(size_in_bytes("99999999999999999999G").is_err());
    }
}
