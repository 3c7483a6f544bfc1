//! `kandinsky generate`: pictures of a prompt.

use super::Report;
use super::draw::DrawArgs;
use anyhow::Result;
use kandinsky::Request;

/// Draw pictures of a prompt
///
/// Settings that are not given come from the model. An output file that exists is left alone, and
/// nothing is drawn, unless --force is given; a picture appears whole or not at all.
#[derive(clap::Args)]
pub struct Args {
    /// What the picture shows, in English or Russian; several prompts draw several pictures
    #[arg(required = true)]
    prompt: Vec<String>,
    #[command(flatten)]
    draw: DrawArgs,
}

pub fn run(args: &Args) -> Result<Box<dyn Report>> {
    args.draw.draw(Request::default().prompts(args.prompt.iter().cloned()))
}
