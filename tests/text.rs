//! Prompts to tokens: golden ids, limits, and text that looks like control tokens.

use kandinsky::internal::component::text::{ClipText, MultilingualText, clip, multilingual};
use kandinsky::internal::stage::encode::Encoder;
use kandinsky::internal::tensor::{rows, slice};
use kandinsky::internal::text::{Prompt, Reader, Tokenizers, Weighted};
use kandinsky::{Engine, Kind, RuntimeOptions, Tensor, Truncation};
use kandinsky_export::clip_tokenizer::{Special, Token};
use kandinsky_models::manifest::{
    ClipImage, Defaults, FORMAT, Latent, Precision, Source, Text, Tokenizer as Settings,
};
use kandinsky_models::{FileEntry, Folder, Manifest, hash};
use kandinsky_testing::model;
use kandinsky_testing::tokenizer::{Checked, check_full_vocabulary, check_tokenizers};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn reference() -> PathBuf {
    let named = std::env::var_os("KANDINSKY_REFERENCE").filter(|v| !v.is_empty());
    named.map_or_else(|| kandinsky_testing::root().join("tests/reference"), PathBuf::from)
}

/// A model folder that has tokenisers and nothing else.
struct TextFolder {
    folder: Folder,
    _keep: tempfile::TempDir,
}

impl TextFolder {
    fn new(multilingual: &Path) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let clip = clip_tokenizer(&tokenizer_folder("kandinsky-2-1-prior"));
        let multilingual = std::fs::read(multilingual).unwrap();
        let files = [("clip_tokenizer", clip), ("multilingual_tokenizer", multilingual)];
        let files = files.map(|(role, bytes)| (role.to_owned(), write(keep.path(), role, &bytes)));
        let manifest = serde_json::to_string(&manifest(BTreeMap::from(files))).unwrap();
        std::fs::write(keep.path().join("model.json"), manifest).unwrap();
        Self { folder: Folder::open(keep.path()).unwrap(), _keep: keep }
    }

    fn tiny() -> Self {
        Self::new(&tokenizer_folder("kandinsky-2-1").join("tokenizer.json"))
    }
}

fn write(folder: &Path, role: &str, bytes: &[u8]) -> FileEntry {
    let path = format!("{role}.json");
    std::fs::write(folder.join(&path), bytes).unwrap();
    FileEntry { path, bytes: bytes.len().try_into().unwrap(), sha256: hash::of_bytes(bytes) }
}

fn manifest(files: BTreeMap<String, FileEntry>) -> Manifest {
    let settings = |bos, eos, pad| Settings { bos, eos, pad, max_tokens: 77 };
    Manifest {
        format: FORMAT,
        family: "kandinsky-2.1".to_owned(),
        name: "text".to_owned(),
        precision: Precision::F32,
        target: kandinsky_models::manifest::Target::Portable,
        rewrites: vec![],
        source: Source { description: String::new(), licence: None, files: BTreeMap::new() },
        components: BTreeMap::new(),
        files,
        text: Text { clip: settings(49406, 49407, 49407), multilingual: settings(0, 2, 1) },
        clip_image: ClipImage { size: 224, mean: [0.5; 3], std: [0.5; 3] },
        latent: Latent { channels: 4, factor: 8, multiple: 8, embed: 24, unet_channels: 4 },
        schedulers: BTreeMap::new(),
        defaults: Defaults {
            steps: 10,
            guidance: 4.0,
            prior_steps: 5,
            prior_guidance: 4.0,
            width: 64,
            height: 64,
            sampler: "ddim".to_owned(),
        },
    }
}

/// `vocab.json` and `merges.txt` as one `tokenizer.json`, as the exporter writes it.
fn clip_tokenizer(folder: &Path) -> Vec<u8> {
    let token = |content: &str| Token { content: content.to_owned(), normalized: true };
    let [bos, eos] = ["<|startoftext|>", "<|endoftext|>"].map(token);
    let special = Special { bos, unknown: eos.clone(), pad: eos.clone(), eos };
    kandinsky_export::clip_tokenizer::build(folder, &special).unwrap().into_bytes()
}

