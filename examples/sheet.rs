//! Draws the contact sheet of the README: eight prompts, one picture each, four a row.
//!
//! `cargo run --release --example sheet -- docs/sheet.png`

use kandinsky::{Engine, Picture, Request};
use std::path::PathBuf;

/// What the sheet shows, row by row.
const PROMPTS: [&str; 8] = [
    "red apple",
    "красное яблоко",
    "cat face",
    "лиса",
    "blue heart on a yellow background",
    "синее сердце на жёлтом фоне",
    "owl 3D render",
    "дом на зелёном фоне",
];
/// Pictures a row.
const COLUMNS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "docs/sheet.png".into()));
    let engine = Engine::open("models/emoji")?;
    println!("{}", engine.runtime());
    let mut pictures = Vec::new();
    for prompt in PROMPTS {
        println!("{prompt}");
        pictures.push(engine.run(Request::text_to_image(prompt).seed(0))?);
    }
    Picture::grid(&pictures, COLUMNS)?.replace(&file)?;
    println!("{}", file.display());
    Ok(())
}
