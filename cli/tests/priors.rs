//! Fitted priors: what they learn, what their files keep, and what is refused by name.

use kandinsky::internal::fit;
use kandinsky::internal::priors::{FittedPrior, Pairs, Plan, fingerprint};
use kandinsky::internal::rng::{Normals, TorchCpu};
use kandinsky::internal::stage::encode::Encoder;
use kandinsky::internal::stage::fitted_prior;
use kandinsky::internal::tensor::rows;
use kandinsky::{
    CancelToken, Engine, Error, Kind, Observer, Part, Picture, PriorKind, Progress, Request, RuntimeOptions,
    Size, Stage, Tensor,
};
use kandinsky_testing::EMOJI;
use kandinsky_testing::RUNTIMES;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

const FITTED: [PriorKind; 2] = [PriorKind::Linear, PriorKind::Residual];
const WIDTH: usize = 16;

// ---- What they learn ----

/// Rows of noise, and their images under `map` with a little noise.
fn synthetic(rows: usize, seed: u64, map: impl Fn(&Tensor) -> Tensor) -> Pairs {
    let mut random = TorchCpu::new(seed);
    let text = random.normal(&[rows, WIDTH]).unwrap();
    let image = map(&text) + random.normal(&[rows, WIDTH]).unwrap() * 0.05;
    Pairs { text: text * 3.0 + 1.0, image }
}

fn matrix(seed: u64) -> ndarray::Array2<f32> {
    TorchCpu::new(seed).normal(&[WIDTH, WIDTH]).unwrap().into_dimensionality().unwrap()
}

fn through(x: &Tensor, matrix: &ndarray::Array2<f32>) -> ndarray::Array2<f32> {
    x.clone().into_dimensionality::<ndarray::Ix2>().unwrap().dot(matrix)
}

fn linear_pairs(rows: usize, seed: u64) -> Pairs {
    synthetic(rows, seed, |x| (through(x, &matrix(1)) * 0.2 + 0.7).into_dyn())
}

fn bent_pairs(rows: usize, seed: u64) -> Pairs {
    synthetic(rows, seed, |x| through(x, &matrix(1)).mapv(f32::abs).into_dyn())
}

fn plan(kind: PriorKind) -> Plan {
    Plan { kind, clip: "0123456789abcdef".to_owned(), pictures: 100, seed: 5 }
}

fn fitted(kind: PriorKind, pairs: fn(usize, u64) -> Pairs) -> FittedPrior {
    FittedPrior::fit(plan(kind), &pairs(400, 2), &pairs(100, 3), &mut |_, _| Ok(())).unwrap()
}

#[test]
fn both_kinds_learn_a_linear_map_and_residual_blocks_learn_a_bent_one() {
    for kind in FITTED {
        let held_out = fitted(kind, linear_pairs).card().held_out;
        assert!(held_out.error < 0.05 * held_out.mean_error, "{kind}: {held_out:?}");
        assert!(held_out.cosine > 0.97 && held_out.cosine > held_out.mean_cosine, "{kind}: {held_out:?}");
    }
    let [linear, residual] = FITTED.map(|kind| fitted(kind, bent_pairs).card().held_out);
    assert!(linear.error > 0.9 * linear.mean_error, "{linear:?}");
    assert!(residual.error < 0.7 * residual.mean_error, "{residual:?}");
}

#[test]
fn errors_on_the_card_are_those_of_the_pairs_held_out() {
    for kind in FITTED {
        let held_out = bent_pairs(100, 3);
        let prior = fitted(kind, bent_pairs);
        let train = bent_pairs(400, 2).image.mapv(f64::from);
        let mean = train.mean_axis(ndarray::Axis(0)).unwrap();
        let std = train.std_axis(ndarray::Axis(0), 0.0);
        let answers = prior.image_embeds(&held_out.text).unwrap();
        let difference = (answers.mapv(f64::from) - held_out.image.mapv(f64::from)) / &std;
        let error = difference.mapv(|x| x * x).mean().unwrap();
        assert!((error - prior.card().held_out.error).abs() < 1e-5, "{kind}: {error}");
        let difference = (held_out.image.mapv(f64::from) - mean) / &std;
        let error = difference.mapv(|x| x * x).mean().unwrap();
        assert!((error - prior.card().held_out.mean_error).abs() < 1e-5, "{kind}: {error}");
        assert_eq!(prior.card().held_out.pairs, 100);
        assert_eq!(prior.card().pairs, 400);
    }
}