/// The folder `tokenizer/` of a repository, in a checkpoint or in the configs that one is synthesised from.
fn tokenizer_folder(repository: &str) -> PathBuf {
    let places = ["checkpoint", "configs"].map(|place| reference().join(place).join(repository));
    places.into_iter().find(|place| place.is_dir()).unwrap().join("tokenizer")
}

static TINY: LazyLock<(TextFolder, Tokenizers)> = LazyLock::new(|| {
    let folder = TextFolder::tiny();
    let tokenizers = Tokenizers::open(&folder.folder).unwrap();
    (folder, tokenizers)
});

fn tiny() -> &'static Tokenizers {
    &TINY.1
}

#[test]
fn ids_are_the_reference_s() {
    let checked = check_tokenizers(&reference(), &TINY.0.folder);
    assert_eq!(checked, Checked { equal: 39, typed: 2, refused: 1 });
}

#[test]
#[ignore = "needs the full XLM-R vocabulary: KANDINSKY_XLMR=path/to/tokenizer.json"]
fn ids_of_the_full_vocabulary_are_the_reference_s() {
    let path = std::env::var_os("KANDINSKY_XLMR").expect("KANDINSKY_XLMR names a tokenizer.json");
    let folder = TextFolder::new(Path::new(&path));
    let start = std::time::Instant::now();
    Tokenizers::open(&folder.folder).unwrap();
    println!("opened in {:?}", start.elapsed());
    assert_eq!(
        check_full_vocabulary(&reference(), &folder.folder),
        Checked { equal: 39, typed: 2, refused: 1 }
    );
}

#[test]
fn control_tokens_typed_by_a_user_are_text() {
    for token in ["</s>", "<s>", "<pad>", "<unk>", "<mask>", "<|endoftext|>", "<|STARTOFTEXT|>"] {
        for prompt in
            [token.to_owned(), format!("a {token} cat"), format!("{token}{token}"), format!(" {token} ")]
        {
            let clip = tiny().clip(&prompt).unwrap().ids;
            let inner = &clip[1..clip.len() - 1];
            assert!(inner.len() >= 3 && inner.iter().all(|id| *id < 49406), "{prompt:?}: {clip:?}");
            let multilingual = tiny().multilingual(&prompt).unwrap().ids;
            let inner = &multilingual[1..multilingual.len() - 1];
            // 3 is the unknown piece: the tiny vocabulary lacks some characters. 3653 is the mask.
            assert!(inner.len() >= 2, "{prompt:?}: {multilingual:?}");
            assert!(inner.iter().all(|id| *id >= 3 && *id != 3653), "{prompt:?}: {multilingual:?}");
        }
    }
}

#[test]
fn the_empty_prompt_is_the_two_ends() {
    for prompt in ["", " ", "\n\t "] {
        assert_eq!(tiny().clip(prompt).unwrap().ids, [49406, 49407], "{prompt:?}");
    }
    assert_eq!(tiny().multilingual("").unwrap().ids, [0, 2]);
    assert_eq!(tiny().multilingual("").unwrap().truncated, None);
}

#[test]
fn what_does_not_fit_is_cut_and_said() {
    let words: Vec<String> = (0..75).map(|_| "cat".to_owned()).collect();
    let fits = tiny().clip(&words.join(" ")).unwrap();
    assert_eq!((fits.ids.len(), fits.truncated), (77, None));
    let long = format!("{} dog house", words.join(" "));
    let cut = tiny().clip(&long).unwrap();
    assert_eq!((cut.ids.len(), cut.ids.last()), (77, Some(&49407)));
    assert_eq!(cut.truncated.as_deref(), Some("dog house"));
    // A dog's face is several byte-level tokens: what is lost begins with the whole character.
    let emoji = "🐶".repeat(90);
    let cut = tiny().clip(&emoji).unwrap();
    assert!(emoji.ends_with(cut.truncated.as_deref().unwrap()));
}

