//! The graphs of a model folder against one unsplit graph of the same network: what the exact rewrites
//! leave out or compute once must change nothing.

use kandinsky::internal::component::text::{self, ClipText, MultilingualText};
use kandinsky::internal::component::unet::{self, StepInputs, UnetVariant};
use kandinsky::internal::component::{Networks, prior};
use kandinsky::internal::rng::{Normals, TorchCpu};
use kandinsky::internal::runtime::{self, Graph, GraphSource};
use kandinsky::internal::tensor::{Value, concat, slice, tensor};
use kandinsky::internal::text::Tokens;
use kandinsky::{Engine, RuntimeOptions, Tensor};
use kandinsky_export::arch::{self, Network};
use kandinsky_export::{Checkpoint, WeightSource};
use kandinsky_models::Component;
use kandinsky_models::manifest::{Precision, WAVES};
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::golden::{close, directory};
use kandinsky_testing::made_up::lent;
use kandinsky_testing::model;
use ndarray::{Axis, IxDyn};
use std::path::Path;

/// Of the maximum.
const TOLERANCE: f32 = 1e-5;
fn options(name: &str) -> RuntimeOptions {
    RuntimeOptions { runtime: name.to_owned(), ..Default::default() }
}

/// The tiny model, opened on a runtime, and the folder that it lies in.
fn tiny(folder: &Path, runtime: &str) -> Engine {
    let path = folder.join("tiny");
    if !path.exists() {
        model::export(&directory(), &path);
    }
    Engine::open_with(&path, &options(runtime)).unwrap()
}

/// The network `kind` of the tiny checkpoint as one graph.
fn unsplit(folder: &Path, kind: Network, component: Component, runtime: &str) -> Box<dyn Graph> {
    let reference = directory();
    let stored = reference.join("checkpoint");
    let (root, origin) = match stored.is_dir() {
        true => (stored, WeightSource::Files),
        false => (reference.join("configs"), WeightSource::Synthetic(model::SEED)),
    };
    let parts = Checkpoint::find(&root).unwrap().parts().unwrap();
    let part = parts.iter().find(|part| part.kind == kind).unwrap();
    let weights = part.weights(origin).unwrap();
    let graph = arch::unsplit(kind, &part.config.value, &part.config.path, weights.as_ref()).unwrap();
    let stem = format!("whole_{}", component.name());
    let spec = graph.write(weights.as_ref(), folder, &stem, Precision::F32, &mut |_| Ok(())).unwrap();
    let path = folder.join(&spec.graph.path);
    let runtime = runtime::select(&options(runtime)).unwrap().runtime;
    runtime.open(&GraphSource { component, path, spec }).unwrap()
}

fn only(graph: &mut dyn Graph, inputs: &[(&str, Value)]) -> Tensor {
    let mut outputs = graph.run(&lent(inputs)).unwrap();
    outputs.retain(|(name, _)| name != WAVES);
    assert_eq!(outputs.len(), 1);
    outputs.pop().unwrap().1.into_f32().unwrap()
}

/// Two prompts of different lengths by their tokens, in this tokeniser's own ends.
fn prompts(engine: &Engine, words: [&str; 2]) -> [Tokens; 2] {
    words.map(|prompt| engine.tokenizers().clip(prompt).unwrap())
}

/// Ids of one prompt padded to `length`, and the mask.
fn padded(prompt: &Tokens, length: usize, pad: u32) -> (Value, Tensor) {
    let real = prompt.ids.len();
    let ids = (0..length).map(|i| i64::from(*prompt.ids.get(i).unwrap_or(&pad))).collect();
    let ids = ndarray::ArrayD::from_shape_vec(IxDyn(&[1, length]), ids).unwrap();
    let mask = (0..length).map(|i| if i < real { 1.0 } else { 0.0 }).collect();
    (ids.into(), tensor(&[1, length], mask).unwrap())
}

#[test]
fn prefix_and_step_are_the_whole_prior() {
    let folder = tempfile::tempdir().unwrap();
    for runtime in RUNTIMES {
        let engine = tiny(folder.path(), runtime);
        let settings = engine.manifest().text.clip.clone();
        let [short, long] =
            prompts(&engine, ["a cat", "a photograph of a red cat that sits on a green chair"]);
        let mut whole = unsplit(folder.path(), Network::Prior, Component::PriorStep, runtime);
        let mut noise = TorchCpu::new(1);
        for t in [999.0, 416.0, 0.0] {
            let x = noise.normal(&[2, engine.manifest().latent.embed]).unwrap();
            let time = tensor(&[2], vec![t; 2]).unwrap();
            engine
                .with_networks(|networks| {
                    // Full length, padding and all, as the reference runs it.
                    let full: Vec<ClipText> = [&short, &long]
                        .map(|prompt| full_clip(networks, prompt, settings.max_tokens, settings.pad))
                        .into();
                    let inputs = [
                        ("hidden", concat(&[full[0].hidden.clone(), full[1].hidden.clone()], 0)?.into()),
                        ("pooled", concat(&[full[0].pooled.clone(), full[1].pooled.clone()], 0)?.into()),
                        ("mask", concat(&[full[0].mask.clone(), full[1].mask.clone()], 0)?.into()),
                        ("x", x.clone().into()),
                        ("t", time.clone().into()),
                    ];
                    let expected = only(whole.as_mut(), &inputs);
                    // Each prompt trimmed to a length of its own, then joined.
                    let a = text::clip(networks, std::slice::from_ref(&short))?;
                    let b = text::clip(networks, std::slice::from_ref(&long))?;
                    assert!(
                        a.hidden.shape()[1] < b.hidden.shape()[1]
                            && b.hidden.shape()[1] < settings.max_tokens
                    );
                    let joined = prior::prefix(networks, &a)?.joined(&prior::prefix(networks, &b)?)?;
                    let ours = prior::step(networks, &x, &time, &joined)?;
                    close(&format!("{runtime} x0 at {t}"), &ours, &expected, TOLERANCE).unwrap();
                    Ok(())
                })
                .unwrap();
        }
    }
}