#[test]
fn a_column_that_never_changes_is_kept_and_rows_do_not_touch_each_other() {
    for kind in FITTED {
        let constant = |rows, seed| {
            let mut pairs = linear_pairs(rows, seed);
            pairs.text.column_mut_(0).fill(2.0);
            pairs.image.column_mut_(0).fill(-3.0);
            pairs
        };
        let prior =
            FittedPrior::fit(plan(kind), &constant(60, 2), &constant(20, 3), &mut |_, _| Ok(())).unwrap();
        let text = constant(5, 9).text;
        let together = prior.image_embeds(&text).unwrap();
        assert!(together.index_axis(ndarray::Axis(1), 0).iter().all(|x| (x + 3.0).abs() < 0.05), "{kind}");
        for row in 0..5 {
            let alone = prior.image_embeds(&rows(&text, row, row + 1).unwrap()).unwrap();
            assert_eq!(alone, rows(&together, row, row + 1).unwrap(), "{kind}");
        }
    }
}

trait Column {
    fn column_mut_(&mut self, at: usize) -> ndarray::ArrayViewMutD<'_, f32>;
}

impl Column for Tensor {
    fn column_mut_(&mut self, at: usize) -> ndarray::ArrayViewMutD<'_, f32> {
        self.index_axis_mut(ndarray::Axis(1), at)
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (train, held_out) = (linear_pairs(20, 2), linear_pairs(5, 3));
    let refused = |kind, train: &Pairs, held_out: &Pairs| {
        FittedPrior::fit(plan(kind), train, held_out, &mut |_, _| Ok(())).unwrap_err()
    };
    for kind in [PriorKind::Diffusion, PriorKind::None] {
        said(&refused(kind, &train, &held_out), Kind::BadRequest, &[kind.name(), "not fitted"]);
    }
    for number in [f32::NAN, f32::INFINITY] {
        let mut broken = train.clone();
        broken.image[[3, 3]] = number;
        said(&refused(PriorKind::Linear, &broken, &held_out), Kind::RuntimeFault, &["not finite"]);
        said(&refused(PriorKind::Linear, &train, &broken), Kind::RuntimeFault, &["not finite"]);
    }
    let other = Pairs { text: train.text.clone(), image: rows(&train.image, 0, 3).unwrap() };
    said(&refused(PriorKind::Linear, &other, &held_out), Kind::Internal, &["[20, 16]", "[3, 16]"]);
    let cancelled = |_, _| Err(Error::new(Kind::Cancelled, "enough"));
    for kind in FITTED {
        let error = FittedPrior::fit(plan(kind), &train, &held_out, &mut { cancelled }).unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled);
    }
    let prior = fitted(PriorKind::Linear, linear_pairs);
    let narrow = TorchCpu::new(0).normal(&[2, 7]).unwrap();
    said(&prior.image_embeds(&narrow).unwrap_err(), Kind::Internal, &["7 numbers", "16"]);
}

fn said(error: &Error, kind: Kind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
}

// ---- Their files ----

#[test]
fn the_same_fit_gives_the_same_bytes_and_files_keep_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    for kind in FITTED {
        let prior = fitted(kind, bent_pairs);
        let bytes = prior.to_bytes().unwrap();
        assert_eq!(bytes, fitted(kind, bent_pairs).to_bytes().unwrap());
        let path = folder.path().join("prior.safetensors");
        prior.save(&path, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(prior.save(&path, false).unwrap_err().kind(), Kind::Exists);
        let again = FittedPrior::open(&path).unwrap();
        assert_eq!(again, prior);
        assert_eq!(again.to_bytes().unwrap(), bytes);
        let text = bent_pairs(7, 8).text;
        assert_eq!(again.image_embeds(&text).unwrap(), prior.image_embeds(&text).unwrap());
        safetensors::SafeTensors::deserialize(&bytes).unwrap();
    }
    let other = Plan { seed: 6, ..plan(PriorKind::Residual) };
    let other = FittedPrior::fit(other, &bent_pairs(400, 2), &bent_pairs(100, 3), &mut |_, _| Ok(()));
    assert_ne!(
        other.unwrap().to_bytes().unwrap(),
        fitted(PriorKind::Residual, bent_pairs).to_bytes().unwrap()
    );
}

