//! `kandinsky edit`: image to image.

use super::Report;
use super::draw::DrawArgs;
use kandinsky::error::Result;
use kandinsky::request::Request;
use std::path::PathBuf;

/// Change a picture towards a prompt (image to image)
#[derive(clap::Args)]
pub struct Args {
    /// The picture: PNG, JPEG or WebP
    picture: PathBuf,
    /// What it shall show
    prompt: String,
    /// How far to go from the picture, above 0 to 1: the share of the steps that is run
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    strength: f64,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    args.draw.draw(Request::text_to_image(&args.prompt).edit(args.picture.clone(), args.strength))
}
