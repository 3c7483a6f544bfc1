//! `kandinsky outpaint`: what lies around a picture.

use super::Report;
use super::draw::DrawArgs;
use super::inpaint::SeamArgs;
use super::settings::start;
use anyhow::Result;
use kandinsky::{Request, Size};
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
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    left: String,
    /// Pixels to paint above it
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    top: String,
    /// Pixels to paint to the right of it
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    right: String,
    /// Pixels to paint below it
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    bottom: String,
    /// A window instead: its size and the place of its upper left corner, which may be negative
    #[arg(long, value_name = "WxH+X+Y", value_parser = window, conflicts_with_all = ["left", "top", "right", "bottom"], allow_hyphen_values = true)]
    window: Option<[String; 3]>,
    #[command(flatten)]
    seam: SeamArgs,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let Args { left, top, right, bottom, .. } = args;
    let extend = [("left", left), ("top", top), ("right", right), ("bottom", bottom)];
    let frame = match &args.window {
        Some([size, x, y]) => [("size", size), ("x", x), ("y", y)]
            .map(|(name, text)| (format!("frame.window.{name}"), text))
            .to_vec(),
        None => extend.map(|(name, text)| (format!("frame.extend.{name}"), text)).to_vec(),
    };
    let mut typed = args.seam.typed().to_vec();
    typed.extend(frame.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    let start = start("outpaint", &args.picture, &typed)?;
    args.draw.draw(Request { start, ..Request::text_to_image(&args.prompt) })
}

/// Splits `WxH+X+Y`, such as `128x128+64-32`, into size, x and y.
fn window(text: &str) -> std::result::Result<[String; 3], String> {
    let parsed = || {
        let second = text.find(['+', '-'])?;
        let (size, place) = text.split_at_checked(second)?;
        let third = place.get(1..)?.find(['+', '-'])? + 1;
        let (x, y) = place.split_at_checked(third)?;
        let is_whole = |text: &str| text.parse::<i64>().is_ok();
        (size.parse::<Size>().is_ok() && is_whole(x) && is_whole(y)).then(|| [size, x, y].map(str::to_owned))
    };
    parsed().ok_or_else(|| format!("{text:?} is not a window; write 512x512+256-64"))
}
