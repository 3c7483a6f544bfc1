//! Draws 40 everyday words with the bundled model, nothing chosen, and lets the model's own CLIP read them back.
//!
//! `cargo run --release --example words -- docs/words.png` draws the sheet of `docs/words.md`: ten words a row, English
//! above Russian, every picture with seed 1, as `kandinsky generate WORD --seed 1` draws it.
//!
//! `cargo run --release --example words -- --study benches/results/words.md` compares settings of the prior by how many
//! words are read back, over seeds 1 to 4.

use kandinsky::internal::component::{image_encoder, text};
use kandinsky::internal::image::clip;
use kandinsky::internal::tensor::{concat, rows};
use kandinsky::internal::text::Weighted;
use kandinsky::{Engine, Observer, Picture, Request, Tensor};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// The words in English and in Russian.
const WORDS: [(&str, &str); 40] = [
    ("cat", "кошка"),
    ("dog", "собака"),
    ("fox", "лиса"),
    ("bear", "медведь"),
    ("lion", "лев"),
    ("frog", "лягушка"),
    ("pig", "свинья"),
    ("rabbit", "кролик"),
    ("owl", "сова"),
    ("penguin", "пингвин"),
    ("fish", "рыба"),
    ("whale", "кит"),
    ("butterfly", "бабочка"),
    ("bee", "пчела"),
    ("flower", "цветок"),
    ("rose", "роза"),
    ("tree", "дерево"),
    ("mushroom", "гриб"),
    ("apple", "яблоко"),
    ("banana", "банан"),
    ("strawberry", "клубника"),
    ("pizza", "пицца"),
    ("cake", "торт"),
    ("ice cream", "мороженое"),
    ("coffee", "кофе"),
    ("house", "дом"),
    ("car", "автомобиль"),
    ("bus", "автобус"),
    ("rocket", "ракета"),
    ("airplane", "самолёт"),
    ("ship", "корабль"),
    ("bicycle", "велосипед"),
    ("sun", "солнце"),
    ("moon", "луна"),
    ("star", "звезда"),
    ("cloud", "облако"),
    ("fire", "огонь"),
    ("heart", "сердце"),
    ("crown", "корона"),
    ("umbrella", "зонт"),
];
/// Pictures a row of the sheet, and of a request.
const COLUMNS: usize = 10;
/// The seed of every picture of the sheet.
const SEED: u64 = 1;
/// Seeds of the study.
const SEEDS: [u64; 4] = [1, 2, 3, 4];
/// Seeds that the settings which did best are tried on again.
const HELD_OUT: [u64; 4] = [5, 6, 7, 8];
/// The settings that did best, and the one before them.
const FINALISTS: &[Setting] =
    &[("unclip", 10, 4.0), ("unclip", 3, 4.0), ("unclip", 5, 4.0), ("unclip", 5, 6.0)];
/// A setting of the prior: sampler, steps, guidance.
type Setting = (&'static str, usize, f64);
/// Settings of the prior that the study compares.
const SETTINGS: &[Setting] = &[
    ("unclip", 2, 4.0),
    ("unclip", 3, 4.0),
    ("unclip", 5, 4.0),
    ("unclip", 10, 4.0),
    ("unclip", 16, 4.0),
    ("unclip", 25, 4.0),
    ("unclip", 50, 4.0),
    ("unclip", 5, 1.0),
    ("unclip", 5, 2.0),
    ("unclip", 5, 3.0),
    ("unclip", 5, 6.0),
    ("unclip", 5, 8.0),
    ("unclip", 10, 2.0),
    ("unclip", 10, 3.0),
    ("unclip", 10, 6.0),
    ("unclip", 25, 1.0),
    ("unclip", 25, 2.0),
    ("unclip", 25, 8.0),
    ("ddim", 5, 4.0),
    ("ddim", 10, 4.0),
    ("ddim", 25, 4.0),
    ("euler", 5, 4.0),
    ("euler", 10, 4.0),
    ("dpmpp_2m", 10, 4.0),
    ("unipc", 10, 4.0),
];

fn main() -> Anything<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let first = arguments.next().unwrap_or_else(|| "docs/words.png".into());
    let engine = Engine::open("models/emoji")?;
    println!("{}", engine.runtime());
    let reader = Reader::new(&engine)?;
    if first == Path::new("--study") {
        let file = arguments.next().unwrap_or_else(|| "benches/results/words.md".into());
        std::fs::write(&file, study(&engine, &reader)?)?;
        println!("{}", file.display());
        return Ok(());
    }
    sheet(&engine, &reader, &first)
}

/// The sheet, and what is read back of it.
fn sheet(engine: &Engine, reader: &Reader<'_>, file: &Path) -> Anything<()> {
    let plain = |request| request;
    let drawn = [draw(engine, english, SEED, plain)?, draw(engine, russian, SEED, plain)?];
    let [above, below] = &drawn;
    let rows = above.chunks(COLUMNS).zip(below.chunks(COLUMNS));
    let pictures: Vec<Picture> = rows.flat_map(|(a, b)| [a, b].concat()).collect();
    Picture::grid(&pictures, COLUMNS)?.replace(file)?;
    for (language, pictures) in ["English", "Russian"].into_iter().zip(&drawn) {
        let missed = reader.missed(pictures)?;
        let right = WORDS.len() - missed.len();
        println!("{language}: {right} of {} read back; missed: {}", WORDS.len(), missed.join(", "));
    }
    println!("{}", file.display());
    Ok(())
}