/// No library and no processor has a say in a fit; a change of the recipe changes these.
#[test]
fn bits_are_these_on_every_machine() {
    let mut random = TorchCpu::new(7);
    let mut drawn = |rows| {
        let text = random.normal(&[rows, WIDTH]).unwrap();
        let image = random.normal(&[rows, WIDTH]).unwrap() * 0.5 + &text;
        Pairs { text, image }
    };
    let (train, held_out) = (drawn(90), drawn(30));
    let hashes = FITTED.map(|kind| {
        let prior = FittedPrior::fit(plan(kind), &train, &held_out, &mut |_, _| Ok(())).unwrap();
        kandinsky_models::hash::of_bytes(&prior.to_bytes().unwrap())
    });
    assert_eq!(
        hashes,
        [
            "43246b96088482b5da323e2a1d0037d54cfa6e96669d8e49b6d758d223f2f84c",
            "c458c17ee7b9e08f5aa907bd06c4f363e98682fa36218dcc1308cb153b594fba"
        ]
    );
}

/// A file's header and data, to be changed and put together again.
struct File {
    header: Value,
    data: Vec<u8>,
}

impl File {
    fn of(prior: &FittedPrior) -> Self {
        let bytes = prior.to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        Self { header, data: bytes[8 + length..].to_vec() }
    }

    fn card(&self) -> Value {
        serde_json::from_str(self.header["__metadata__"]["kandinsky_prior"].as_str().unwrap()).unwrap()
    }

    fn with_card(mut self, change: impl Fn(&mut Value)) -> Vec<u8> {
        let mut card = self.card();
        change(&mut card);
        self.header["__metadata__"]["kandinsky_prior"] = card.to_string().into();
        self.bytes()
    }

    fn with_header(mut self, change: impl Fn(&mut Value)) -> Vec<u8> {
        change(&mut self.header);
        self.bytes()
    }

    fn with_number(mut self, name: &str, number: f32) -> Vec<u8> {
        let at = self.header[name]["data_offsets"][0].as_u64().unwrap() as usize;
        self.data[at..at + 4].copy_from_slice(&number.to_le_bytes());
        self.bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        assembled(&self.header.to_string(), &self.data)
    }
}

fn assembled(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), data].concat()
}

fn refused(bytes: &[u8], words: &[&str]) {
    said(&FittedPrior::from_bytes(bytes).unwrap_err(), Kind::BadModel, words);
}