#[test]
fn what_was_cut_is_data_and_a_sentence() {
    let long = "кот ".repeat(200);
    let cut = tiny().truncations(Prompt::Prompt, &long, false).unwrap();
    let readers = [(Reader::Prior, "the prior"), (Reader::Decoder, "the decoder")];
    assert_eq!(cut.len(), 2, "{cut:?}");
    for (cut, (reader, words)) in cut.iter().zip(readers) {
        assert_eq!((cut.prompt, cut.encoder, cut.limit), (Prompt::Prompt, reader, 77));
        assert!(long.ends_with(&cut.lost) && cut.lost.len() < long.len());
        let note = cut.to_string();
        let start = format!("the prompt is longer than 77 tokens; {words} does not see \"");
        assert!(note.starts_with(&start) && note.ends_with("…\"") && note.contains("кот кот"), "{note}");
    }
    assert_eq!(cut[0].tokens, tiny().clip(&long).unwrap().total);
    assert!(tiny().truncations(Prompt::Negative, "(cat", false).unwrap().is_empty());
    // 75 words are the room between both ends; the 76th is lost.
    let words = format!("{}dog", "cat ".repeat(75));
    let cut = tiny().truncations(Prompt::Negative, &words, false).unwrap();
    let json = serde_json::to_value(&cut[0]).unwrap();
    let expected = serde_json::json!({
        "prompt": "negative", "encoder": "prior", "tokens": 78, "limit": 77, "lost": "dog"
    });
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<Truncation>(json).unwrap(), cut[0]);
    assert!(cut[0].to_string().starts_with("the negative prompt is longer"));
    // The notation takes no room.
    let words = format!("(({}:1.2))dog", "cat ".repeat(75));
    let weighted = tiny().truncations(Prompt::Mix, &words, true).unwrap();
    assert_eq!((weighted[0].tokens, weighted[0].lost.as_str()), (78, "dog"));
}

#[test]
fn a_prompt_that_is_refused_is_named() {
    let refusal = |which, text, weighted| {
        let error = tiny().truncations(which, text, weighted).unwrap_err();
        assert_eq!(error.kind(), Kind::BadPrompt);
        error.to_string()
    };
    let nul = "the negative prompt has a NUL at byte 1, which is no text";
    assert_eq!(refusal(Prompt::Negative, "a\0", false), nul);
    assert_eq!(refusal(Prompt::Negative, "a\0", true), nul);
    let open = "the negative prompt opens a parenthesis at byte 2 and never closes it";
    assert_eq!(refusal(Prompt::Negative, "a (b", true), open);
    assert_eq!(
        refusal(Prompt::Prompt, "a)", true),
        "the prompt closes a parenthesis at byte 1 that is not open"
    );
    assert_eq!(
        refusal(Prompt::Prompt, "(a:3)", true),
        "the prompt has the weight 3 at byte 3; the limit is 0 to 2"
    );
}

#[test]
fn prompts_over_the_limit_or_with_a_nul_are_refused() {
    let at_limit = "ю".repeat(2048);
    assert_eq!(at_limit.len(), 4096);
    assert_eq!(tiny().multilingual(&at_limit).unwrap().ids.len(), 77);
    tiny().clip(&at_limit).unwrap();
    for encode in [Tokenizers::clip, Tokenizers::multilingual] {
        let error = encode(tiny(), &format!("{at_limit}a")).unwrap_err();
        assert_eq!(error.kind(), Kind::BadPrompt);
        assert_eq!(error.to_string(), "the prompt has 4097 bytes; the limit is 4096");
        let error = encode(tiny(), "кот\0").unwrap_err();
        assert_eq!(error.kind(), Kind::BadPrompt);
        assert_eq!(error.to_string(), "the prompt has a NUL at byte 6, which is no text");
    }
}

