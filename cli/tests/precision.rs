//! Tiers of precision: what each draws, what is chosen and said, and what is refused by name.

use kandinsky::internal::runtime::precision::{Precision, bf16_feature};
use kandinsky::internal::runtime::{self, GraphSource};
use kandinsky::internal::tensor::Value;
use kandinsky::{RuntimeOptions, Tensor};
use kandinsky_models::manifest::WAVES;
use kandinsky_models::{Component, Folder};
use kandinsky_testing::EMOJI;
use kandinsky_testing::made_up;
use kandinsky_testing::made_up::relative;
use kandinsky_testing::skips::skipped;
use kandinsky_testing::{model, onnx};
use ndarray::{ArrayD, IxDyn};
use prost::Message;
use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_kandinsky");

/// The program drawing a small picture to `file` with some more arguments.
fn draw(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["generate", "a red apple", "--seed", "7", "--steps", "6", "--prior-steps", "4", "--json"]);
    command.args(["--model", EMOJI, "-o"]).arg(file);
    command.args(arguments).output().unwrap()
}

fn drawn(file: &Path, arguments: &[&str]) -> String {
    let output = draw(file, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
    said
}

fn refusal(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = draw(&folder.path().join("a.png"), arguments);
    assert!(!output.status.success(), "{arguments:?} drew a picture");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Largest and mean difference of two pictures, of 255.
fn distance(one: &Path, other: &Path) -> (i32, f64) {
    let pixels = |file: &Path| image::open(file).unwrap().into_rgb8().into_raw();
    let (one, other) = (pixels(one), pixels(other));
    assert_eq!(one.len(), other.len());
    let differences = || one.iter().zip(&other).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs());
    let count = u32::try_from(one.len()).unwrap();
    (differences().max().unwrap(), f64::from(differences().sum::<i32>()) / f64::from(count))
}

#[test]
fn openvino_draws_the_same_picture_in_f32() {
    assert!(
        std::env::var_os("OPENVINO_DYLIB_PATH").is_some(),
        "OPENVINO_DYLIB_PATH names no library; scripts/test.sh installs it"
    );
    let folder = tempfile::tempdir().unwrap();
    let [ort, openvino] = ["ort", "openvino"].map(|name| folder.path().join(format!("{name}.png")));
    drawn(&ort, &["--runtime", "ort"]);
    let said = drawn(&openvino, &["--runtime", "openvino"]);
    assert!(said.contains("(cpu, f32, "), "{said}");
    let (most, _) = distance(&ort, &openvino);
    assert!(most <= 1, "a pixel differs by {most}");
}

#[test]
fn bf16_draws_nearly_the_same_picture_or_says_what_it_needs() {
    if bf16_feature().is_none() {
        let said = refusal(&["--precision", "bf16"]);
        assert!(said.contains("bf16 needs a processor with amx_bf16, avx512_bf16"), "{said}");
        skipped("drawing in bf16 needs a processor with amx_bf16 or avx512_bf16; the refusal was tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [f32, bf16] = ["f32", "bf16"].map(|name| folder.path().join(format!("{name}.png")));
    drawn(&f32, &["--runtime", "openvino"]);
    let said = drawn(&bf16, &["--precision", "bf16"]);
    assert!(said.contains("openvino") && said.contains("(cpu, bf16, "), "{said}");
    let (_, mean) = distance(&f32, &bf16);
    assert!(mean > 0.0, "bf16 was not used: every pixel is the same");
    assert!(mean < 6.0, "the pictures differ by {mean} on average");
}

/// What a graph of a folder gives for the inputs that `given` knows, and made-up others.
fn outputs(
    folder: &Path,
    component: Component,
    tier: (&str, Precision),
    given: impl Fn(&str) -> Option<Value>,
) -> Vec<(String, Value)> {
    let folder = Folder::open(folder).unwrap();
    let spec = folder.graph(component).unwrap().clone();
    let path = folder.root().join(&spec.graph.path);
    run(&GraphSource { component, path, spec }, tier, given)
}

fn run(
    source: &GraphSource,
    (runtime, precision): (&str, Precision),
    given: impl Fn(&str) -> Option<Value>,
) -> Vec<(String, Value)> {
    let options = RuntimeOptions { runtime: runtime.to_owned(), precision, ..Default::default() };
    let runtime = runtime::select(&options).unwrap().runtime;
    made_up::run(runtime.as_ref(), source, given).unwrap()
}

/// The times of the tests, for the input of that name.
fn at_times(name: &str) -> Option<Value> {
    (name == "t").then(|| Tensor::from_shape_vec(IxDyn(&[TIMES.len()]), TIMES.to_vec()).unwrap().into())
}

/// What the graph of scales and shifts of a folder gives at some times: the waves where it has them, and the film.
fn film(folder: &Path, tier: (&str, Precision)) -> (Option<Tensor>, Tensor) {
    let mut given = outputs(folder, Component::UnetFilm, tier, at_times);
    let mut take = |name: &str| {
        let place = given.iter().position(|(found, _)| found == name)?;
        let Value::F32(tensor) = given.swap_remove(place).1 else { panic!("{name} is not f32") };
        Some(tensor)
    };
    (take(WAVES), take("film").unwrap())
}

/// What others are compared with.
const F32: (&str, Precision) = ("ort", Precision::F32);
const TIMES: [f32; 4] = [999.0, 541.0, 340.5, 1.0];

#[test]
fn times_are_embedded_in_f32_in_every_tier() {
    let bf16 = bf16_feature().map(|_| ("openvino", Precision::Bf16, 1e-2));
    let tiers =
        [("ort", Precision::F32, 1e-6), ("tract", Precision::F32, 1e-5), ("openvino", Precision::F32, 1e-5)];
    let (_, expected) = film(&model::TINY, F32);
    for (runtime, precision, limit) in tiers.into_iter().chain(bf16) {
        let (waves, film) = film(&model::TINY, (runtime, precision));
        let waves = waves.expect("a graph exported here has waves");
        let half = waves.shape()[1] / 2;
        for (t, row) in TIMES.iter().zip(waves.outer_iter()) {
            for i in 0..half {
                let angle = f64::from(*t) * 10_000_f64.powf(-(i as f64) / half as f64);
                let (cos, sin) = (f64::from(row[i]), f64::from(row[half + i]));
                let worst = (cos - angle.cos()).abs().max((sin - angle.sin()).abs());
                assert!(worst < 2e-4, "{runtime} {precision}: at time {t}, wave {i} is off by {worst}");
            }
        }
        let distance = relative(&film, &expected);
        assert!(distance <= limit, "{runtime} {precision}: the film is {distance} away");
    }
}

/// The film that a graph gives which has no output of waves, as those that were exported before 0.2: the tiny model's
/// without that output.
fn film_without_waves(tier: (&str, Precision)) -> Tensor {
    let folder = Folder::open(&model::TINY).unwrap();
    let mut spec = folder.graph(Component::UnetFilm).unwrap().clone();
    let mut graph = onnx::read(&folder.root().join(&spec.graph.path));
    let outputs = &mut graph.graph.as_mut().unwrap().output;
    let before = outputs.len();
    outputs.retain(|output| output.name.as_deref() != Some(WAVES));
    assert_eq!(outputs.len(), before - 1, "the graph had no output of waves");
    spec.outputs.retain(|port| port.name != WAVES);
    // Beside the data that the graph names.
    let place = tempfile::tempdir().unwrap();
    let data = &spec.data.as_ref().unwrap().path;
    std::fs::copy(folder.root().join(data), place.path().join(data)).unwrap();
    let path = place.path().join(&spec.graph.path);
    std::fs::write(&path, graph.encode_to_vec()).unwrap();
    let mut found = run(&GraphSource { component: Component::UnetFilm, path, spec }, tier, at_times);
    assert_eq!(found.len(), 1);
    found.remove(0).1.into_f32().unwrap()
}

#[test]
fn graphs_without_waves_are_computed_in_f32() {
    let expected = film(&model::TINY, F32).1;
    let tiers = [Some(Precision::F32), bf16_feature().map(|_| Precision::Bf16)];
    for precision in tiers.into_iter().flatten() {
        let distance = relative(&film_without_waves(("openvino", precision)), &expected);
        assert!(distance < 1e-5, "{precision}: the film is {distance} away");
    }
}

/// How far every output of a graph is from ONNX Runtime's in f32; integers must be equal.
fn far(component: Component, tier: (&str, Precision), given: impl Fn(&str) -> Option<Value>) -> f64 {
    let expected = outputs(&model::TINY, component, F32, &given);
    let found = outputs(&model::TINY, component, tier, &given);
    let one = |((name, expected), (_, found)): (&(String, Value), &(String, Value))| match (expected, found) {
        (Value::F32(expected), Value::F32(found)) => relative(found, expected),
        (Value::I64(expected), Value::I64(found)) => {
            assert!(expected == found, "{component}: {name} differs");
            0.0
        }
        _ => panic!("{component}: {name} has another type"),
    };
    expected.iter().zip(&found).map(one).fold(0.0, f64::max)
}

#[test]
fn bf16_is_near_in_every_graph_and_the_same_where_a_graph_chooses() {
    let Some(tier) = bf16_feature().map(|_| ("openvino", Precision::Bf16)) else {
        return skipped("bf16 needs a processor with amx_bf16 or avx512_bf16");
    };
    let folder = Folder::open(&model::TINY).unwrap();
    for component in Component::ALL.into_iter().filter(|component| folder.has(*component)) {
        let distance = far(component, tier, |_| None);
        println!("{component}: {distance:.1e}");
        assert!(distance < 5e-2, "{component}: {distance}");
    }
    // The start and the end of a text, which bf16 does not tell apart.
    let ids = ArrayD::from_shape_vec(IxDyn(&[1, 4]), vec![49_406, 736, 2_368, 49_407]).unwrap();
    let distance = far(Component::TextEncoder, tier, |_| Some(ids.clone().into()));
    assert!(distance < 1e-5, "the text encoder is {distance} away");
}

#[test]
fn auto_says_what_it_takes_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let said = drawn(&folder.path().join("a.png"), &["--precision", "auto"]);
    match bf16_feature() {
        Some(feature) => assert!(said.contains(&format!("bf16: the processor has {feature}")), "{said}"),
        None => assert!(said.contains("f32: the processor has none of"), "{said}"),
    }
    let said = drawn(&folder.path().join("b.png"), &["--precision", "auto", "--runtime", "tract"]);
    assert!(said.contains("f32: tract computes in nothing else"), "{said}");
}

#[test]
fn without_the_library_auto_is_f32_and_bf16_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let said = drawn(&folder.path().join("a.png"), &["--precision", "auto", "--openvino-library", "/none"]);
    assert!(said.contains("f32: the processor has"), "{said}");
    let said = refusal(&["--runtime", "openvino", "--openvino-library", "/none"]);
    assert!(said.contains("/none does not exist"), "{said}");
}

#[test]
fn what_a_runtime_does_not_compute_in_is_refused() {
    for (runtime, precision, reason) in [
        ("ort", "bf16", "ort does not compute in bf16; openvino does"),
        ("tract", "bf16", "tract does not compute in bf16; openvino does"),
        ("ort", "f16", "ort does not compute in f16; cuda and tensorrt do"),
        ("auto", "f16", "auto does not compute in f16; cuda and tensorrt do"),
        ("openvino", "f16", "openvino does not compute in f16; cuda and tensorrt do"),
    ] {
        let said = refusal(&["--runtime", runtime, "--precision", precision]);
        assert!(said.contains(reason), "{runtime} {precision}: {said}");
    }
}

#[test]
fn another_library_under_the_name_is_told_apart() {
    let ort = std::env::var("ORT_DYLIB_PATH")
        .expect("ORT_DYLIB_PATH names no library; scripts/test.sh installs it");
    let said = refusal(&["--runtime", "openvino", "--openvino-library", &ort]);
    assert!(said.contains("is not openvino: it has no ov_get_openvino_version"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libopenvino_c.so");
    std::fs::write(&file, "no library").unwrap();
    let said = refusal(&["--runtime", "openvino", "--openvino-library", file.to_str().unwrap()]);
    assert!(said.contains("is no library"), "{said}");
}