#[test]
fn damaged_files_are_refused_by_name() {
    for (prior, tensor, shape) in [
        (fitted(PriorKind::Linear, linear_pairs), "weight", json!([16, 16])),
        (fitted(PriorKind::Residual, linear_pairs), "blocks.17.down.weight", json!([4, 16])),
    ] {
        let file = || File::of(&prior);
        assert_eq!(FittedPrior::from_bytes(&file().bytes()).unwrap(), prior);
        refused(&file().with_card(|card| card["format"] = 2.into()), &["format 2", "format 1"]);
        refused(&file().with_card(|card| card["kind"] = "cubic".into()), &["cubic"]);
        refused(&file().with_card(|card| card["kind"] = "diffusion".into()), &["diffusion", "not fitted"]);
        refused(&file().with_card(|card| card["width"] = 0.into()), &["0 numbers", "1 to 4096"]);
        refused(&file().with_card(|card| card["width"] = 4097.into()), &["4097", "4096"]);
        refused(&file().with_card(|card| card["width"] = 17.into()), &["[16]", "[17]"]);
        refused(&file().with_card(|card| card["more"] = 1.into()), &["more"]);
        refused(&file().with_header(|header| header["__metadata__"] = json!({})), &["no card"]);
        let without = |header: &mut Value| drop(header.as_object_mut().unwrap().shift_remove(tensor));
        refused(&file().with_header(without), &[tensor, "missing"]);
        refused(&file().with_header(|header| header[tensor]["dtype"] = "F16".into()), &[tensor, "F16"]);
        refused(&file().with_header(|header| header[tensor]["shape"] = json!([2, 3])), &[tensor, "[2, 3]"]);
        refused(&file().with_header(|header| header[tensor]["extra"] = 1.into()), &["extra"]);
        refused(&file().with_header(|header| header["bent"] = header[tensor].clone()), &["bent", "none of"]);
        let moved =
            |header: &mut Value| header[tensor]["data_offsets"] = header["text.mean"]["data_offsets"].clone();
        refused(&file().with_header(moved), &[tensor]);
        let far = json!([u64::MAX - 63, u64::MAX]);
        refused(
            &file().with_header(|header| header["text.std"]["data_offsets"] = far.clone()),
            &["text.std"],
        );
        for number in [f32::NAN, f32::NEG_INFINITY] {
            refused(&file().with_number(tensor, number), &[tensor, &number.to_string()]);
        }
        refused(&file().with_number("image.std", 0.0), &["image.std", "not above 0"]);
        refused(&[file().bytes(), vec![0; 4]].concat(), &["4 bytes follow"]);
        let entry =
            json!({"dtype": "F32", "shape": shape, "data_offsets": file().header[tensor]["data_offsets"]});
        let twice = file().header.to_string().replacen('{', &format!("{{\"{tensor}\":{entry},"), 1);
        refused(&assembled(&twice, &file().data), &[tensor, "twice"]);
    }
}

#[test]
fn cut_and_lying_files_are_refused() {
    let bytes = fitted(PriorKind::Linear, linear_pairs).to_bytes().unwrap();
    for cut in (0..bytes.len()).filter(|cut| *cut < 2000 || cut % 37 == 0) {
        refused(&bytes[..cut], &["cannot be used"]);
    }
    for claim in [0, 1, bytes.len() as u64, 1 << 63, u64::MAX] {
        let mut lying = bytes.clone();
        lying[..8].copy_from_slice(&claim.to_le_bytes());
        refused(&lying, &["header"]);
    }
    let long = assembled(&format!("{{}}{}", " ".repeat(300_000)), &[]);
    refused(&long, &["300002", "262144"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.safetensors");
    std::fs::File::create(&path).unwrap().set_len((256 << 20) + 1).unwrap();
    said(&FittedPrior::open(&path).unwrap_err(), Kind::BadModel, &["huge", "268435457", "268435456"]);
    said(&FittedPrior::open(folder.path()).unwrap_err(), Kind::BadModel, &["not a file"]);
    said(&FittedPrior::open(folder.path().join("none")).unwrap_err(), Kind::Io, &["none"]);
}

#[test]
fn a_prior_of_another_clip_is_refused_and_another_model_of_the_same_clip_is_not() {
    let manifest = Engine::open_with(EMOJI, &options("tract")).unwrap().manifest().clone();
    let own = fingerprint(&manifest).unwrap();
    let train = TorchCpu::new(0).normal(&[20, 192]).unwrap();
    let pairs = Pairs { text: train.clone(), image: train };
    let of = |clip: &str| {
        let plan = Plan { clip: clip.to_owned(), ..plan(PriorKind::Linear) };
        FittedPrior::fit(plan, &pairs, &pairs, &mut |_, _| Ok(())).unwrap()
    };
    of(&own).check_model(&manifest).unwrap();
    let mut sister = manifest.clone();
    sister.name = "sister".to_owned();
    sister.components.get_mut("unet_step").unwrap().graph.sha256 = "0".repeat(64);
    of(&own).check_model(&sister).unwrap();
    for encoder in ["text_encoder", "image_encoder"] {
        let mut other = manifest.clone();
        let data = other.components.get_mut(encoder).unwrap().data.as_mut().unwrap();
        data.sha256 = "0".repeat(64);
        said(&of(&own).check_model(&other).unwrap_err(), Kind::BadRequest, &["CLIP", &own[..12]]);
    }
    let narrow = fitted(PriorKind::Linear, linear_pairs);
    said(&narrow.check_model(&manifest).unwrap_err(), Kind::BadRequest, &["16", "192"]);
    let mut blind = manifest;
    blind.components.remove("image_encoder");
    said(&of(&own).check_model(&blind).unwrap_err(), Kind::BadModel, &["image_encoder"]);
}

#[test]
fn kinds_have_one_name_everywhere() {
    for kind in PriorKind::ALL {
        assert_eq!(kind.name().parse::<PriorKind>().unwrap(), kind);
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(kind.is_fitted(), FITTED.contains(&kind));
    }
    said(&"cubic".parse::<PriorKind>().unwrap_err(), Kind::BadRequest, &["cubic", "residual", "none"]);
    assert_eq!(PriorKind::default(), PriorKind::Diffusion);
}

// ---- Folders of pictures ----

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("red", [220, 50, 47]),
    ("orange", [245, 150, 50]),
    ("green", [90, 180, 95]),
    ("blue", [50, 100, 210]),
    ("purple", [140, 85, 190]),
    ("brown", [140, 95, 65]),
];
const GROUNDS: [(&str, [u8; 3]); 4] = [
    ("white", [255, 255, 255]),
    ("black", [20, 20, 20]),
    ("yellow", [250, 215, 80]),
    ("pink", [250, 170, 200]),
];

/// A disc on a ground.
fn disc(colour: [u8; 3], ground: [u8; 3]) -> Picture {
    let side = 64;
    let is_inside = |i: usize| {
        let (x, y) = ((i % side) as f32 - 31.5, (i / side) as f32 - 31.5);
        x * x + y * y < 24.0 * 24.0
    };
    let pixels = (0..side * side).map(|i| if is_inside(i) { colour } else { ground }).collect();
    Picture::new(Size { width: side, height: side }, pixels).unwrap()
}

/// Discs of all colours on all grounds; file names with their captions.
fn discs(folder: &Path) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for (colour, disc_rgb) in COLOURS {
        for (ground, rgb) in GROUNDS {
            let name = format!("{colour}_{ground}");
            disc(disc_rgb, rgb).save(folder.join(format!("{name}.png"))).unwrap();
            let caption = format!("{colour} circle on a {ground} background");
            all.push((name, vec![format!("a picture of {caption}"), caption]));
        }
    }
    all
}