#[test]
fn a_damaged_tokenizer_is_refused_by_name() {
    let text = TextFolder::tiny();
    let path = text.folder.root().join("clip_tokenizer.json");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Tokenizers::open(&text.folder).unwrap_err();
    assert_eq!(error.kind(), Kind::BadModel);
    assert!(error.to_string().contains("clip_tokenizer.json"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(Tokenizers::open(&text.folder).is_err());
}

#[test]
fn a_tokenizer_without_the_manifest_s_tokens_is_refused() {
    let text = TextFolder::tiny();
    let root = text.folder.root();
    let mut manifest = text.folder.manifest().clone();
    manifest.text.clip.eos = 60_000;
    std::fs::write(root.join("model.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    let error = Tokenizers::open(&Folder::open(root).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::BadModel);
    assert!(error.to_string().contains("60000"), "{error}");
}

/// The tiny checkpoint on both runtimes.
static ENGINES: LazyLock<[Engine; 2]> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap().keep();
    model::export(&reference(), &folder.join("model"));
    let engines = ["ort", "tract"].map(|runtime| {
        let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
        let engine = Engine::open_with(folder.join("model"), &options).unwrap();
        // Every graph is open before the folder goes.
        let opened = engine.with_networks(|networks| {
            use kandinsky_models::Component::{MultilingualEncoder, PriorPrefix, TextEncoder};
            [TextEncoder, MultilingualEncoder, PriorPrefix].into_iter().try_for_each(|c| networks.open(c))
        });
        opened.unwrap();
        engine
    });
    std::fs::remove_dir_all(folder).unwrap();
    engines
});

/// Both encoders' states of prompts in one call.
fn encoded(engine: &Engine, prompts: &[Weighted]) -> (ClipText, MultilingualText) {
    let tokenizers = engine.tokenizers();
    let first: Vec<_> = prompts.iter().map(|p| tokenizers.clip_weighted(p).unwrap()).collect();
    let second: Vec<_> = prompts.iter().map(|p| tokenizers.multilingual_weighted(p).unwrap()).collect();
    engine.with_networks(|networks| Ok((clip(networks, &first)?, multilingual(networks, &second)?))).unwrap()
}

fn plain_and_weighted(engine: &Engine, prompt: &str) -> [(ClipText, MultilingualText); 2] {
    let weighted = Weighted::parse(prompt).unwrap();
    let plain = Weighted::plain(weighted.text());
    [encoded(engine, &[plain]), encoded(engine, &[weighted])]
}

/// What each state was multiplied by, from its largest number.
fn factors(plain: &Tensor, weighted: &Tensor) -> Vec<f32> {
    let states = plain.axis_iter(ndarray::Axis(1)).zip(weighted.axis_iter(ndarray::Axis(1)));
    let factor = |(plain, weighted): (ndarray::ArrayViewD<'_, f32>, ndarray::ArrayViewD<'_, f32>)| {
        let largest = plain.iter().zip(&weighted).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs())).unwrap();
        let factor = largest.1 / largest.0;
        let worst = plain.iter().zip(&weighted).map(|(p, w)| (p * factor - w).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-6 * largest.0.abs().max(1.0), "a state was not scaled as a whole: {worst}");
        factor
    };
    states.map(factor).collect()
}

