//! `kandinsky doctor`: what this machine can run, and what to do for more.

use super::{Report, RuntimeArgs, to_json};
use anyhow::Result;
use kandinsky::internal::doctor::{self, Findings};
use std::fmt;

/// Show which runtimes and providers were found, where, and what to do about the others
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    Ok(Box::new(Doctor(doctor::examine(&args.runtime.options()?))))
}

struct Doctor(Findings);

impl Report for Doctor {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(&self.0)
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
