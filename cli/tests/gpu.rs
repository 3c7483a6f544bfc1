//! GPU runtimes up to the point where a GPU is needed: what is said where there is none, the profiles that
//! engines are built for, and graphs bound to fixed addresses, which the CPU runs too.

use kandinsky::internal::prebuild;
use kandinsky::internal::rng::{Normals, TorchCpu};
use kandinsky::internal::runtime::ort::Ort;
use kandinsky::internal::runtime::profiled::Profiled;
use kandinsky::internal::runtime::provider::Provider;
use kandinsky::internal::runtime::shapes::Shapes;
use kandinsky::internal::runtime::{Graph, GraphSource, Runtime};
use kandinsky::internal::tensor::Value;
use kandinsky::{CancelToken, Engine, Kind, RuntimeOptions, Tensor};
use kandinsky_models::{Component, Folder};
use kandinsky_testing::EMOJI;
use kandinsky_testing::golden::directory;
use kandinsky_testing::made_up::lent;
use kandinsky_testing::model;
use kandinsky_testing::skips::skipped;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn options(runtime: &str) -> RuntimeOptions {
    RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() }
}

fn run(folder: &Path, arguments: &[&str]) -> (Output, Duration) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
    command.current_dir(folder).env("KANDINSKY_CACHE", folder.join("cache")).args(arguments);
    let start = Instant::now();
    (command.output().unwrap(), start.elapsed())
}