fn as_jsonl(folder: &Path, all: &[(String, Vec<String>)]) {
    let line = |name: &str, caption: &str| {
        format!("{}\n", json!({"file": format!("{name}.png"), "caption": caption}))
    };
    let lines = all.iter().flat_map(|(name, captions)| captions.iter().map(|caption| line(name, caption)));
    std::fs::write(folder.join("captions.jsonl"), lines.collect::<String>()).unwrap();
}

fn options(runtime: &str) -> RuntimeOptions {
    RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() }
}

fn fit_folder(
    engine: &Engine,
    folder: &Path,
    kind: PriorKind,
    observer: &mut Observer<'_>,
) -> kandinsky::Result<FittedPrior> {
    let encoder = Encoder { tokenizers: engine.tokenizers(), constants: engine.constants(), weighted: false };
    let captioned = fit::captions::read(folder)?;
    engine.with_networks(|networks| fit::run(networks, &encoder, &captioned, kind, 1, observer))
}

/// A request with a fitted prior, and with none: its embedding, and what it is steered away from.
fn check_door(engine: &Engine, file: &Path, (prior, prompts, embeds): (&FittedPrior, &[&str; 3], &Tensor)) {
    prior.save(file, true).unwrap();
    let draw = |request: Request| {
        engine.run_all(&request.size(64, 64).steps(1).seed(1), &mut Observer::default()).unwrap()
    };
    let fitted =
        |prompt: &str| Request::text_to_image(prompt).prior(prior.card().kind, Some(file.to_owned()));
    let plain = draw(fitted(prompts[0]));
    assert_eq!(plain.image_embeds, rows(embeds, 0, 1).unwrap());
    assert_eq!(Some(&plain.negative_image_embeds), engine.constants().zero_image.as_ref());
    let steered = draw(fitted(prompts[1]).negative(prompts[0]));
    assert_eq!(steered.image_embeds, rows(embeds, 1, 2).unwrap());
    assert_eq!(steered.negative_image_embeds, rows(embeds, 0, 1).unwrap());
    let none = draw(Request::text_to_image("").prior(PriorKind::None, None));
    assert_eq!(none.image_embeds, engine.constants().empty_clip.as_ref().unwrap().pooled);
    let mixed = Request::mix([Part::text(prompts[0], 0.5)]).prior(prior.card().kind, Some(file.to_owned()));
    assert_eq!(draw(mixed).image_embeds, rows(embeds, 0, 1).unwrap() * 0.5);
    let other = if prior.card().kind == PriorKind::Linear { PriorKind::Residual } else { PriorKind::Linear };
    let wrong = fitted(prompts[0]).prior(other, Some(file.to_owned()));
    let error = engine.run_all(&wrong, &mut Observer::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::BadRequest);
}

