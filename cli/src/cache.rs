//! `kandinsky cache`: the compiled graphs that are kept, and getting rid of them.

use super::{Report, to_json};
use anyhow::Result;
use kandinsky::find_model;
use kandinsky::internal::runtime::cache::{self, Entry, State};
use kandinsky::internal::runtime::library;
use kandinsky_models::Folder;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// List or remove the compiled graphs that ONNX Runtime keeps beside a model and in the cache folder
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show each compiled graph with its size and whether it can be used here
    List(Common),
    /// Remove compiled graphs: all, or with --stale those that cannot be used here any more
    Prune {
        /// Only those of other libraries, processors and models, and damaged or unfinished ones
        #[arg(long)]
        stale: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The ONNX Runtime library that would use them; else ORT_DYLIB_PATH, beside the executable, the loader's names
    #[arg(long, value_name = "FILE")]
    ort_library: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    match &args.action {
        Action::List(common) => Ok(Box::new(Listing { removed: false, entries: entries(common)? })),
        Action::Prune { stale, common } => {
            let goes = |entry: &Entry| !stale || entry.state != State::Ready;
            let entries: Vec<Entry> = entries(common)?.into_iter().filter(goes).collect();
            entries.iter().try_for_each(cache::prune)?;
            Ok(Box::new(Listing { removed: true, entries }))
        }
    }
}

fn entries(common: &Common) -> Result<Vec<Entry>> {
    let (model, _) = find_model(common.model.as_deref())?;
    let folder = Folder::open(&model)?;
    let library = library::find(&library::ONNX_RUNTIME, common.ort_library.as_deref());
    Ok(cache::list(&folder, library.ok().as_ref()))
}

#[derive(Serialize)]
struct Listing {
    removed: bool,
    entries: Vec<Entry>,
}

impl Listing {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

impl Report for Listing {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(self)
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.entries {
            let Entry { path, component, bytes, state, .. } = entry;
            writeln!(
                f,
                "{:<10} {:>8.1} MB  {component:<20}  {}",
                state.name(),
                megabytes(*bytes),
                path.display()
            )?;
        }
        let what = if self.removed { "removed" } else { "in all" };
        writeln!(f, "{what:<10} {:>8.1} MB  {} compiled graphs", megabytes(self.bytes()), self.entries.len())
    }
}

fn megabytes(bytes: u64) -> f64 {
    std::time::Duration::from_micros(bytes).as_secs_f64()
}
