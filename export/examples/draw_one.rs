//! Draws the graphs named of a checkpoint into a folder, without the rest of a model folder: what
//! `benches/rewrites.py` times.
//!
//! ```text
//! cargo run --release -p kandinsky-export --example draw_one -- CHECKPOINT OUT unet_step,movq_decoder [none] [+NAME] [-NAME]
//! ```

use kandinsky_export::{Checkpoint, Error, GraphStyle, Result, Rewrite, Rewrites, WeightSource, arch};
use kandinsky_models::manifest::{Precision, Target};
use std::path::Path;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, out, graphs, switches @ ..] = &arguments[..] else {
        return Err(usage("CHECKPOINT OUT GRAPH,… [none] [+NAME] [-NAME]"));
    };
    let style = GraphStyle::of(Target::Portable, &rewrites(switches)?);
    std::fs::create_dir_all(out).map_err(|e| usage(&e.to_string()))?;
    let wanted: Vec<&str> = graphs.split(',').collect();
    for part in Checkpoint::find(Path::new(checkpoint))?.parts()? {
        let weights = part.weights(WeightSource::Files)?;
        let (config, path) = (&part.config.value, &part.config.path);
        let drawings = arch::draw_for(&style, part.kind, config, path, weights.as_ref())?;
        for drawing in drawings.iter().filter(|drawing| wanted.contains(&drawing.component.name())) {
            let stem = drawing.component.name();
            drawing.graph.write(weights.as_ref(), Path::new(out), stem, Precision::F32, &mut |_| Ok(()))?;
            println!("{out}/{stem}.onnx");
        }
    }
    Ok(())
}

/// The default rewrites, changed by `none`, `+NAME` and `-NAME`.
fn rewrites(switches: &[String]) -> Result<Rewrites> {
    switches.iter().try_fold(Rewrites::default(), |all, switch| {
        match (switch.strip_prefix('+'), switch.strip_prefix('-')) {
            (Some(name), _) => Ok(all.with(Rewrite::named(name)?)),
            (_, Some(name)) => Ok(all.without(Rewrite::named(name)?)),
            _ if switch == "none" => Ok(Rewrites::none()),
            _ => Err(usage("a switch is none, +NAME or -NAME")),
        }
    })
}

fn usage(text: &str) -> Error {
    Error::Unknown {
        what: "the arguments".to_owned(),
        found: text.to_owned(),
        known: "the usage above".to_owned(),
    }
}