#[test]
fn pictures_teach_both_kinds_on_both_runtimes() {
    let folder = tempfile::tempdir().unwrap();
    as_jsonl(folder.path(), &discs(folder.path()));
    let prompts = ["red circle on a pink background", "", "red circle on a pink background"];
    let mut of_runtimes = Vec::new();
    for runtime in RUNTIMES {
        let engine = Engine::open_with(EMOJI, &options(runtime)).unwrap();
        let encoder =
            Encoder { tokenizers: engine.tokenizers(), constants: engine.constants(), weighted: false };
        for kind in FITTED {
            let prior = fit_folder(&engine, folder.path(), kind, &mut Observer::default()).unwrap();
            if kind == PriorKind::Linear {
                let again = fit_folder(&engine, folder.path(), kind, &mut Observer::default()).unwrap();
                assert_eq!(prior.to_bytes().unwrap(), again.to_bytes().unwrap(), "{runtime}");
            }
            let card = prior.card();
            assert_eq!((card.pictures, card.pairs, card.held_out.pairs), (20, 40, 8));
            assert_eq!(card.clip, fingerprint(engine.manifest()).unwrap());
            let held_out = card.held_out;
            println!("{runtime} {kind}: {held_out:?}");
            assert!(held_out.error < 0.7 * held_out.mean_error, "{runtime} {kind}: {held_out:?}");
            assert!(held_out.cosine > held_out.mean_cosine + 0.05, "{runtime} {kind}: {held_out:?}");
            let (embeds, texts) = engine
                .with_networks(|networks| {
                    let embeds = fitted_prior::embeds(networks, &encoder, &prior, &prompts)?;
                    let texts = fitted_prior::text_embeds(networks, &encoder, &prompts)?;
                    Ok((embeds, texts))
                })
                .unwrap();
            assert_eq!(embeds.shape(), [3, 192]);
            assert_eq!(rows(&embeds, 0, 1).unwrap(), rows(&embeds, 2, 3).unwrap());
            assert_eq!(rows(&texts, 1, 2).unwrap(), engine.constants().empty_clip.as_ref().unwrap().pooled);
            assert_eq!(embeds, prior.image_embeds(&texts).unwrap());
            check_door(&engine, &folder.path().join("prior.safetensors"), (&prior, &prompts, &embeds));
            of_runtimes.push((kind, embeds));
        }
    }
    let (ort, tract) = of_runtimes.split_at(2);
    for ((kind, ours), (_, theirs)) in ort.iter().zip(tract) {
        let scale = ours.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let worst = (ours - theirs).iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        // A linear fit passes rounding on as it is; training can widen it.
        let allowed = if *kind == PriorKind::Linear { 1e-3 } else { 0.1 };
        assert!(worst < allowed * scale, "{kind}: {worst} of {scale}");
    }
}