/// The library that the tests use, where it has no GPU providers beside it.
fn cpu_library() -> PathBuf {
    let library =
        PathBuf::from(std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH names onnx runtime"));
    let library = library.canonicalize().unwrap();
    assert!(
        !library.with_file_name("libonnxruntime_providers_cuda.so").exists(),
        "a library for the CPU is needed"
    );
    library
}

#[test]
fn without_the_provider_s_library_a_gpu_runtime_says_what_to_install_and_never_falls_back() {
    let folder = tempfile::tempdir().unwrap();
    let library = cpu_library();
    // The first call examines the library; what is found is remembered.
    run(folder.path(), &["doctor"]);
    for name in ["cuda", "tensorrt"] {
        let (output, took) = run(
            folder.path(),
            &["generate", "red apple", "--model", EMOJI, "--runtime", name, "-o", "a.png"],
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(Kind::NoRuntime.exit_code())), "{said}");
        let file = format!("libonnxruntime_providers_{name}.so is not beside {}", library.display());
        for word in [file.as_str(), name, "onnxruntime-gpu", "--ort-library", "NVIDIA's driver"] {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        assert_eq!(said.contains("TensorRT 10"), name == "tensorrt", "{said}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(!folder.path().join("a.png").exists());
    }
}

#[test]
fn with_the_provider_s_library_and_no_device_the_device_is_what_is_missing() {
    if Path::new("/dev/nvidiactl").exists() {
        skipped("it needs a machine without a GPU");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    std::fs::copy(cpu_library(), &library).unwrap();
    for name in ["cuda", "tensorrt"] {
        std::fs::write(folder.path().join(format!("libonnxruntime_providers_{name}.so")), "no library")
            .unwrap();
        let named = library.to_string_lossy();
        let (output, _) = run(folder.path(), &["verify", EMOJI, "--runtime", name, "--ort-library", &named]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(8), "{said}");
        assert!(said.contains("no NVIDIA device is"), "{said}");
    }
}

#[test]
fn doctor_tells_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (output, _) = run(folder.path(), &["doctor", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for name in ["cuda", "tensorrt"] {
        let runtime = found["runtimes"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
        assert_eq!(runtime["works"], false);
        let file = format!("libonnxruntime_providers_{name}.so is not beside");
        assert!(runtime["found"].as_str().unwrap().contains(&file), "{runtime}");
        assert!(runtime["advice"].as_str().unwrap().contains("onnxruntime-gpu"), "{runtime}");
    }
}

#[test]
fn only_tensorrt_is_prepared_ahead() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, word) in [
        (&["prepare", EMOJI][..], 2, "only tensorrt is prepared ahead"),
        (&["prepare", EMOJI, "--runtime", "cuda"], 2, "only tensorrt is prepared ahead"),
        (&["prepare", EMOJI, "--runtime", "tensorrt"], 8, "libonnxruntime_providers_tensorrt.so"),
        (&["prepare", "nowhere", "--runtime", "tensorrt"], 5, "nowhere"),
        (&["prepare", EMOJI, "--runtime", "tensorrt", "--builder-level", "6"], 2, "6"),
        (&["doctor", "--gpu-memory", "0"], 2, "0"),
        (&["doctor", "--conv-search", "lucky"], 2, "lucky"),
    ] {
        let (output, _) = run(folder.path(), arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    let tell: prebuild::Tell = Arc::new(|_: prebuild::Event<'_>| ());
    let error = prebuild::build(Path::new(EMOJI), &options("ort"), &CancelToken::default(), &tell);
    assert_eq!(error.unwrap_err().kind(), Kind::BadRequest);
}

#[test]
fn the_model_s_profile_covers_the_five_aspect_ratios_of_every_graph() {
    let folder = Folder::open(Path::new(EMOJI)).unwrap();
    let manifest = folder.manifest();
    let shapes = prebuild::fitted(&options("ort"), manifest).unwrap().shapes.unwrap();
    let (own, latent) = (&manifest.defaults, &manifest.latent);
    let multiple = latent.factor * latent.multiple;
    for component in Component::ALL.into_iter().filter(|component| folder.has(*component)) {
        let spec = folder.graph(component).unwrap();
        let [min, opt, max] = shapes.profile(component, spec).unwrap();
        for text in [&min, &opt, &max] {
            let names: Vec<&str> = text.split(',').map(|part| part.split(':').next().unwrap()).collect();
            let inputs: Vec<&str> = spec.inputs.iter().map(|port| port.name.as_str()).collect();
            assert_eq!(names, inputs, "{component}: {text}");
            assert!(text.split(',').all(|part| part.split(':').nth(1).unwrap().split('x').all(|n| n != "0")));
        }
    }
    let step = folder.graph(Component::UnetStep).unwrap();
    let channels = latent.unet_channels;
    for aspect in ["1:1", "2:3", "3:2", "9:16", "16:9"] {
        let size =
            kandinsky::internal::request::aspect_size(aspect, own.width * own.height, multiple).unwrap();
        let shape = [2, channels, size.height / latent.factor, size.width / latent.factor];
        shapes.check(Component::UnetStep, step, "sample", &shape).unwrap();
    }
    let square = [own.height / latent.factor, own.width / latent.factor];
    let [_, opt, _] = shapes.profile(Component::UnetStep, step).unwrap();
    assert!(opt.starts_with(&format!("sample:2x{channels}x{}x{},", square[0], square[1])), "{opt}");
    let large = [2, channels, 4 * square[0], square[1]];
    assert_eq!(
        shapes.check(Component::UnetStep, step, "sample", &large).unwrap_err().kind(),
        Kind::BadRequest
    );
}

/// The tiny model's denoising step, as it is and bound.
fn steps(folder: &Path) -> [Box<dyn Graph>; 2] {
    let path = folder.join("tiny");
    model::export(&directory(), &path);
    let opened = Folder::open(&path).unwrap();
    let spec = opened.graph(Component::UnetStep).unwrap().clone();
    let source =
        GraphSource { component: Component::UnetStep, path: opened.root().join(&spec.graph.path), spec };
    let ort = Ort::new(&options("ort"), Provider::Cpu).unwrap();
    [ort.open(&source).unwrap(), ort.open_bound(&source).unwrap()]
}

/// Inputs of a step by name.
fn inputs(folder: &Path, rows: usize, sides: [usize; 2], seed: u64) -> Vec<(String, Tensor)> {
    let opened = Folder::open(&folder.join("tiny")).unwrap();
    let spec = opened.graph(Component::UnetStep).unwrap();
    let mut random = TorchCpu::new(seed);
    let side = |text: &String| match text.as_str() {
        "batch" => rows,
        "tokens+10" => 87,
        text if text.ends_with("*h") => sides[0],
        text if text.ends_with("*w") => sides[1],
        text => text.parse().unwrap(),
    };
    let made = spec.inputs.iter().map(|port| {
        let shape: Vec<usize> = port.shape.iter().map(side).collect();
        (port.name.clone(), random.normal(&shape).unwrap())
    });
    made.collect()
}

fn given(inputs: &[(String, Tensor)], names: &[&str]) -> Vec<(&'static str, Value)> {
    let known = ["sample", "film", "k", "v"];
    let chosen = inputs.iter().filter(|(name, _)| names.contains(&name.as_str()));
    chosen.map(|(name, x)| (*known.iter().find(|k| *k == name).unwrap(), x.clone().into())).collect()
}

fn out(graph: &mut dyn Graph, inputs: &[(&str, Value)]) -> Tensor {
    graph.run(&lent(inputs)).unwrap().pop().unwrap().1.into_f32().unwrap()
}

const ALL: [&str; 4] = ["sample", "film", "k", "v"];

#[test]
fn a_bound_graph_gives_the_bits_of_an_unbound_one_shape_after_shape() {
    let folder = tempfile::tempdir().unwrap();
    let [mut plain, mut bound] = steps(folder.path());
    // More shapes than are captured, and each again with other numbers.
    let shapes: Vec<(usize, [usize; 2])> =
        (0..20).map(|i| (1 + i % 2, [8 * (1 + i / 4), 8 * (1 + i % 4)])).collect();
    for round in 0..2 {
        for (i, (rows, sides)) in shapes.iter().enumerate() {
            let inputs = inputs(folder.path(), *rows, *sides, round * 100 + i as u64);
            let inputs = given(&inputs, &ALL);
            assert_eq!(out(bound.as_mut(), &inputs), out(plain.as_mut(), &inputs), "{rows} {sides:?}");
        }
    }
}

#[test]
fn kept_inputs_hold_until_others_are_kept_or_given() {
    let folder = tempfile::tempdir().unwrap();
    let [mut plain, mut bound] = steps(folder.path());
    let [a, b] = [1, 2].map(|seed| inputs(folder.path(), 2, [16, 24], seed));
    let context = |inputs: &[(String, Tensor)]| [inputs[2].1.clone(), inputs[3].1.clone()];
    let mixed = |sample: &[(String, Tensor)], context: &[(String, Tensor)]| {
        let mut all = given(sample, &["sample", "film"]);
        all.extend(given(context, &["k", "v"]));
        all
    };
    assert!(!plain.keep(1, &[]).unwrap(), "a graph that is not bound keeps nothing");
    let short = given(&a, &["sample", "film"]);
    assert_eq!(bound.run(&lent(&short)).unwrap_err().kind(), Kind::Internal, "nothing was kept");
    let [k, v] = context(&a);
    assert!(bound.keep(7, &[("k", (&k).into()), ("v", (&v).into())]).unwrap());
    assert_eq!(out(bound.as_mut(), &short), out(plain.as_mut(), &given(&a, &ALL)));
    let other = given(&b, &["sample", "film"]);
    assert_eq!(out(bound.as_mut(), &other), out(plain.as_mut(), &mixed(&b, &a)));
    // The same id: what is given is not looked at.
    let [k, v] = context(&b);
    assert!(bound.keep(7, &[("k", (&k).into()), ("v", (&v).into())]).unwrap());
    assert_eq!(out(bound.as_mut(), &other), out(plain.as_mut(), &mixed(&b, &a)));
    assert!(bound.keep(8, &[("k", (&k).into()), ("v", (&v).into())]).unwrap());
    assert_eq!(out(bound.as_mut(), &other), out(plain.as_mut(), &given(&b, &ALL)));
    // Given outright, they take the place of what was kept.
    assert_eq!(out(bound.as_mut(), &given(&a, &ALL)), out(plain.as_mut(), &given(&a, &ALL)));
    assert!(bound.run(&lent(&other)).is_err());
    assert!(bound.keep(8, &[("k", (&k).into()), ("v", (&v).into())]).unwrap());
    assert_eq!(out(bound.as_mut(), &other), out(plain.as_mut(), &given(&b, &ALL)));
}

#[test]
fn a_graph_with_a_profile_runs_what_lies_within_it_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let [_, bound] = steps(folder.path());
    let opened = Folder::open(&folder.path().join("tiny")).unwrap();
    let spec = opened.graph(Component::UnetStep).unwrap().clone();
    let source = GraphSource { component: Component::UnetStep, path: PathBuf::new(), spec };
    let shapes = Shapes::new(vec![[16, 16], [8, 24]]).unwrap();
    let mut graph = Profiled::new(source, shapes, bound);
    out(&mut graph, &given(&inputs(folder.path(), 2, [8, 24], 1), &ALL));
    for (rows, sides) in [(9, [16, 16]), (2, [24, 16]), (2, [16, 32])] {
        let outside = inputs(folder.path(), rows, sides, 1);
        assert_eq!(graph.run(&lent(&given(&outside, &ALL))).unwrap_err().kind(), Kind::BadRequest);
    }
    let outside = inputs(folder.path(), 9, [16, 16], 1);
    assert!(graph.keep(1, &[("k", (&outside[2].1).into())]).is_err());
}

#[test]
fn a_bound_graph_refuses_what_breaks_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    let [_, mut bound] = steps(folder.path());
    let good = inputs(folder.path(), 2, [8, 8], 1);
    let mut unknown = given(&good, &ALL);
    unknown.push(("other", good[0].1.clone().into()));
    let mut odd = given(&good, &["film", "k", "v"]);
    odd.push(("sample", Tensor::zeros(ndarray::IxDyn(&[2, 5, 8, 8])).into()));
    let mut rows = given(&good, &["film", "k", "v"]);
    rows.push(("sample", inputs(folder.path(), 1, [8, 8], 1)[0].1.clone().into()));
    for (inputs, word) in
        [(unknown, "other"), (odd, "sample"), (rows, "batch"), (given(&good, &["sample"]), "film")]
    {
        let error = bound.run(&lent(&inputs)).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    out(bound.as_mut(), &given(&good, &ALL));
}

#[test]
fn a_portable_folder_opens_on_the_cpu_whatever_the_gpu_options_say() {
    let engine = |gpu: RuntimeOptions| Engine::open_with(EMOJI, &gpu).unwrap();
    let options = RuntimeOptions {
        device: 3,
        gpu_memory: Some(1 << 30),
        no_cuda_graph: true,
        tf32: true,
        builder_level: Some(5),
        ..options("ort")
    };
    assert!(engine(options).runtime().contains("cpu"));
}
