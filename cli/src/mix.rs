//! `kandinsky mix`: fusion of pictures and texts.

use super::Report;
use super::draw::DrawArgs;
use super::settings::set;
use anyhow::Result;
use kandinsky::Request;

/// Mix pictures and texts into one picture
///
/// A part is [WEIGHT=]TEXT or [WEIGHT=]@FILE, such as 0.6=@cat.png 0.4="a starry night"; without a weight it
/// counts 1. Parts with a weight below 0, which steers away, stand behind a --. Texts become image embeddings
/// through the prior, pictures through the CLIP image encoder. With --prompt, that text conditions the
/// decoder: text and image fusion.
#[derive(clap::Args)]
pub struct Args {
    /// Parts of the mix
    #[arg(required = true, value_name = "PART")]
    parts: Vec<String>,
    /// A text that conditions the decoder
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    let mut request = Request::text_to_image(&args.prompt);
    set("mix", &mut request, &args.parts)?;
    args.draw.draw(request)
}
