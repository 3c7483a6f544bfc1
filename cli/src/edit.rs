//! `kandinsky edit`: image to image.

use super::Report;
use super::draw::DrawArgs;
use super::settings::{ranged, start};
use anyhow::Result;
use kandinsky::Request;
use std::path::PathBuf;

/// Change a picture towards a prompt (image to image)
#[derive(clap::Args)]
pub struct Args {
    /// The picture: PNG, JPEG or WebP
    picture: PathBuf,
    /// What it shall show
    prompt: String,
    #[arg(long, value_name = "X", default_value = "0.5", allow_negative_numbers = true,
        help = ranged("start.strength", "How far to go from the picture", "the share of the steps that is run"))]
    strength: String,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let start = start("edit", &args.picture, &[("strength", &args.strength)])?;
    args.draw.draw(Request { start, ..Request::text_to_image(&args.prompt) })
}
