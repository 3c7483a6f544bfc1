//! Every rewrite of the drawing gives the numbers of the drawing without it, on both runtimes, and can be told from
//! the manifest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::as_conversions, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "of what the tests share, a part is used here")]

mod common {
    pub mod golden;
    pub mod model;
}

use common::{golden, model};
use kandinsky::rng::{Normals, TorchCpu};
use kandinsky::runtime::{self, GraphSource, RuntimeOptions};
use kandinsky::tensor::{Tensor, Value};
use kandinsky_export::{Checkpoint, Origin, Request, Rewrite, Rewrites};
use kandinsky_models::manifest::{Dtype, F32_REWRITES, Port};
use kandinsky_models::{Component, Folder};
use ndarray::{ArrayD, Axis, IxDyn};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Greatest difference over the greatest value.
const TOLERANCE: f32 = 1e-5;
/// The runtimes that are compared.
const RUNTIMES: [&str; 2] = ["ort", "tract"];

/// Outputs by graph and name.
type Outputs = BTreeMap<(Component, String), Tensor>;

#[test]
fn every_rewrite_gives_the_numbers_of_the_drawing_without_it() {
    let root = tempfile::tempdir().unwrap();
    let plain = export(&root.path().join("plain"), &Rewrites::none());
    let expected = RUNTIMES.map(|runtime| outputs(&plain, runtime));
    for rewrite in Rewrite::ALL {
        let folder = export(&root.path().join(rewrite.name()), &Rewrites::none().with(rewrite));
        let changed = graphs_that_differ(&plain, &folder);
        assert!(!changed.is_empty(), "{} changes no graph", rewrite.name());
        for (runtime, expected) in RUNTIMES.into_iter().zip(&expected) {
            compare(rewrite.name(), runtime, expected, &outputs(&folder, runtime));
        }
    }
    let all = Rewrite::ALL.into_iter().fold(Rewrites::none(), Rewrites::with);
    for (name, rewrites) in [("default", Rewrites::default()), ("all", all)] {
        let folder = export(&root.path().join(name), &rewrites);
        assert_eq!(Folder::open(&folder).unwrap().manifest().rewrites, rewrites.names());
        for (runtime, expected) in RUNTIMES.into_iter().zip(&expected) {
            compare(name, runtime, expected, &outputs(&folder, runtime));
        }
    }
}

#[test]
fn a_model_for_f32_alone_is_known_by_its_rewrites() {
    let root = tempfile::tempdir().unwrap();
    for (rewrites, expected) in [
        (Rewrites::default(), None),
        (Rewrites::default().with(Rewrite::Winograd), Some(Rewrite::Winograd.name().to_owned())),
    ] {
        let folder = export(&root.path().join(rewrites.names().concat()), &rewrites);
        let manifest = Folder::open(&folder).unwrap().manifest().clone();
        let options = kandinsky::ahead::fitted(&RuntimeOptions::default(), &manifest).unwrap();
        assert_eq!(options.f32_only, expected);
    }
    for name in F32_REWRITES {
        assert!(Rewrite::named(name).unwrap().facts().doc.ends_with("f32 only"));
    }
}

fn compare(what: &str, runtime: &str, expected: &Outputs, found: &Outputs) {
    for ((component, name), expected) in expected {
        let found = &found[&(*component, name.clone())];
        assert_eq!(found.shape(), expected.shape(), "{what}: {component} {name}");
        let size = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let distance =
            expected.iter().zip(found).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / size;
        println!("{what:<17} {runtime:<6} {component:<21} {name:<8} {distance:.1e}");
        assert!(distance <= TOLERANCE, "{what} on {runtime}: {component} {name} differs by {distance}");
    }
}

fn export(out: &Path, rewrites: &Rewrites) -> PathBuf {
    let mut request = Request::new(Checkpoint::find(&golden::directory().join("configs")).unwrap(), out);
    request.origin = Origin::Synthetic(model::SEED);
    request.rewrites = rewrites.clone();
    kandinsky_export::export(&request, &mut |_| Ok(())).unwrap_or_else(|e| panic!("{e}"));
    out.to_owned()
}

fn graphs_that_differ(a: &Path, b: &Path) -> Vec<String> {
    let hashes = |folder: &Path| -> BTreeMap<String, String> {
        let specs = Folder::open(folder).unwrap().manifest().components.clone();
        specs.into_iter().map(|(name, spec)| (name, spec.graph.sha256)).collect()
    };
    let (a, b) = (hashes(a), hashes(b));
    b.into_iter().filter(|(name, hash)| a.get(name) != Some(hash)).map(|(name, _)| name).collect()
}

/// What the graphs give of made-up inputs. A UNet's steps get the film that its own graph made, which a rewrite
/// shares out otherwise, and the shallow step what the step before gave of the deep levels: then it gives the same.
fn outputs(folder: &Path, runtime: &str) -> Outputs {
    let opened = Folder::open(folder).unwrap();
    let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
    let runtime = runtime::select(&options).unwrap().runtime;
    let (mut all, mut carried) = (Outputs::new(), BTreeMap::new());
    for component in Component::ALL {
        let Some(spec) = opened.manifest().components.get(component.name()).cloned() else { continue };
        let path = opened.root().join(&spec.graph.path);
        let inputs: Vec<(String, Value)> = spec
            .inputs
            .iter()
            .map(|port| {
                (port.name.clone(), carried.get(&port.name).cloned().unwrap_or_else(|| made_up(port)))
            })
            .collect();
        let inputs: Vec<(&str, Value)> = inputs.iter().map(|(n, v)| (n.as_str(), v.clone())).collect();
        let found = runtime.open(&GraphSource { component, path, spec }).unwrap().run(&inputs).unwrap();
        for (name, value) in found {
            let Ok(tensor) = value.into_f32() else { continue };
            match name.as_str() {
                "film" => drop(carried.insert(name, tensor.index_axis(Axis(0), 0).to_owned().into())),
                "deep" => drop(carried.insert(name, tensor.into())),
                _ if component == Component::UnetShallow => {
                    all.insert((Component::UnetStep, name), tensor);
                }
                _ => drop(all.insert((component, name), tensor)),
            }
        }
    }
    all
}

/// Numbers for an input: two rows, five tokens, pictures that are not square.
fn made_up(port: &Port) -> Value {
    let shape: Vec<usize> = port.shape.iter().map(|text| side(text)).collect();
    let count = shape.iter().product::<usize>();
    if port.dtype == Dtype::I64 {
        let ids = (0..count).map(|i| (i * 7 % 90 + 5) as i64).collect();
        return ArrayD::from_shape_vec(IxDyn(&shape), ids).unwrap().into();
    }
    let numbers = match port.name.as_str() {
        "mask" => (0..count).map(|i| if i + 2 >= count { 0.0 } else { 1.0 }).collect(),
        "t" => (0..count).map(|i| 999.0 / (1.0 + i as f32)).collect(),
        _ => return TorchCpu::new(7).normal(&shape).unwrap().into(),
    };
    Tensor::from_shape_vec(IxDyn(&shape), numbers).unwrap().into()
}

fn side(text: &str) -> usize {
    let factor = |text: &str| text.split('*').next().unwrap().parse::<usize>().unwrap_or(1);
    match text {
        "batch" => 2,
        "steps" => 3,
        text if text.ends_with('h') => 4 * factor(text),
        text if text.ends_with('w') => 3 * factor(text),
        text if text.starts_with("tokens") => {
            5 + text.split('+').nth(1).map_or(0, |more| more.parse().unwrap())
        }
        text => text.parse().unwrap(),
    }
}