#[test]
fn three_forms_of_captions_are_one_folder() {
    let engine = Engine::open_with(EMOJI, &options("tract")).unwrap();
    let mut priors = Vec::new();
    for form in ["jsonl", "tsv", "txt"] {
        let folder = tempfile::tempdir().unwrap();
        let mut all = discs(folder.path());
        all.truncate(9); // the others are pictures without captions
        let path = |name: &str| folder.path().join(name);
        match form {
            "jsonl" => as_jsonl(folder.path(), &all),
            "tsv" => {
                let lines = all
                    .iter()
                    .flat_map(|(name, all)| all.iter().map(move |c| format!("{name}.png\t{c}\r\n")));
                std::fs::write(path("captions.tsv"), lines.collect::<String>()).unwrap();
            }
            _ => all.iter().for_each(|(name, captions)| {
                std::fs::write(path(&format!("{name}.txt")), format!("{}\n\n", captions.join("\n"))).unwrap();
            }),
        }
        let found = fit::captions::read(folder.path()).unwrap();
        let captions: Vec<_> = found.iter().map(|one| one.captions.clone()).collect();
        let mut expected = all;
        expected.sort();
        assert_eq!(
            captions,
            expected.into_iter().map(|(_, captions)| captions).collect::<Vec<_>>(),
            "{form}"
        );
        priors.push(fit_folder(&engine, folder.path(), PriorKind::Linear, &mut Observer::default()).unwrap());
    }
    assert!(priors.iter().all(|prior| prior == &priors[0]));
}

#[test]
fn folders_that_cannot_be_used_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let all = discs(folder.path());
    as_jsonl(folder.path(), &all);
    let jsonl = folder.path().join("captions.jsonl");
    let good = std::fs::read_to_string(&jsonl).unwrap();
    let outside = tempfile::NamedTempFile::with_suffix(".png").unwrap();
    let outside = outside.path().to_string_lossy().into_owned();
    let cases: [(Value, &[&str]); 7] = [
        (json!({"file": "none.png", "caption": "x"}), &["line 49", "no picture", "none.png"]),
        (json!({"file": "../x.png", "caption": "x"}), &["line 49", "../x.png", "leaves the folder"]),
        (json!({"file": outside, "caption": "x"}), &["line 49", "leaves the folder"]),
        (json!({"file": "red_white.png", "caption": "  "}), &["line 49", "empty"]),
        (json!({"file": "red_white.png", "caption": "x".repeat(4097)}), &["line 49", "4097", "4096"]),
        (json!({"file": "red_white.png"}), &["line 49", "caption"]),
        (json!("red_white.png"), &["line 49"]),
    ];
    for (line, words) in cases {
        std::fs::write(&jsonl, format!("{good}{line}\n")).unwrap();
        said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, words);
    }
    let seven: String = good.lines().take(14).map(|line| format!("{line}\n")).collect();
    std::fs::write(&jsonl, seven).unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["7", "8 to"]);
    std::fs::write(&jsonl, [0xff, 0xfe]).unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["not UTF-8"]);
    std::fs::write(folder.path().join("captions.tsv"), "red_white.png red circle\n").unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["both"]);
    std::fs::remove_file(&jsonl).unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["line 1", "tab"]);
    std::fs::remove_file(folder.path().join("captions.tsv")).unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["0", "8 to"]);
    std::fs::write(folder.path().join("violet.txt"), "violet circle").unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["violet.txt", "no picture"]);
    std::fs::rename(folder.path().join("violet.txt"), folder.path().join("red_white.txt")).unwrap();
    std::fs::write(folder.path().join("red_white.JPG"), "").unwrap();
    said(
        &fit::captions::read(folder.path()).unwrap_err(),
        Kind::BadRequest,
        &["red_white.txt", "two pictures"],
    );
    said(&fit::captions::read(&jsonl).unwrap_err(), Kind::BadRequest, &["not a folder"]);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    disc([0; 3], [9; 3]).save(outside.path().join("secret.png")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.png"), folder.path().join("a.png")).unwrap();
    std::fs::write(folder.path().join("a.txt"), "a secret").unwrap();
    said(&fit::captions::read(folder.path()).unwrap_err(), Kind::BadRequest, &["a.png", "leaves the folder"]);
    std::fs::write(folder.path().join("captions.tsv"), "a.png\ta secret").unwrap();
    let listed = fit::captions::read(folder.path()).unwrap_err();
    said(&listed, Kind::BadRequest, &["line 1", "leaves the folder"]);
    std::fs::rename(folder.path().join("captions.tsv"), outside.path().join("captions.tsv")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("captions.tsv"), folder.path().join("captions.tsv"))
        .unwrap();
    said(
        &fit::captions::read(folder.path()).unwrap_err(),
        Kind::BadRequest,
        &["captions.tsv", "leaves the folder"],
    );
}

