//! `kandinsky bench`: its JSON on both runtimes, what it refuses, and its counts against counts by hand.

use kandinsky_models::{Component, Folder, operations};
use kandinsky_testing::EMOJI;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

const STAGES: [&str; 23] = [
    "open.text_encoder",
    "open.multilingual_encoder",
    "open.prior_prefix",
    "open.prior_step",
    "open.unet_context",
    "open.unet_film",
    "open.unet_step",
    "open.movq_decoder",
    "tokenise",
    "encode.clip",
    "encode.multilingual",
    "encode.texts",
    "encode.again",
    "prior.prefix",
    "prior.step",
    "prior.steps",
    "prior.all",
    "unet.context",
    "unet.film",
    "unet.step",
    "movq.decode",
    "first_step",
    "picture",
];

/// A benchmark that is over soon.
fn bench(folder: &Path, runtime: &str, extra: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
    command.current_dir(folder).env("KANDINSKY_CACHE", folder.join("cache"));
    command.args(["bench", "--model", EMOJI, "--runtime", runtime, "--size", "64x64"]);
    command.args(["--steps", "3", "--prior-steps", "2"]).args(extra).output().unwrap()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = report["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name);
    found.unwrap_or_else(|| panic!("there is no stage {name}"))
}

#[test]
fn the_json_of_bench_has_every_stage_and_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    for runtime in ["ort", "tract"] {
        let report = report(&bench(folder.path(), runtime, &["--repeat", "3", "--json"]));
        let names: Vec<_> =
            report["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, STAGES, "{runtime}");
        describes(&report, runtime);
        report["stages"].as_array().unwrap().iter().for_each(|stage| is_plausible(stage, &report));
        adds_up(&report);
    }
}

fn describes(report: &Value, runtime: &str) {
    assert_eq!(
        (report["schema"].as_str(), report["schema_version"].as_u64()),
        (Some("kandinsky-bench"), Some(1))
    );
    let said = report["versions"]["runtime"].as_str().unwrap();
    assert!(said.contains(if runtime == "ort" { "onnx runtime" } else { "tract" }), "{said}");
    assert_eq!(report["versions"]["kandinsky"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["model"]["name"], "emoji");
    assert_eq!(report["model"]["sha256"].as_str().unwrap().len(), 64);
    let settings = &report["settings"];
    let numbers = ["width", "height", "steps", "prior_steps", "repeat"].map(|name| number(&settings[name]));
    assert_eq!(numbers, [64.0, 64.0, 3.0, 2.0, 3.0]);
    assert!(report["command"].as_array().unwrap().iter().any(|word| word == "bench"));
    let machine = &report["machine"];
    assert!(number(&machine["threads"]) >= 1.0 && number(&machine["cores"]) >= 1.0);
    assert!(number(&machine["peak"]["flop_per_second"]) > 1e8, "{machine}");
    assert!(number(&machine["peak"]["read_bytes_per_second"]) > 1e8, "{machine}");
    assert!(report["operators"].is_null());
}

fn is_plausible(stage: &Value, report: &Value) {
    let seconds = &stage["seconds"];
    let runs: Vec<f64> = seconds["runs"].as_array().unwrap().iter().map(number).collect();
    let [least, median, most] = ["least", "median", "most"].map(|name| number(&seconds[name]));
    assert!(
        runs.len() == 3 && runs.contains(&median) && 0.0 < least && least <= median && median <= most,
        "{stage}"
    );
    if cfg!(target_os = "linux") {
        assert!(number(&stage["anonymous_bytes"]) > 1e6, "{stage}");
    }
    if let Some(peak) = stage["peak_bytes"].as_f64() {
        assert!(peak >= number(&stage["anonymous_bytes"]), "{stage}");
    }
    let Some(flop) = stage["flop"].as_f64() else {
        let name = stage["name"].as_str().unwrap();
        assert!(name.starts_with("open.") || ["tokenise", "encode.again"].contains(&name), "{stage}");
        return;
    };
    let speed = number(&stage["flop_per_second"]);
    assert!((speed * median / flop - 1.0).abs() < 1e-9, "{stage}");
    let peak = number(&report["machine"]["peak"]["flop_per_second"]);
    assert!((number(&stage["share_of_peak"]) * peak / speed - 1.0).abs() < 1e-9, "{stage}");
}

/// Whole stages take the operations of their parts: three steps, guided, and what runs once.
fn adds_up(report: &Value) {
    let flop = |name: &str| number(&stage(report, name)["flop"]);
    assert_eq!(flop("prior.steps"), 2.0 * flop("prior.step"));
    let prefixes = flop("prior.all") - flop("prior.steps");
    // The empty prompt's is as long as its two ends.
    assert!((1.0..2.0).contains(&(prefixes / flop("prior.prefix"))), "{prefixes}");
    let encoders = flop("encode.clip") + flop("encode.multilingual");
    assert_eq!(flop("encode.texts"), encoders + prefixes);
    let texts = flop("encode.texts") + flop("prior.steps");
    assert_eq!(flop("first_step"), texts + flop("unet.context") + flop("unet.film"));
    let steps = 3.0 * flop("unet.step");
    assert_eq!(flop("picture"), flop("first_step") + steps + flop("movq.decode"));
    let bytes = |name: &str| number(&stage(report, name)["weight_bytes"]);
    let opened: f64 = STAGES.iter().filter(|name| name.starts_with("open.")).map(|name| bytes(name)).sum();
    assert_eq!(bytes("picture"), opened);
    assert!(number(&stage(report, "unet.step")["weight_bytes_read"]) <= bytes("unet.step") * 1.05);
}

#[test]
fn json_goes_to_a_file_and_the_table_to_people() {
    let folder = tempfile::tempdir().unwrap();
    let extra = ["--stages", "unet.film,encode", "--repeat", "1", "--json=bench.json"];
    let output = bench(folder.path(), "tract", &extra);
    let table = String::from_utf8_lossy(&output.stdout);
    for word in ["tract", "GFLOP/s", "unet.film", "encode.again", "64x64", "GB/s read"] {
        assert!(table.contains(word), "{word:?} is not in {table}");
    }
    let written = std::fs::read(folder.path().join("bench.json")).unwrap();
    let report: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(report["stages"].as_array().unwrap().len(), 5);
    assert_eq!(stage(&report, "unet.film")["graphs"][0], "unet_film");
    let nowhere = bench(folder.path(), "tract", &["--json=none/bench.json"]);
    assert_eq!(nowhere.status.code(), Some(10), "{}", String::from_utf8_lossy(&nowhere.stderr));
}

#[test]
fn operators_are_profiled_on_request_a_graph_once() {
    let folder = tempfile::tempdir().unwrap();
    let extra =
        ["--stages", "movq,unet.step,encode.clip,encode.texts", "--repeat", "1", "--profile", "--json"];
    let report = report(&bench(folder.path(), "ort", &extra));
    let found = report["operators"].as_array().unwrap();
    let graphs: Vec<_> = found.iter().map(|one| one["graph"].as_str().unwrap()).collect();
    assert_eq!(graphs, ["text_encoder", "multilingual_encoder", "prior_prefix", "unet_step", "movq_decoder"]);
    for one in found {
        let rows = one["operators"].as_array().unwrap();
        let share: f64 = rows.iter().map(|row| number(&row["share"])).sum();
        assert!((0.9..=1.000_001).contains(&share) && rows.len() <= 20, "{one}");
        assert!(
            rows.iter().any(|row| ["MatMul", "Conv", "Gemm"].contains(&row["operator"].as_str().unwrap()))
        );
        assert!(rows.is_sorted_by(|a, b| number(&a["seconds"]) >= number(&b["seconds"])), "{one}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (extra, words) in [
        (["--stages", "unet.stepp"], ["unet.stepp", "movq.decode"]),
        (["--repeat", "0"], ["repeat is 0", "1 to 1000"]),
        (["--size", "8x8"], ["width is 8", "64 to 2048"]),
        (["--profile", "--stages=movq"], ["only onnx runtime", "tract"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kandinsky"));
        command.env("KANDINSKY_CACHE", folder.path()).args(["bench", "--model", EMOJI, "--runtime", "tract"]);
        let output = command.args(extra).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{extra:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{extra:?}: {said}");
    }
}

fn counted(component: Component, shapes: &[(&str, &[usize])]) -> operations::Operations {
    let folder = Folder::open(Path::new(EMOJI)).unwrap();
    let graph = folder.check_graph(folder.graph(component).unwrap()).unwrap().graph.unwrap();
    let shapes: BTreeMap<_, _> =
        shapes.iter().map(|(name, dims)| ((*name).to_owned(), dims.to_vec())).collect();
    operations::count(&graph, &shapes).unwrap_or_else(|e| panic!("{component}: {e}"))
}

/// CLIP's text encoder of the emoji model: 4 layers of width 192 with 768 in the middle.
#[test]
fn a_transformer_has_the_operations_that_are_counted_by_hand() {
    for tokens in [8_usize, 77] {
        let found = counted(Component::TextEncoder, &[("ids", &[1, tokens])]);
        let (width, middle) = (192, 768);
        let layer = tokens * (4 * width * width + 2 * width * middle) + 2 * tokens * tokens * width;
        let by_hand = 2 * (4 * layer + width * width);
        assert_eq!(found.flop, u64::try_from(by_hand).unwrap(), "{tokens}");
        // Linear maps are Gemm, attention is MatMul; nothing else multiplies.
        assert_eq!(found.flop, found.by_operator["Gemm"] + found.by_operator["MatMul"]);
    }
}

#[test]
fn operations_grow_as_rows_and_pixels_do() {
    let unet = |rows: usize, side: usize| {
        let folder = Folder::open(Path::new(EMOJI)).unwrap();
        let spec = folder.graph(Component::UnetStep).unwrap();
        let port = |name: &str| spec.inputs.iter().find(|port| port.name == name).unwrap();
        let (film, heads, head) =
            (port("film").fixed(1).unwrap(), port("k").fixed(1).unwrap(), port("k").fixed(3).unwrap());
        let channels = port("sample").fixed(1).unwrap();
        let kv = [rows, heads, 87, head];
        let shapes: [(&str, &[usize]); 4] =
            [("sample", &[rows, channels, side, side]), ("film", &[rows, film]), ("k", &kv), ("v", &kv)];
        counted(Component::UnetStep, &shapes)
    };
    let (one, two, large) = (unet(1, 16), unet(2, 16), unet(1, 32));
    assert_eq!((two.flop, two.weight_bytes), (2 * one.flop, one.weight_bytes));
    assert_eq!(large.by_operator["Conv"], 4 * one.by_operator["Conv"]);
    assert!(large.by_operator["MatMul"] > 4 * one.by_operator["MatMul"], "attention grows with the square");
}

#[test]
fn every_graph_of_the_bundled_model_can_be_counted() {
    let decoder = counted(Component::MovqDecoder, &[("latents", &[1, 4, 8, 8])]);
    let encoder = counted(Component::MovqEncoder, &[("pixels", &[1, 3, 64, 64])]);
    let image = counted(Component::ImageEncoder, &[("pixels", &[1, 3, 64, 64])]);
    let quantiser = counted(Component::MovqQuantize, &[("latents", &[1, 4, 8, 8])]);
    assert!(
        [&decoder, &encoder, &image, &quantiser].iter().all(|count| count.flop > 0 && count.weight_bytes > 0)
    );
    assert!(decoder.flop > encoder.flop, "the decoder is the larger half");
}
