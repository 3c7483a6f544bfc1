//! `kandinsky inpaint`: a picture with a hole.

use super::Report;
use super::draw::DrawArgs;
use kandinsky::error::Result;
use kandinsky::request::{Request, Seam, Start};
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
    mask: Option<PathBuf>,
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
    /// Pixels over which the painted part fades in, inside it
    #[arg(long, value_name = "N", default_value_t = 0)]
    feather: usize,
    /// Give everything as decoded, as the reference does, instead of the picture's own pixels
    #[arg(long)]
    decoded: bool,
}

impl SeamArgs {
    /// As a request has it.
    pub const fn seam(&self) -> Seam {
        Seam { decoded: self.decoded, feather: self.feather }
    }
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let start = Start::Inpaint {
        picture: args.picture.clone().into(),
        mask: args.mask.clone().map(Into::into),
        invert: args.invert,
        seam: args.seam.seam(),
    };
    args.draw.draw(Request { start, ..Request::text_to_image(&args.prompt) })
}
