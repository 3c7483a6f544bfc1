//! `kandinsky completions`: completions for a shell.

use super::Report;
use anyhow::Result;
use std::fmt;

/// Print completions for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub fn run(args: &Args, command: &mut clap::Command) -> Result<Box<dyn Report>> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "kandinsky", &mut script);
    Ok(Box::new(Script(String::from_utf8_lossy(&script).into_owned())))
}

struct Script(String);

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Report for Script {
    fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::from(self.0.as_str()))
    }
}
