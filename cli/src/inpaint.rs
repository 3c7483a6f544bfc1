//! `kandinsky inpaint`: a picture with a hole.

use super::Report;
use super::draw::DrawArgs;
use super::settings::{ranged, start};
use anyhow::Result;
use kandinsky::Request;
use std::path::PathBuf;

/// Paint a part of a picture anew
///
/// White pixels of the mask are repainted; without a mask, the transparent pixels of the picture are. Every
/// other pixel of the result is the picture's own.
#[derive(clap::Args)]
pub struct Args {
    /// The picture: PNG, JPEG or WebP
    picture: PathBuf,
    /// What it shall show; empty unless given
    #[arg(default_value = "")]
    prompt: String,
    /// The mask, of the picture's size: white repaints
    #[arg(long, value_name = "FILE")]
    mask: Option<String>,
    /// Repaint black instead: the convention of the original repository, and of diffusers before 0.19
    #[arg(long)]
    invert: bool,
    #[command(flatten)]
    seam: SeamArgs,
    #[command(flatten)]
    draw: DrawArgs,
}

/// How what was painted joins the picture.
#[derive(clap::Args)]
pub struct SeamArgs {
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true,
        help = ranged("start.feather", "Pixels over which the painted part fades in", "inside it"))]
    feather: String,
    /// Give everything as decoded, as the reference does, instead of the picture's own pixels
    #[arg(long)]
    decoded: bool,
}

impl SeamArgs {
    /// As they are typed.
    pub fn typed(&self) -> [(&'static str, &str); 2] {
        [("decoded", if self.decoded { "true" } else { "false" }), ("feather", &self.feather)]
    }
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let mut typed = args.seam.typed().to_vec();
    typed.push(("invert", if args.invert { "true" } else { "false" }));
    typed.extend(args.mask.as_deref().map(|mask| ("mask", mask)));
    let start = start("inpaint", &args.picture, &typed)?;
    args.draw.draw(Request { start, ..Request::text_to_image(&args.prompt) })
}
