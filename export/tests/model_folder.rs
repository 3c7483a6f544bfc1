//! What an export makes: complete, checked, and the same bytes however the checkpoint is stored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod common;

use common::{Copy, Held, configs, mirror, tiny};
use kandinsky_export::synthetic::{SEED, Values};
use kandinsky_export::{
    Checkpoint, Error, Report, Request, Rewrite, Rewrites, StoredDtype, WeightSource, add_constants, export,
    export_then, write_checkpoint,
};
use kandinsky_models::manifest::Precision;
use kandinsky_models::{Component, Folder, Manifest};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn made(request: &Request) -> (Report, Manifest) {
    let report = export(request, &mut |_| Ok(())).unwrap();
    (report, Folder::open(&request.out).unwrap().manifest().clone())
}

fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_folder_is_complete_and_verifies() {
    let copy = Copy::new();
    let mut last = 0;
    let rewrites = Rewrites::default().with(Rewrite::DeepCache);
    let report = export(&Request { rewrites, ..copy.request() }, &mut |p| {
        assert!(p.done >= last && p.done <= p.total);
        last = p.done;
        Ok(())
    })
    .unwrap();
    let folder = Folder::open(&copy.out.path().join("model")).unwrap();
    assert_eq!(report.components.len(), Component::ALL.len());
    for component in Component::ALL {
        folder.check_graph(folder.graph(component).unwrap()).unwrap();
    }
    let mut named: Vec<_> = folder.entries().into_iter().map(|entry| entry.path.clone()).collect();
    for entry in folder.entries() {
        folder.verify(entry).unwrap();
    }
    named.push("model.json".to_owned());
    named.sort();
    assert_eq!(named, bytes(folder.root()).into_keys().collect::<Vec<_>>());
    assert_eq!(report.bytes, folder.entries().iter().map(|entry| entry.bytes).sum::<u64>());
    let manifest = folder.manifest();
    assert_eq!((manifest.latent.factor, manifest.latent.multiple, manifest.latent.unet_channels), (8, 8, 4));
    assert_eq!((manifest.defaults.width, manifest.defaults.steps), (512, 50));
    assert_eq!(manifest.text.clip.bos, 49_406);
    assert_eq!(manifest.text.multilingual.pad, 1);
    assert!(manifest.source.files.contains_key("prior/prior/diffusion_pytorch_model.safetensors"));
}

#[test]
fn storage_does_not_show_in_the_graphs() {
    let copy = Copy::new();
    let (_, single) = made(&copy.request());
    let place = tempfile::tempdir().unwrap();
    let sharded = place.path().join("sharded");
    write_checkpoint(
        &kandinsky_export::SyntheticCheckpoint { shard_limit: Some(100_000), ..mirror(&sharded) },
        &mut |_| Ok(()),
    )
    .unwrap();
    assert!(sharded.join("kandinsky-2-1/unet/diffusion_pytorch_model.safetensors.index.json").is_file());
    let mut request = Request::new(Checkpoint::find(&sharded).unwrap(), place.path().join("from_shards"));
    let (_, from_shards) = made(&request);
    assert_eq!(single.components, from_shards.components);
    assert_eq!(single.files, from_shards.files);
    request.checkpoint = Checkpoint::find(&configs()).unwrap();
    request.origin = WeightSource::Synthetic(SEED);
    request.out = place.path().join("from_nothing");
    let (_, from_nothing) = made(&request);
    assert_eq!(single.components, from_nothing.components);
    assert_eq!(single.files, from_nothing.files);
}

#[test]
fn half_checkpoints_give_half_graphs() {
    let copy = Copy::new();
    let place = tempfile::tempdir().unwrap();
    // What is folded stays f32, so that it tells f16 checkpoints from f32 ones.
    let (precision, rewrites) = (Precision::F16, Rewrites::none());
    let mut request = Request { precision, rewrites: rewrites.clone(), ..copy.request() };
    let (_, from_f32) = made(&request);
    let half = place.path().join("half");
    write_checkpoint(
        &kandinsky_export::SyntheticCheckpoint { stored: StoredDtype::F16, ..mirror(&half) },
        &mut |_| Ok(()),
    )
    .unwrap();
    let unet = half.join("kandinsky-2-1/unet");
    let file = unet.join("diffusion_pytorch_model.safetensors");
    fs::rename(&file, unet.join("diffusion_pytorch_model.fp16.safetensors")).unwrap();
    request = Request {
        precision,
        rewrites,
        ..Request::new(Checkpoint::find(&half).unwrap(), place.path().join("f16"))
    };
    assert_eq!(from_f32.components, made(&request).1.components);
    let brain = place.path().join("brain");
    write_checkpoint(
        &kandinsky_export::SyntheticCheckpoint { stored: StoredDtype::Bf16, ..mirror(&brain) },
        &mut |_| Ok(()),
    )
    .unwrap();
    let path = brain.join("kandinsky-2-1/movq/diffusion_pytorch_model.safetensors");
    for (name, (shape, values)) in Held::of(&path).0 {
        let mut exact = vec![0.0; values.len()];
        Values::new(&name, &shape, SEED).fill(&mut exact);
        let rounded: Vec<_> = exact.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect();
        assert_eq!(values, rounded, "{name}");
    }
}

