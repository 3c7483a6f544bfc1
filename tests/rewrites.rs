//! Every rewrite of the drawing gives the numbers of the drawing without it, on both runtimes, and can be told from
//! the manifest.

use kandinsky::internal::runtime::{self, GraphSource};
use kandinsky::internal::tensor::Value;
use kandinsky::{RuntimeOptions, Tensor};
use kandinsky_export::{Checkpoint, Request, Rewrite, Rewrites, WeightSource};
use kandinsky_models::manifest::F32_REWRITES;
use kandinsky_models::{Component, Folder};
use kandinsky_testing::RUNTIMES;
use kandinsky_testing::{golden, made_up, model};
use ndarray::Axis;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Greatest difference over the greatest value.
const TOLERANCE: f32 = 1e-5;
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
        let options = kandinsky::internal::prebuild::fitted(&RuntimeOptions::default(), &manifest).unwrap();
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
    request.origin = WeightSource::Synthetic(model::SEED);
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
    let (mut all, mut carried) = (Outputs::new(), BTreeMap::<String, Value>::new());
    for component in Component::ALL {
        let Some(spec) = opened.manifest().components.get(component.name()).cloned() else { continue };
        let path = opened.root().join(&spec.graph.path);
        let given = |name: &str| carried.get(name).cloned();
        let found = made_up::run(runtime.as_ref(), &GraphSource { component, path, spec }, given).unwrap();
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
