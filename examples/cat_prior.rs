//! The paper's "cat prior" in small (section 6, Figure 5): a linear prior fitted on pictures of cats alone
//! draws things that are no cats.
//!
//! The paper did it with 500 pictures and a CLIP that has seen hundreds of millions. Here it is 465 pictures and
//! a CLIP that has seen emoji alone: the linear prior keeps the ground of a prompt, and of what it names a colour at
//! most.
//!
//! Draws each prompt three times with the same seed: with the model's diffusion prior (upper row), with the
//! linear prior fitted on the folder (middle), and with no prior at all (lower).
//!
//! `python3 benches/cat_pictures.py emoji128.zip cats`
//!
//! `cargo run --release --example cat_prior -- cats docs/cat_prior.png`

use kandinsky::internal::fit;
use kandinsky::{Engine, Observer, Picture, PriorKind, Request, Tensor};
use std::path::PathBuf;

/// What the sheet shows, from left to right.
const PROMPTS: [&str; 4] = ["cat face", "red apple", "синее сердце на жёлтом фоне", "дом на зелёном фоне"];
/// The seed of every picture.
const SEED: u64 = 0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("name a folder of cats with captions")?;
    let file = arguments.next().unwrap_or_else(|| "docs/cat_prior.png".into());
    let engine = Engine::open("models/emoji")?;
    println!("{}", engine.runtime());
    let encoder = engine.encoder(false);
    let captioned = fit::captions::read(&folder)?;
    let cats = engine.with_networks(|networks| {
        fit::run(networks, &encoder, &captioned, PriorKind::Linear, SEED, &mut Observer::default())
    })?;
    println!("{:#?}", cats.card());
    let fitted = tempfile::tempdir()?;
    let fitted = fitted.path().join("cats.safetensors");
    cats.save(&fitted, false)?;
    let mut pictures = Vec::new();
    let mut diffusion: Vec<Tensor> = Vec::new();
    for (kind, fitted) in
        [(PriorKind::Diffusion, None), (PriorKind::Linear, Some(fitted)), (PriorKind::None, None)]
    {
        for (i, prompt) in PROMPTS.iter().enumerate() {
            let request = Request::text_to_image(*prompt).seed(SEED).prior(kind, fitted.clone());
            let mut outcome = engine.run_all(&request, &mut Observer::default())?;
            if kind == PriorKind::Diffusion {
                diffusion.push(outcome.image_embeds.clone());
            }
            let near = diffusion.get(i).map_or(1.0, |embed| cosine(&outcome.image_embeds, embed));
            println!("{prompt}, {kind}: cosine with diffusion's {near:.3}");
            pictures.append(&mut outcome.pictures);
        }
    }
    Picture::grid(&pictures, PROMPTS.len())?.replace(&file)?;
    println!("{}", file.display());
    Ok(())
}

/// The cosine between two embeddings.
fn cosine(a: &Tensor, b: &Tensor) -> f32 {
    (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()
}
