//! `kandinsky outpaint`: what lies around a picture.

use super::Report;
use super::draw::DrawArgs;
use super::inpaint::SeamArgs;
use kandinsky::error::Result;
use kandinsky::request::{Frame, Request, Size};
use std::path::PathBuf;

/// Paint what lies around a picture
///
/// Either so many pixels beyond its sides, or a window over it: where the window covers the picture, that is
/// known, and the rest is painted. The picture's own pixels stay as they are.
#[derive(clap::Args)]
pub struct Args {
    /// The picture: PNG, JPEG or WebP
    picture: PathBuf,
    /// What it shall show; empty unless given
    #[arg(default_value = "")]
    prompt: String,
    /// Pixels to paint to the left of it
    #[arg(long, value_name = "N", default_value_t = 0)]
    left: usize,
    /// Pixels to paint above it
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,
    /// Pixels to paint to the right of it
    #[arg(long, value_name = "N", default_value_t = 0)]
    right: usize,
    /// Pixels to paint below it
    #[arg(long, value_name = "N", default_value_t = 0)]
    bottom: usize,
    /// A window instead: its size and the place of its upper left corner, which may be negative
    #[arg(long, value_name = "WxH+X+Y", value_parser = window, conflicts_with_all = ["left", "top", "right", "bottom"], allow_hyphen_values = true)]
    window: Option<Frame>,
    #[command(flatten)]
    seam: SeamArgs,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let Args { left, top, right, bottom, .. } = *args;
    let frame = args.window.unwrap_or(Frame::Extend { left, top, right, bottom });
    let request = Request::text_to_image(&args.prompt).outpaint(args.picture.clone(), frame);
    args.draw.draw(request.seam(args.seam.seam()))
}

/// Reads `WxH+X+Y`, such as `128x128+64-32`.
fn window(text: &str) -> std::result::Result<Frame, String> {
    let parsed = || {
        let second = text.find(['+', '-'])?;
        let (size, place) = text.split_at_checked(second)?;
        let third = place.get(1..)?.find(['+', '-'])? + 1;
        let (x, y) = place.split_at_checked(third)?;
        let size: Size = size.parse().ok()?;
        Some(Frame::Window { x: x.parse().ok()?, y: y.parse().ok()?, size })
    };
    parsed().ok_or_else(|| format!("{text:?} is not a window; write 512x512+256-64"))
}
