//! `kandinsky replay`: draws again what a picture's file says it was drawn from.

use super::draw::{Drawn, RunArgs};
use super::{Report, to_json};
use anyhow::Result;
use kandinsky::internal::image::read_metadata;
use kandinsky::internal::metadata;
use kandinsky::{Error, Kind, Picture};
use std::fmt;
use std::path::PathBuf;

/// Draw the request that a picture carries, and say whether the pixels are the same
///
/// The same model, runtime and version give the same pixels. Pictures that the request read are found by
/// their paths and must hold the same pixels.
#[derive(clap::Args)]
pub struct Args {
    /// A picture that this program drew
    picture: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let name = args.picture.display();
    let carried = read_metadata(&args.picture)?
        .ok_or_else(|| Error::new(Kind::BadImage, format!("{name} carries no request")))?;
    let (request, model) = metadata::request(&carried)?;
    let before = Picture::open(&args.picture)?;
    let drawn = args.run.draw(&request)?;
    let after = drawn.outcome().pictures.first();
    let difference = after.and_then(|after| largest_difference(&before, after));
    Ok(Box::new(Replayed { drawn, model, difference }))
}

/// The largest difference of two pictures of one size, of 255.
fn largest_difference(a: &Picture, b: &Picture) -> Option<u8> {
    let pairs = || a.bytes().iter().zip(b.bytes());
    (a.size() == b.size()).then(|| pairs().map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0))
}

struct Replayed {
    drawn: Drawn,
    /// The model that the picture names.
    model: String,
    /// `None` where the sizes differ.
    difference: Option<u8>,
}

impl Report for Replayed {
    fn json(&self) -> Result<serde_json::Value> {
        let replay = serde_json::json!({
            "drawn": self.drawn.json()?,
            "model_of_picture": self.model,
            "same": self.difference == Some(0),
            "largest_difference": self.difference,
        });
        to_json(&replay)
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.drawn)?;
        match self.difference {
            Some(0) => writeln!(f, "replay   every pixel is the same"),
            Some(most) => {
                writeln!(f, "replay   pixels differ by up to {most} of 255 (drawn by {})", self.model)
            }
            None => writeln!(f, "replay   the size differs (drawn by {})", self.model),
        }
    }
}