fn assert_close(found: f32, expected: f32) {
    assert!((found - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} is not {expected}");
}

/// Each token's state is scaled by its weight and all of a row by one factor, which keeps the mean.
fn check_states(plain: &Tensor, weighted: &Tensor, weights: &[f32], seen: usize) {
    let (plain, weighted) = (slice(plain, 1, 0, seen).unwrap(), slice(weighted, 1, 0, seen).unwrap());
    let factors = factors(&plain, &weighted);
    let common = factors[0];
    for (index, factor) in factors.iter().enumerate() {
        assert_close(factor / common, weights.get(index).copied().unwrap_or(1.0));
    }
    let sum = |t: &Tensor, f: fn(f64) -> f64| t.iter().map(|x| f(f64::from(*x))).sum::<f64>();
    let before_factor = sum(&weighted, |x| x) / f64::from(common);
    let by_mean = sum(&plain, |x| x) / before_factor;
    println!("common factor {common}, by the mean {by_mean}");
    let kept: fn(f64) -> f64 = if (0.5..=2.0).contains(&by_mean) { |x| x } else { f64::abs };
    let (before, after) = (sum(&plain, kept), sum(&weighted, kept));
    assert!((before - after).abs() <= 1e-4 * before.abs().max(1.0), "{before} became {after}");
}

#[test]
fn weights_move_the_states_of_their_own_tokens() {
    for engine in ENGINES.iter() {
        // Lengths about 8, 16, 32 and the whole room.
        for tail in [0, 4, 12, 27, 71, 72, 73, 90] {
            let prompt = format!("a (red (cat:1.5):1.25), blue (dog:0.5){}", " cat".repeat(tail));
            let [plain, weighted] = plain_and_weighted(engine, &prompt);
            let parsed = Weighted::parse(&prompt).unwrap();
            let first = engine.tokenizers().clip_weighted(&parsed).unwrap();
            let ids = engine.tokenizers().clip(parsed.text()).unwrap().ids;
            assert_eq!((&first.ids, first.ids.len()), (&ids, (ids.len()).min(77)));
            let weights = first.weights.unwrap();
            assert_eq!(weights.len(), ids.len());
            assert_eq!(weights[..8], [1.0, 1.0, 1.25, 1.875, 1.0, 1.0, 0.5, 1.0], "{tail}");
            check_states(&plain.0.hidden, &weighted.0.hidden, &weights, ids.len());
            let second = engine.tokenizers().multilingual_weighted(&parsed).unwrap();
            let weights = second.weights.unwrap();
            assert!([1.25, 1.875, 0.5].iter().all(|weight| weights.contains(weight)), "{weights:?}");
            check_states(&plain.1.hidden, &weighted.1.hidden, &weights, 77);
            assert_eq!(plain.0.pooled, weighted.0.pooled);
            assert_eq!(plain.1.pooled, weighted.1.pooled);
            assert_eq!(plain.0.mask, weighted.0.mask);
        }
    }
}

#[test]
fn weights_of_a_prompt_are_its_own_whatever_it_is_padded_to() {
    let prompts = ["a (red:1.5) cat", "(a:0) (cat:1.2) and a dog and a (house:0.3) in a forest"];
    let prompts = prompts.map(|prompt| Weighted::parse(prompt).unwrap());
    for engine in ENGINES.iter() {
        let (together, _) = encoded(engine, &prompts);
        for (row, prompt) in prompts.iter().enumerate() {
            let (alone, _) = encoded(engine, std::slice::from_ref(prompt));
            let real = engine.tokenizers().clip(prompt.text()).unwrap().ids.len();
            let seen = |t: &Tensor, row| slice(&rows(t, row, row + 1).unwrap(), 1, 0, real).unwrap();
            let (ours, own) = (seen(&together.hidden, row), seen(&alone.hidden, 0));
            let worst = (&ours - &own).iter().map(|x| x.abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst}");
        }
    }
}

#[test]
fn weights_of_1_change_no_bit_of_either_reader() {
    for engine in ENGINES.iter() {
        let encoder =
            |weighted| Encoder { tokenizers: engine.tokenizers(), constants: engine.constants(), weighted };
        let read = |weighted, prompt: &str| {
            let read = |networks: &mut kandinsky::internal::component::Networks| {
                let encoder = encoder(weighted);
                Ok((encoder.prior_text(networks, &[prompt])?, encoder.unet_text(networks, &[prompt])?))
            };
            let (prior, unet) = engine.with_networks(read).unwrap();
            [prior.k, prior.v, prior.mask, unet.hidden, unet.pooled]
        };
        for (notation, text) in [
            ("a cat", "a cat"),
            ("a (cat:1) \\(b\\)", "a cat (b)"),
            ("((a:0.5):2) ((cat:0.5):2)", "a cat"),
            ("(:1.5)", ""),
        ] {
            assert_eq!(read(true, notation), read(false, text), "{notation}");
        }
        // Off, the notation is text.
        assert_ne!(read(false, "a (cat:1)"), read(false, "a cat"));
        let moved = read(true, "a (cat:1.5)");
        let plain = read(false, "a cat");
        for (index, (moved, plain)) in moved.iter().zip(&plain).enumerate() {
            let same = [2, 4].contains(&index); // the mask and the pooled state
            assert_eq!(moved == plain, same, "{index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any text becomes tokens with both ends, no control token between them, and a true account of the rest.
    #[test]
    fn any_text_becomes_tokens(prompt in "\\PC{0,300}|[\u{1}-\u{10ffff}]{0,200}") {
        for (tokens, ends, top) in [
            (tiny().clip(&prompt), (49406, 49407), 49406),
            (tiny().multilingual(&prompt), (0, 2), 3653),
        ] {
            let tokens = tokens.unwrap();
            let [first, inner @ .., last] = tokens.ids.as_slice() else { panic!("{:?}", tokens.ids) };
            prop_assert_eq!((*first, *last), ends);
            prop_assert!(inner.len() <= 75 && inner.iter().all(|id| *id < top));
            prop_assert!(prompt.ends_with(tokens.truncated.as_deref().unwrap_or_default()));
        }
    }

    /// No text makes the parser fail otherwise than by a refusal that names a byte within it.
    #[test]
    fn any_notation_is_read_or_refused(prompt in "[()\\\\:0-9.a я+-]{0,60}|\\PC{0,100}") {
        match Weighted::parse(&prompt) {
            Ok(parsed) => {
                prop_assert!(parsed.text().len() <= prompt.len());
                let mut end = 0;
                for (bytes, weight) in parsed.parts() {
                    prop_assert!(bytes.start == end && bytes.end > end && (0.0..=2.0).contains(&weight));
                    prop_assert!(parsed.text().get(bytes.clone()).is_some());
                    end = bytes.end;
                }
                prop_assert_eq!(end, parsed.text().len());
                for tokens in [tiny().clip_weighted(&parsed), tiny().multilingual_weighted(&parsed)] {
                    let tokens = tokens.unwrap();
                    let weights = tokens.weights.unwrap_or_else(|| vec![1.0; tokens.ids.len()]);
                    prop_assert_eq!(weights.len(), tokens.ids.len());
                    prop_assert_eq!((weights[0], weights.last()), (1.0, Some(&1.0)));
                }
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), Kind::BadPrompt);
                let message = error.to_string();
                let (_, place) = message.split_once("byte ").unwrap();
                let place: String = place.chars().take_while(char::is_ascii_digit).collect();
                prop_assert!(place.parse::<usize>().unwrap() <= prompt.len(), "{}", message);
            }
        }
    }

    /// What has no character of the notation is itself at weight 1; escaping makes that of every text.
    #[test]
    fn text_is_itself(prompt in "\\PC{0,200}") {
        let special = |c: char| matches!(c, '(' | ')' | '\\');
        let without: String = prompt.chars().filter(|c| !special(*c)).collect();
        prop_assert_eq!(Weighted::parse(&without).unwrap(), Weighted::plain(&without));
        let escape = |c: char| if special(c) { format!("\\{c}") } else { c.to_string() };
        let escaped: String = prompt.chars().map(escape).collect();
        prop_assert_eq!(Weighted::parse(&escaped).unwrap(), Weighted::plain(&prompt));
        let ids = tiny().clip(&without).unwrap();
        prop_assert_eq!(tiny().clip_weighted(&Weighted::parse(&without).unwrap()).unwrap(), ids);
    }
}
