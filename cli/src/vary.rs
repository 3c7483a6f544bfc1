//! `kandinsky vary`: variations of a picture.

use super::Report;
use super::draw::DrawArgs;
use anyhow::Result;
use kandinsky::Request;
use std::path::PathBuf;

/// Draw variations of a picture
///
/// The picture's CLIP embedding stands in for the prior's. A prompt, where one is given, conditions the
/// decoder as well.
#[derive(clap::Args)]
pub struct Args {
    /// The picture: PNG, JPEG or WebP
    picture: PathBuf,
    /// What it shows; empty unless given
    #[arg(default_value = "")]
    prompt: String,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    args.draw.draw(Request::variation(args.picture.clone()).prompt(&args.prompt))
}