fn english(word: &(&'static str, &'static str)) -> &'static str {
    word.0
}

fn russian(word: &(&'static str, &'static str)) -> &'static str {
    word.1
}

/// A picture of every word in one language, each from the same seed.
fn draw(
    engine: &Engine,
    language: fn(&(&'static str, &'static str)) -> &'static str,
    seed: u64,
    settings: impl Fn(Request) -> Request,
) -> Anything<Vec<Picture>> {
    let mut pictures = Vec::with_capacity(WORDS.len());
    for words in WORDS.chunks(COLUMNS) {
        let request = Request::default().prompts(words.iter().map(language)).seeds(vec![seed; words.len()]);
        pictures.append(&mut engine.run_all(&settings(request), &mut Observer::default())?.pictures);
    }
    Ok(pictures)
}

/// The model's own CLIP, which tells the nearest English word of a picture.
struct Reader<'a> {
    engine: &'a Engine,
    /// Normalised text embeddings f32\[40,D\] of the English words.
    words: Tensor,
}

impl<'a> Reader<'a> {
    fn new(engine: &'a Engine) -> Anything<Self> {
        let tokens =
            WORDS.iter().map(|word| engine.tokenizers().clip_weighted(&Weighted::plain(english(word))));
        let tokens = tokens.collect::<kandinsky::Result<Vec<_>>>()?;
        let embeds = engine.with_networks(|networks| {
            tokens
                .iter()
                .map(|tokens| Ok(text::clip(networks, std::slice::from_ref(tokens))?.pooled))
                .collect()
        });
        let embeds: Vec<Tensor> = embeds?;
        Ok(Self { engine, words: concat(&embeds, 0)? })
    }

    /// The words whose pictures, in the order of [`WORDS`], are nearest to another word.
    fn missed(&self, pictures: &[Picture]) -> Anything<Vec<&'static str>> {
        let settings = &self.engine.manifest().clip_image;
        let mut missed = Vec::new();
        for (at, (picture, word)) in pictures.iter().zip(WORDS).enumerate() {
            let pixels = clip::prepare(picture, settings)?;
            let embed = self.engine.with_networks(|networks| image_encoder::encode(networks, &pixels))?;
            if self.nearest(&embed)? != at {
                missed.push(word.0);
            }
        }
        Ok(missed)
    }

    /// The place of the word whose embedding has the largest cosine with an image embedding f32\[1,D\].
    fn nearest(&self, embed: &Tensor) -> Anything<usize> {
        let mut best = (0, f32::MIN);
        for at in 0..WORDS.len() {
            let word = rows(&self.words, at, at + 1)?;
            let cosine = (&word * embed).sum() / (&word * &word).sum().sqrt();
            if cosine > best.1 {
                best = (at, cosine);
            }
        }
        Ok(best.0)
    }
}

/// How many words are read back at each setting of the prior, as tables.
fn study(engine: &Engine, reader: &Reader<'_>) -> Anything<String> {
    let total = WORDS.len() * SEEDS.len();
    let defaults = &engine.manifest().defaults;
    let mut text = String::from("# Settings of the prior, by the words that are read back\n\n");
    writeln!(
        text,
        "`cargo run --release --example words -- --study benches/results/words.md`, {}.\n",
        engine.runtime()
    )?;
    writeln!(
        text,
        "The bundled model draws 40 words ([docs/words.md](../../docs/words.md)) in English and in Russian, {} steps of \
         {}, guidance {}; its own CLIP says which of the 40 English words each picture is nearest to. Right of {total} a \
         language, seeds {SEEDS:?}:\n",
        defaults.steps, defaults.sampler, defaults.guidance
    )?;
    table(engine, reader, (SETTINGS, SEEDS), &mut text)?;
    writeln!(text, "\nThe best again, on seeds {HELD_OUT:?}:\n")?;
    table(engine, reader, (FINALISTS, HELD_OUT), &mut text)?;
    Ok(text)
}

fn table(
    engine: &Engine,
    reader: &Reader<'_>,
    (settings, seeds): (&[Setting], [u64; 4]),
    text: &mut String,
) -> Anything<()> {
    text.push_str(
        "| sampler | steps | guidance | English | Russian | both |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (sampler, steps, guidance) in settings {
        let set =
            |request: Request| request.prior_sampler(*sampler).prior_steps(*steps).prior_guidance(*guidance);
        let mut right = [0, 0];
        for (right, language) in right.iter_mut().zip([english, russian]) {
            for seed in seeds {
                *right += WORDS.len() - reader.missed(&draw(engine, language, seed, set)?)?.len();
            }
        }
        let [en, ru] = right;
        println!("{sampler} {steps} {guidance}: {en} {ru}");
        writeln!(text, "| {sampler} | {steps} | {guidance} | {en} | {ru} | {} |", en + ru)?;
    }
    Ok(())
}
