//! `kandinsky samplers`: what can sample, and in how many steps.

use super::Report;
use anyhow::Result;
use kandinsky::internal::sampler::{Entry, Role, SAMPLERS};
use std::fmt;

/// List the samplers of decoder and prior
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: &Args) -> Result<Box<dyn Report>> {
    Ok(Box::new(List))
}

struct List;

const fn role(entry: &Entry) -> &'static str {
    match entry.role {
        Role::Decoder => "decoder",
        Role::Prior => "prior",
    }
}

impl Report for List {
    fn json(&self) -> Result<serde_json::Value> {
        let row = |entry: &Entry| {
            serde_json::json!({
                "name": entry.name, "role": role(entry), "profile": entry.profile, "steps": entry.steps,
                "doc": entry.doc,
            })
        };
        Ok(SAMPLERS.iter().map(row).collect())
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:<8} {:<10} {:>5}  what it is", "sampler", "of", "profile", "steps")?;
        for entry in SAMPLERS {
            let (name, role, profile) = (entry.name, role(entry), entry.profile.name());
            writeln!(f, "{name:<16} {role:<8} {profile:<10} {:>5}  {}", entry.steps, entry.doc)?;
        }
        Ok(())
    }
}
