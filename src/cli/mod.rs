//! The command line: one file a command, one line in `Command` each.
//!
//! A command turns its arguments into a report, and the report is printed: for people as its
//! `Display`, with `--json` as its JSON. What a command does while it works goes to standard error.

mod bars;
mod completions;
mod doctor;
mod draw;
mod edit;
mod export;
mod fit_prior;
mod generate;
mod inpaint;
mod inspect;
mod mix;
mod outpaint;
mod replay;
mod run_graphs;
mod samplers;
mod vary;
mod verify;

use crate::engine::{Engine, find_model};
use crate::error::{Error, Kind, Result};
use crate::progress::CancelToken;
use crate::runtime::RuntimeOptions;
use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Kandinsky 2.1: pictures from English and Russian text, without Python.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = exit_codes(), max_term_width = 100)]
struct Cli {
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
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
    RunGraphs(run_graphs::Args),
    Completions(completions::Args),
}

/// Which runtime runs the graphs.
#[derive(clap::Args, Clone, Debug, Default)]
struct RuntimeArgs {
    /// Runtime: auto takes ONNX Runtime where it is found and tract elsewhere
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = crate::runtime::NAMES)]
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
    /// Encode every prompt and picture anew, instead of keeping what the last ones became
    #[arg(long)]
    no_encoding_cache: bool,
    /// Compute what the empty prompt and the picture of zeros become, instead of reading it from the model
    #[arg(long)]
    no_constants: bool,
}

impl RuntimeArgs {
    fn options(&self) -> Result<RuntimeOptions> {
        if let Some(threads) = self.threads {
            crate::limits::THREADS.check(threads)?;
        }
        Ok(RuntimeOptions {
            runtime: self.runtime.clone(),
            library: self.ort_library.clone(),
            threads: self.threads,
            device: self.device,
            no_encoding_cache: self.no_encoding_cache,
            no_constants: self.no_constants,
            profile: None,
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
    serde_json::to_value(value).map_err(|e| Error::new(Kind::Internal, format!("no JSON: {e}")))
}

/// Runs the program: parses the arguments, runs the command, prints, and says how it went.
pub fn main() -> ExitCode {
    if let Some(code) = crate::runtime::answer_probe() {
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
    let outcome = run(&cli.command).and_then(|report| {
        print(report.as_ref(), cli.json)?;
        Ok(report.exit_code())
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            fail(&error, cli.json);
            ExitCode::from(error.kind().exit_code())
        }
    }
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
        Command::RunGraphs(args) => run_graphs::run(args),
        Command::Completions(args) => completions::run(args, &mut Cli::command()),
    }
}

fn print(report: &dyn Report, json: bool) -> Result<()> {
    let text = if json { format!("{:#}", report.json()?) } else { report.to_string() };
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| Error::new(Kind::Io, format!("the report cannot be printed: {e}"))),
    }
}

fn fail(error: &Error, json: bool) {
    let _ = if json {
        let report =
            serde_json::json!({ "error": { "kind": error.kind().name(), "message": error.to_string() } });
        writeln!(std::io::stdout(), "{report:#}")
    } else {
        let hint = if error.kind() == Kind::Exists { "; --force replaces it" } else { "" };
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
    for kind in Kind::ALL {
        text += &format!("  {:<4} {}\n", kind.exit_code(), kind.meaning());
    }
    text
}