#[test]
fn the_same_checkpoint_gives_the_same_bytes() {
    let (first, second) = (Copy::new(), Copy::new());
    first.export().unwrap();
    let elsewhere = second.root.path().join("renamed");
    fs::create_dir(&elsewhere).unwrap();
    let checkpoint = second.checkpoint();
    fs::rename(&checkpoint.prior, elsewhere.join("prior")).unwrap();
    fs::rename(&checkpoint.decoder, elsewhere.join("decoder")).unwrap();
    fs::rename(checkpoint.inpaint.unwrap(), elsewhere.join("inpaint")).unwrap();
    let out = second.out.path().join("model");
    made(&Request::new(Checkpoint::find(&elsewhere).unwrap(), &out));
    assert!(bytes(&first.out.path().join("model")) == bytes(&out));
}

#[test]
fn weights_arrive_bit_for_bit() {
    let copy = Copy::new();
    copy.export().unwrap();
    let folder = Folder::open(&copy.out.path().join("model")).unwrap();
    let spec = folder.graph(Component::UnetStep).unwrap();
    let data = fs::read(folder.root().join(&spec.data.as_ref().unwrap().path)).unwrap();
    let held = Held::of(&tiny().join("tiny/kandinsky-2-1/unet/diffusion_pytorch_model.safetensors"));
    let mut compared = 0;
    for tensor in folder.check_graph(spec).unwrap().graph.unwrap().initializer {
        let Some((shape, values)) = held.0.get(tensor.name()) else { continue };
        if shape.len() < 4 || tensor.external_data.is_empty() {
            continue;
        }
        let number = |key: &str| -> usize {
            let entry = tensor.external_data.iter().find(|entry| entry.key() == key).unwrap();
            entry.value().parse().unwrap()
        };
        let (offset, length) = (number("offset"), number("length"));
        assert_eq!(offset % 4096, 0);
        let expected: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert!(data[offset..offset + length] == expected, "{}", tensor.name());
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn published_values_of_the_synthetic_checkpoint_come_out() {
    let text = include_str!("data/weights_check.json");
    let check: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for sample in check["samples"].as_array().unwrap() {
        let (file, name) = (sample["file"].as_str().unwrap(), sample["name"].as_str().unwrap());
        let held = Held::of(&tiny().join("tiny").join(file));
        let bits: Vec<_> = held.0[name].1.iter().take(8).map(|x| x.to_bits().cast_signed()).collect();
        let published = sample["first8_bits"].as_array().unwrap().iter();
        let published: Vec<_> = published.map(|b| i32::try_from(b.as_i64().unwrap()).unwrap()).collect();
        assert_eq!(bits, published, "{file} {name}");
        let sum: f64 = held.0[name].1.iter().map(|x| f64::from(*x)).sum();
        let expected = sample["sum_f64"].as_f64().unwrap();
        assert!((sum - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{file} {name}: {sum} {expected}");
        compared += 1;
    }
    assert!(compared >= 27, "{compared}");
}

#[test]
fn a_decoder_that_inpaints_serves_alone() {
    let copy = Copy::new();
    let mut request = copy.request();
    request.checkpoint.decoder = request.checkpoint.inpaint.take().unwrap();
    let (report, manifest) = made(&request);
    assert_eq!(manifest.latent.unet_channels, 9);
    assert_eq!(report.components.len(), Component::ALL.len() - 5);
    assert!(
        manifest.components.contains_key("unet_step") && !manifest.components.contains_key("inpaint_step")
    );
    let ddpm = &manifest.schedulers["ddpm"];
    assert_eq!(ddpm["variance_type"], "learned_range");
    assert_eq!((ddpm["sample_max_value"].as_f64(), ddpm["beta_end"].as_f64()), (Some(2.0), Some(0.012)));
    assert_eq!(ddpm["thresholding"], true);
}

#[test]
fn latents_beyond_1_are_not_thresholded_where_the_request_says_so() {
    let copy = Copy::new();
    let mut request = copy.request();
    request.defaults.thresholding = Some(false);
    let (_, manifest) = made(&request);
    assert_eq!(manifest.schedulers["ddpm"]["thresholding"], false);
    assert_eq!(manifest.schedulers["ddim"]["thresholding"], false);
}

#[test]
fn old_position_ids_are_passed_over() {
    let copy = Copy::new();
    let name = "kandinsky-2-1-prior/text_encoder/model.safetensors";
    let whole = fs::read(copy.path(name)).unwrap();
    let length = usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    let end = whole.len() - 8 - length;
    let text = std::str::from_utf8(&whole[8..8 + length]).unwrap().trim_end();
    let ids = format!(
        r#","text_model.embeddings.position_ids":{{"dtype":"I64","shape":[1,77],"data_offsets":[{end},{}]}}}}"#,
        end + 77 * 8
    );
    let header = format!("{}{ids}", text.strip_suffix('}').unwrap());
    let mut bytes = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(&whole[8 + length..]);
    bytes.extend([0; 77 * 8]);
    copy.put(name, bytes);
    copy.export().unwrap();
}

#[test]
fn constants_can_be_added() {
    let copy = Copy::new();
    let request = copy.request();
    let zero = ("zero_image_embed".to_owned(), vec![1, 3], vec![1.0, -0.5, 0.25]);
    let finish = std::slice::from_ref(&zero);
    let report = export_then(&request, &mut |_| Ok(()), &mut |_| Ok(vec![zero.clone()])).unwrap();
    let folder = Folder::open(&request.out).unwrap();
    let path = folder.verify(folder.file("constants").unwrap()).unwrap();
    let read = || kandinsky_export::read::safetensors::open(&path, "constants").unwrap();
    assert_eq!(read().names(), ["clip_mean", "clip_std", "zero_image_embed"]);
    assert_eq!(read().shape("clip_mean"), Some([1, 24].as_slice()));
    assert_eq!(read().read("zero_image_embed").unwrap(), zero.2);
    assert_eq!(report.bytes, folder.entries().iter().map(|entry| entry.bytes).sum::<u64>());
    let before = bytes(folder.root());
    add_constants(folder.root(), finish).unwrap();
    assert!(before == bytes(folder.root()));
    add_constants(folder.root(), &[("clip_mean".to_owned(), vec![2], vec![0.0, 1.0])]).unwrap();
    assert_eq!(read().shape("clip_mean"), Some([2].as_slice()));
    let wrong = add_constants(folder.root(), &[("x".to_owned(), vec![2], vec![0.0])]);
    assert!(matches!(wrong, Err(Error::Shape { .. })));
    let failing = Request { out: copy.out.path().join("other"), ..copy.request() };
    let error = export_then(&failing, &mut |_| Ok(()), &mut |_| Err("no runtime".into())).unwrap_err();
    assert_eq!(error.to_string(), "no runtime");
    assert_eq!(copy.out.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_bare_folder_of_configs_makes_a_model_of_made_up_weights() {
    let copy = Copy::new();
    for folder in ["kandinsky-2-1-prior/tokenizer", "kandinsky-2-1/tokenizer"] {
        fs::remove_dir_all(copy.path(folder)).unwrap();
    }
    assert!(matches!(copy.refused(), Error::MissingFile(_)));
    let (_, manifest) = made(&Request { origin: WeightSource::Synthetic(1), ..copy.request() });
    assert!(!manifest.files.contains_key("clip_tokenizer"));
    assert_eq!(manifest.text.multilingual.eos, 2);
}

#[test]
fn a_mirror_appears_whole_or_not_at_all() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("tiny");
    let mut calls = 0;
    let error = write_checkpoint(&mirror(&out), &mut |_| {
        calls += 1;
        if calls == 500 { Err(Error::Cancelled) } else { Ok(()) }
    });
    assert!(matches!(error, Err(Error::Cancelled)));
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
    write_checkpoint(&mirror(&out), &mut |_| Ok(())).unwrap();
    let again = write_checkpoint(&mirror(&out), &mut |_| Ok(()));
    assert!(matches!(again, Err(Error::Exists(_))));
    let config = "kandinsky-2-1/unet/config.json";
    assert_eq!(fs::read(out.join(config)).unwrap(), fs::read(configs().join(config)).unwrap());
}
