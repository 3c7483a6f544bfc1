//! `kandinsky inspect`: what is in a model folder.

use super::{Report, to_json};
use anyhow::Result;
use kandinsky::find_model;
use kandinsky_models::manifest::Port;
use kandinsky_models::{Component, Folder, Manifest};
use std::fmt;
use std::path::PathBuf;

/// Show what is in a model folder: components, sizes, contracts, source
#[derive(clap::Args)]
pub struct Args {
    /// The model folder; else KANDINSKY_MODEL, else models/emoji beside the executable or here
    model: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let (path, how) = find_model(args.model.as_deref())?;
    let folder = Folder::open(&path)?;
    Ok(Box::new(Contents { path, how, manifest: folder.manifest().clone() }))
}

struct Contents {
    path: PathBuf,
    how: &'static str,
    manifest: Manifest,
}

impl Report for Contents {
    fn json(&self) -> Result<serde_json::Value> {
        to_json(&self.manifest)
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.manifest;
        writeln!(f, "{} ({}, {})", m.name, self.path.display(), self.how)?;
        writeln!(f, "family     {}, weights {:?}, format {}", m.family, m.precision, m.format)?;
        writeln!(f, "source     {}", m.source.description)?;
        writeln!(f, "licence    {}", m.source.licence.as_deref().unwrap_or("not stated"))?;
        let d = &m.defaults;
        writeln!(
            f,
            "defaults   {}x{}, {} steps {}, guidance {}",
            d.width, d.height, d.steps, d.sampler, d.guidance
        )?;
        writeln!(f, "           prior: {} steps, guidance {}", d.prior_steps, d.prior_guidance)?;
        writeln!(f, "\n{:<21} {:>13} {:>14}", "component", "parameters", "bytes")?;
        let (mut parameters, mut bytes) = (0, 0);
        for component in Component::ALL {
            let Some(spec) = m.components.get(component.name()) else { continue };
            let size = spec.graph.bytes + spec.data_bytes();
            writeln!(f, "{component:<21} {:>13} {size:>14}", spec.parameters)?;
            writeln!(f, "  {} -> {}", ports(&spec.inputs), ports(&spec.outputs))?;
            parameters += spec.parameters;
            bytes += size;
        }
        for (role, file) in &m.files {
            writeln!(f, "{role:<21} {:>13} {:>14}", "", file.bytes)?;
            bytes += file.bytes;
        }
        writeln!(f, "{:<21} {parameters:>13} {bytes:>14}", "total")
    }
}

fn ports(ports: &[Port]) -> String {
    let one = |p: &Port| format!("{}[{}]", p.name, p.shape.join(","));
    ports.iter().map(one).collect::<Vec<_>>().join(" ")
}