#[test]
fn unreadable_pictures_end_the_fit_and_callers_can_cancel_it() {
    let folder = tempfile::tempdir().unwrap();
    as_jsonl(folder.path(), &discs(folder.path()));
    let engine = Engine::open_with(EMOJI, &options("tract")).unwrap();
    let mut steps: Vec<Progress> = Vec::new();
    let mut observer =
        Observer { on_progress: Some(Box::new(|step| steps.push(step))), ..Default::default() };
    fit_folder(&engine, folder.path(), PriorKind::Linear, &mut observer).unwrap();
    drop(observer);
    let last = |stage| steps.iter().rev().find(|step| step.stage == stage).copied().unwrap();
    assert_eq!((last(Stage::Encode).step, last(Stage::Encode).total), (72, 72));
    assert_eq!(last(Stage::Fit).step, last(Stage::Fit).total);
    for stage in [Stage::Encode, Stage::Fit] {
        let cancel = CancelToken::default();
        let hand = cancel.clone();
        let stop = move |step: Progress| {
            if step.stage == stage {
                hand.cancel()
            }
        };
        let mut observer = Observer { on_progress: Some(Box::new(stop)), cancel, ..Observer::default() };
        let error = fit_folder(&engine, folder.path(), PriorKind::Residual, &mut observer).unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled);
    }
    let picture = folder.path().join("green_black.png");
    let bytes = std::fs::read(&picture).unwrap();
    std::fs::write(&picture, &bytes[..bytes.len() / 2]).unwrap();
    let error = fit_folder(&engine, folder.path(), PriorKind::Linear, &mut Observer::default()).unwrap_err();
    said(&error, Kind::BadImage, &["green_black.png"]);
}

// ---- The command ----

fn kandinsky(folder: &Path, extra: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
    command.current_dir(folder).env_remove("KANDINSKY_MODEL").env("KANDINSKY_CACHE", folder.join("cache"));
    command.args(["fit-prior", "discs", "--model", EMOJI, "--runtime", "tract"]).args(extra);
    command.output().expect("the program starts")
}

#[test]
fn the_command_writes_a_prior_and_says_how_good_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("discs");
    std::fs::create_dir(&pictures).unwrap();
    let all = discs(&pictures);
    as_jsonl(&pictures, &all);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = kandinsky(folder.path(), &["--out", "discs.safetensors"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for word in ["linear, 192 numbers, on 40 captions of 20 pictures", "8 held out", "mean embedding"] {
        assert!(text(&output.stdout).contains(word), "{word:?} is not in {}", text(&output.stdout));
    }
    let file = folder.path().join("discs.safetensors");
    let first = std::fs::read(&file).unwrap();
    let output = kandinsky(folder.path(), &["-o", "discs.safetensors"]);
    assert_eq!(output.status.code(), Some(11), "{}", text(&output.stderr));
    let arguments = ["--kind", "residual", "-o", "discs.safetensors", "--seed", "3", "--force", "--json"];
    let output = kandinsky(folder.path(), &arguments);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let prior = FittedPrior::open(&file).unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), first);
    assert_eq!((prior.card().kind, prior.card().seed), (PriorKind::Residual, 3));
    assert_eq!(report["held_out"]["error"].as_f64(), Some(prior.card().held_out.error));
    assert_eq!(report["file"], "discs.safetensors");
    for (extra, code) in [(["--kind", "diffusion", "-o", "x"], 2), (["--kind", "linear", "-o", "no/x"], 10)] {
        assert_eq!(kandinsky(folder.path(), &extra).status.code(), Some(code));
    }
    std::fs::remove_file(pictures.join("red_pink.png")).unwrap();
    let output = kandinsky(folder.path(), &["-o", "x.safetensors"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("red_pink.png"), "{}", text(&output.stderr));
    assert!(!folder.path().join("x.safetensors").exists());
}