fn full_clip(networks: &mut Networks, prompt: &Tokens, length: usize, pad: u32) -> ClipText {
    let (ids, mask) = padded(prompt, length, pad);
    let [hidden, pooled] =
        networks.call_f32(Component::TextEncoder, &[("ids", (&ids).into())], ["hidden", "pooled"]).unwrap();
    ClipText { hidden, pooled, mask }
}

#[test]
fn context_film_and_step_are_the_whole_unet() {
    let folder = tempfile::tempdir().unwrap();
    for runtime in RUNTIMES {
        let engine = tiny(folder.path(), runtime);
        for (kind, which) in
            [(Network::Unet, UnetVariant::Draw), (Network::InpaintUnet, UnetVariant::Inpaint)]
        {
            let mut whole = unsplit(folder.path(), kind, which.step_graph(), runtime);
            let latent = engine.manifest().latent.clone();
            let channels =
                if which == UnetVariant::Draw { latent.unet_channels } else { 2 * latent.channels + 1 };
            let mut noise = TorchCpu::new(2);
            let sample = noise.normal(&[2, channels, 16, 24]).unwrap();
            let image = noise.normal(&[2, latent.embed]).unwrap();
            // Each row at a time of its own.
            let times = tensor(&[2], vec![981.0, 41.0]).unwrap();
            engine
                .with_networks(|networks| {
                    let prompts = ["рыжий кот", ""].map(|p| engine.tokenizers().multilingual(p).unwrap());
                    let text = text::multilingual(networks, &prompts)?;
                    let inputs = [
                        ("text_hidden", text.hidden.clone().into()),
                        ("text_pooled", text.pooled.clone().into()),
                        ("image_embed", image.clone().into()),
                        ("t", times.clone().into()),
                        ("sample", sample.clone().into()),
                    ];
                    let expected = only(whole.as_mut(), &inputs);
                    let context = unet::context(networks, which, &text, &image)?;
                    let film = unet::film(networks, which, &times, &context.aug)?; // (T, B, C)
                    let own = |row: usize| slice(&film.index_axis(Axis(0), row).to_owned(), 0, row, row + 1);
                    let film = concat(&[own(0)?, own(1)?], 0)?; // (B, C)
                    let given =
                        StepInputs { sample: sample.view(), film: film.view(), context: context.rows() };
                    let ours = unet::step(networks, which, &given)?;
                    close(&format!("{runtime} {kind:?}"), &ours, &expected, TOLERANCE).unwrap();
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn trimmed_prompts_and_repeated_padding_are_the_padded_encoders() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["", "кот", "a photograph of a red cat", "кот ".repeat(90).trim_end()].map(str::to_owned);
    for runtime in RUNTIMES {
        let engine = tiny(folder.path(), runtime);
        let settings = engine.manifest().text.clone();
        for prompt in &words {
            let clip = engine.tokenizers().clip(prompt).unwrap();
            let multilingual = engine.tokenizers().multilingual(prompt).unwrap();
            engine
                .with_networks(|networks| {
                    let full = full_clip(networks, &clip, settings.clip.max_tokens, settings.clip.pad);
                    let ours = text::clip(networks, std::slice::from_ref(&clip))?;
                    let real = |hidden: &Tensor| slice(hidden, 1, 0, clip.ids.len());
                    let name = |what: &str| format!("{runtime} {what} of {} tokens", clip.ids.len());
                    close(&name("hidden"), &real(&ours.hidden)?, &real(&full.hidden)?, TOLERANCE).unwrap();
                    close(&name("pooled"), &ours.pooled, &full.pooled, TOLERANCE).unwrap();
                    let length = settings.multilingual.max_tokens;
                    let (ids, mask) = padded(&multilingual, length, settings.multilingual.pad);
                    let inputs = [("ids", (&ids).into()), ("mask", (&mask).into())];
                    let outputs = ["hidden", "pooled"];
                    let [hidden, pooled] =
                        networks.call_f32(Component::MultilingualEncoder, &inputs, outputs)?;
                    let MultilingualText { hidden: own, pooled: own_pooled } =
                        text::multilingual(networks, std::slice::from_ref(&multilingual))?;
                    close(&name("multilingual hidden"), &own, &hidden, TOLERANCE).unwrap();
                    close(&name("multilingual pooled"), &own_pooled, &pooled, TOLERANCE).unwrap();
                    Ok(())
                })
                .unwrap();
        }
    }
}
