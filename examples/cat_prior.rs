//! The paper's "cat prior" in small (section 6, Figure 5): a linear prior fitted on pictures of cats alone
//! draws things that are no cats.
//!
//! The paper did it with 500 pictures and a CLIP that has seen hundreds of millions. Here it is 465 pictures and
//! a CLIP that has seen emoji alone: the linear prior keeps faces and grounds, and of other things a colour at
//! most.
//!
//! Draws each prompt three times from the same noise: with the model's diffusion prior (upper row), with the
//! linear prior fitted on the folder (middle), and with no prior at all (lower).
//!
//! `python3 benches/cat_pictures.py emoji128.zip cats`
//!
//! `cargo run --release --example cat_prior -- cats docs/cat_prior.png`

use kandinsky::component::Networks;
use kandinsky::component::text::MultilingualText;
use kandinsky::component::unet::Which;
use kandinsky::guidance::Guidance;
use kandinsky::image::Picture;
use kandinsky::priors::PriorKind;
use kandinsky::progress::Watch;
use kandinsky::sampler::{self, Noise, Role};
use kandinsky::stage::decode::{self, Place};
use kandinsky::stage::denoise::{self, Condition, DenoiseRun, Known};
use kandinsky::stage::encode::Encoder;
use kandinsky::stage::fitted_prior;
use kandinsky::stage::noise::PictureNoise;
use kandinsky::stage::prior::{self, PriorRun, PriorText};
use kandinsky::tensor::{Tensor, concat};
use kandinsky::{Engine, Result, Size, fit};
use std::path::PathBuf;

/// What the sheet shows, from left to right.
const PROMPTS: [&str; 4] = ["cat face", "red apple", "синее сердце на жёлтом фоне", "дом на зелёном фоне"];
/// The seed of every picture.
const SEED: u64 = 0;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("name a folder of cats with captions")?;
    let file = arguments.next().unwrap_or_else(|| "docs/cat_prior.png".into());
    let engine = Engine::open("models/emoji")?;
    println!("{}", engine.runtime());
    let encoder = Encoder { tokenizers: engine.tokenizers(), constants: engine.constants() };
    let pictures = engine.with_networks(|networks| {
        let cats = fit::run(networks, &encoder, &folder, PriorKind::Linear, SEED, &mut Watch::default())?;
        println!("{:#?}", cats.card());
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        for prompt in PROMPTS {
            let embeds = [
                diffusion(networks, &encoder, prompt, &mut PictureNoise::new(SEED, 1))?,
                fitted_prior::embeds(networks, &encoder, &cats, &[prompt])?,
                fitted_prior::text_embeds(networks, &encoder, &[prompt])?,
            ];
            for ((row, embed), name) in rows.iter_mut().zip(&embeds).zip(["diffusion", "cats", "none"]) {
                println!("{prompt}, {name}: cosine with diffusion's {:.3}", cosine(embed, &embeds[0]));
                row.push(draw(networks, &encoder, prompt, embed)?);
            }
        }
        Ok(rows.concat())
    })?;
    Picture::grid(&pictures, PROMPTS.len())?.replace(&file)?;
    println!("{}", file.display());
    Ok(())
}

/// The image embedding f32\[1,D\] that the diffusion prior draws from the picture's noise.
fn diffusion(
    networks: &mut Networks,
    encoder: &Encoder<'_>,
    prompt: &str,
    noise: &mut PictureNoise,
) -> Result<Tensor> {
    let text = PriorText {
        prompts: encoder.prior_text(networks, &[prompt])?,
        unconditional: encoder.prior_text(networks, &[""])?,
    };
    let manifest = networks.folder().manifest();
    let sampler = sampler::build("unclip", &manifest.schedulers, Role::Prior, manifest.defaults.prior_steps)?;
    let guidance = Guidance::new(manifest.defaults.prior_guidance);
    let run = PriorRun { sampler: sampler.as_ref(), guidance, noise: &mut noise.part(0, 1), start: None };
    prior::sample(networks, &text, encoder.constants, run, &mut Watch::default())
}

/// The picture of a prompt and an image embedding, by the model's defaults. The diffusion prior draws its noise
/// first, whatever the embedding, so that the decoder's is that of a request with this seed.
fn draw(networks: &mut Networks, encoder: &Encoder<'_>, prompt: &str, embed: &Tensor) -> Result<Picture> {
    let manifest = networks.folder().manifest().clone();
    let (defaults, latent) = (&manifest.defaults, &manifest.latent);
    let text = MultilingualText::concat(&[
        encoder.unet_text(networks, &[""])?,
        encoder.unet_text(networks, &[prompt])?,
    ])?;
    let nothing = fitted_prior::negative_embed(networks, encoder, None, None)?;
    let condition = Condition { text, image: concat(&[nothing, embed.clone()], 0)? };
    let sampler = sampler::build(&defaults.sampler, &manifest.schedulers, Role::Decoder, defaults.steps)?;
    let (height, width) = (defaults.height / latent.factor, defaults.width / latent.factor);
    let mut noise = PictureNoise::new(SEED, 1);
    diffusion(networks, encoder, prompt, &mut noise)?;
    let mut noise = noise.part(0, 1);
    let run = DenoiseRun {
        sampler: sampler.as_ref(),
        guidance: Guidance::new(defaults.guidance),
        start: noise.draw(&[1, latent.channels, height, width])? * sampler.init_sigma(),
        noise: &mut noise,
        unet: Which::Draw,
        known: (latent.unet_channels != latent.channels)
            .then(|| Known::nothing(1, height, width, latent.channels)),
    };
    let latents = denoise::sample(networks, condition, run, &mut Watch::default())?;
    let size = Size { width: defaults.width, height: defaults.height };
    let place = Place { done: 0, total: 1 };
    let mut pictures = decode::pictures(networks, &latents, size, &mut Watch::default(), place)?;
    pictures.pop().ok_or_else(|| kandinsky::Error::new(kandinsky::Kind::Internal, "no picture came out"))
}

/// The cosine between two embeddings.
fn cosine(a: &Tensor, b: &Tensor) -> f32 {
    (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()
}
