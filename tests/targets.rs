//! Graphs for GPUs, checked without one: their types, operators and attributes are what the providers ask
//! for, and they compute what the portable graphs compute.
//!
//! ONNX Runtime's CPU provider runs TensorRT's graphs as they are. Of CUDA's graphs the operators of ONNX
//! Runtime's own domain are written out in standard ones first.

use kandinsky::internal::runtime::{self, GraphSource};
use kandinsky::internal::tensor::Value;
use kandinsky::{Engine, Kind, RuntimeOptions};
use kandinsky_export::{Checkpoint, Request, Rewrites, WeightSource};
use kandinsky_models::manifest::{Port, Target};
use kandinsky_models::onnx::{CONTRIB, ModelProto, NodeProto, OPSET, OPSET_TENSORRT, data_type};
use kandinsky_models::{Component, Folder};
use kandinsky_testing::golden::directory;
use kandinsky_testing::made_up::relative;
use kandinsky_testing::onnx::{Kinds, attribute, kinds, op, read};
use kandinsky_testing::written_out;
use kandinsky_testing::{made_up, model};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Relative L2 of f16 against f32.
const TOLERANCE: f64 = 2e-2;

/// The tiny checkpoint, exported for every target; made once for all tests of this file.
fn folder(target: Target) -> &'static Path {
    static ROOT: OnceLock<(tempfile::TempDir, [PathBuf; 3])> = OnceLock::new();
    let (_, folders) = ROOT.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let folders = Target::ALL.map(|target| {
            let out = root.path().join(target.name());
            export(&directory(), target, &out);
            out
        });
        (root, folders)
    });
    let place = Target::ALL.iter().position(|t| *t == target).unwrap();
    &folders[place]
}

fn export(reference: &Path, target: Target, out: &Path) {
    let mut request = Request::new(Checkpoint::find(&reference.join("configs")).unwrap(), out);
    request.origin = WeightSource::Synthetic(model::SEED);
    request.target = target;
    // Rewrites share work out between graphs otherwise than graphs for GPUs do.
    request.rewrites = Rewrites::none();
    kandinsky_export::export_then(&request, &mut |_| Ok(()), &mut |folder| {
        kandinsky::internal::bake::constants(folder).map_err(Box::from)
    })
    .unwrap_or_else(|e| panic!("{}: {e}", target.name()));
}

/// The graphs of a folder.
fn graphs(target: Target) -> Vec<(Component, ModelProto)> {
    let folder = Folder::open(folder(target)).unwrap();
    let all = Component::ALL.into_iter().filter_map(|component| {
        let spec = folder.manifest().components.get(component.name())?;
        Some((component, read(&folder.root().join(&spec.graph.path))))
    });
    all.collect()
}

#[test]
fn a_folder_for_a_gpu_has_every_graph_and_the_constants_of_the_portable_one() {
    let portable = Folder::open(folder(Target::Portable)).unwrap();
    for target in [Target::Cuda, Target::TensorRt] {
        let other = Folder::open(folder(target)).unwrap();
        assert_eq!(other.manifest().target, target);
        let contracts = |folder: &Folder| -> BTreeMap<String, (Vec<Port>, Vec<Port>)> {
            let components = folder.manifest().components.clone();
            components.into_iter().map(|(name, spec)| (name, (spec.inputs, spec.outputs))).collect()
        };
        assert_eq!(contracts(&other), contracts(&portable));
        for spec in other.manifest().components.values() {
            other.check_graph(spec).unwrap();
        }
        let constants = |folder: &Folder| {
            let path = folder.locate(folder.file("constants").unwrap()).unwrap();
            kandinsky::internal::constants::Constants::read(&path).unwrap()
        };
        let (ours, theirs) = (constants(&other), constants(&portable));
        let distance = relative(&ours.zero_image.unwrap(), &theirs.zero_image.unwrap());
        assert!(distance < 1e-3, "{distance}: f16 weights alone may differ");
        assert_eq!(ours.clip_mean, theirs.clip_mean);
        assert!(ours.empty_clip.is_some() && ours.empty_multilingual.is_some() && ours.preview.is_some());
        assert!(!other.root().join("portable").exists());
    }
}

#[test]
fn graphs_for_tensorrt_are_strongly_typed_f16_of_standard_operators() {
    let allowed: BTreeSet<&str> = [
        "Add",
        "ArgMax",
        "ArgMin",
        "AveragePool",
        "Cast",
        "Concat",
        "Conv",
        "Cos",
        "Div",
        "Equal",
        "Erf",
        "Expand",
        "Gather",
        "GatherND",
        "Gemm",
        "GroupNormalization",
        "LayerNormalization",
        "MatMul",
        "Mul",
        "ReduceSum",
        "Reshape",
        "Resize",
        "Shape",
        "Sigmoid",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
    .into();
    for (component, model) in graphs(Target::TensorRt) {
        let sets: Vec<_> =
            model.opset_import.iter().map(|s| (s.domain.clone().unwrap(), s.version.unwrap())).collect();
        assert_eq!(sets, [(String::new(), OPSET_TENSORRT)], "{component}");
        let kinds = kinds(&model);
        let graph = model.graph.as_ref().unwrap();
        for node in &graph.node {
            assert!(node.domain.as_deref().unwrap_or_default().is_empty(), "{component}: {node:?}");
            assert!(allowed.contains(op(node)), "{component}: {}", op(node));
            let floats = floats_of(node, &kinds);
            if !matches!(op(node), "Cast" | "Resize") {
                assert!(floats.len() <= 1, "{component}: {} reads {floats:?}", node.name.as_deref().unwrap());
            }
        }
        if component != Component::MovqQuantize {
            check_wide_places(component, &model, &kinds);
        }
    }
}

/// What is computed in f32 of a graph whose floats are f16: normalisations, waves of time, one head's
/// scores, and the choice of the end of a text. Everything else that is f32 is a border.
fn check_wide_places(component: Component, model: &ModelProto, kinds: &Kinds) {
    let graph = model.graph.as_ref().unwrap();
    let one_head = matches!(component, Component::MovqEncoder | Component::MovqDecoder);
    let times = matches!(component, Component::PriorStep | Component::UnetFilm | Component::InpaintFilm);
    for node in &graph.node {
        let wide = node.output.iter().any(|name| kinds[name] == data_type::FLOAT);
        let place = match op(node) {
            "Cast" | "GroupNormalization" | "LayerNormalization" => true,
            "Sin" | "Cos" => times,
            "Unsqueeze" | "Concat" | "Mul" if times => {
                node.name.as_deref().unwrap().starts_with("time_embedding/")
            }
            "Mul" | "MatMul" | "Softmax" | "Transpose" | "Reshape" => one_head,
            _ => false,
        };
        assert!(!wide || place, "{component}: {} is f32", node.name.as_deref().unwrap());
        if matches!(op(node), "GroupNormalization" | "LayerNormalization") {
            assert!(wide, "{component}: {} is not f32", node.name.as_deref().unwrap());
        }
        if op(node) == "Softmax" && one_head {
            assert!(wide, "{component}: one head's scores are f16");
        }
    }
    let heavy = graph.node.iter().filter(|node| matches!(op(node), "Conv" | "Gemm" | "MatMul"));
    let (narrow, all) = heavy.fold((0, 0), |(narrow, all), node| {
        (narrow + usize::from(kinds[&node.output[0]] == data_type::FLOAT16), all + 1)
    });
    assert!(narrow > 0 && narrow + 2 * 8 >= all, "{component}: {narrow} of {all} products are f16");
}

fn floats_of(node: &NodeProto, kinds: &Kinds) -> BTreeSet<i32> {
    let float = |kind: &i32| matches!(*kind, data_type::FLOAT | data_type::FLOAT16);
    node.input.iter().filter_map(|name| kinds.get(name)).copied().filter(float).collect()
}

#[test]
fn queries_are_scaled_before_the_first_product() {
    for (component, model) in graphs(Target::TensorRt) {
        let graph = model.graph.unwrap();
        let giver = |name: &str| graph.node.iter().find(|n| n.output.iter().any(|o| o == name));
        for node in graph.node.iter().filter(|node| op(node) == "Softmax") {
            let mut scores = giver(&node.input[0]).unwrap();
            if op(scores) == "Add" {
                scores = giver(&scores.input[0]).unwrap();
            }
            assert_eq!(op(scores), "MatMul", "{component}");
            assert_eq!(op(giver(&scores.input[0]).unwrap()), "Mul", "{component}");
            assert_eq!(op(giver(&scores.input[1]).unwrap()), "Transpose", "{component}");
        }
    }
}

/// What a contrib operator of the CUDA provider takes: inputs with their types, and attributes.
struct Schema {
    op: &'static str,
    inputs: &'static [i32],
    outputs: usize,
    attributes: &'static [&'static str],
}

const HALF: i32 = data_type::FLOAT16;
const FULL: i32 = data_type::FLOAT;
const SCHEMAS: [Schema; 5] = [
    Schema {
        op: "GroupNorm",
        inputs: &[HALF, FULL, FULL],
        outputs: 1,
        attributes: &["activation", "channels_last", "epsilon", "groups"],
    },
    Schema {
        op: "SkipGroupNorm",
        inputs: &[HALF, FULL, FULL, HALF],
        outputs: 2,
        attributes: &["activation", "channels_last", "epsilon", "groups"],
    },
    Schema {
        op: "NhwcConv",
        inputs: &[HALF, HALF, HALF],
        outputs: 1,
        attributes: &["dilations", "group", "kernel_shape", "pads", "strides"],
    },
    Schema { op: "QuickGelu", inputs: &[HALF], outputs: 1, attributes: &["alpha"] },
    Schema { op: "MultiHeadAttention", inputs: &[HALF, HALF, HALF], outputs: 1, attributes: &["num_heads"] },
];

#[test]
fn graphs_for_cuda_use_its_operators_as_their_schemas_say() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (component, model) in graphs(Target::Cuda) {
        let sets: Vec<_> =
            model.opset_import.iter().map(|s| (s.domain.clone().unwrap(), s.version.unwrap())).collect();
        assert_eq!(sets, [(String::new(), OPSET), (CONTRIB.to_owned(), 1)], "{component}");
        let kinds = kinds(&model);
        let graph = model.graph.as_ref().unwrap();
        for node in graph.node.iter().filter(|node| node.domain.as_deref() == Some(CONTRIB)) {
            let name = node.name.as_deref().unwrap();
            let schema = SCHEMAS.iter().find(|schema| schema.op == op(node)).expect(name);
            let inputs: Vec<i32> = node.input.iter().map(|input| kinds[input]).collect();
            assert_eq!(inputs, schema.inputs, "{component}: {name}");
            assert_eq!(node.output.len(), schema.outputs, "{component}: {name}");
            let attributes: Vec<&str> = node.attribute.iter().map(|a| a.name.as_deref().unwrap()).collect();
            assert_eq!(attributes, schema.attributes, "{component}: {name}");
            check_values(node, graph);
            *counts.entry(format!("{component} {}", op(node))).or_default() += 1;
        }
        let left = ["InstanceNormalization", "GroupNormalization", "Conv"];
        let left = graph.node.iter().filter(|node| left.contains(&op(node))).count();
        assert_eq!(left, usize::from(component == Component::ImageEncoder), "{component}");
    }
    // Every residual block ends in a sum. In the UNet those that a normalisation reads at once are joined
    // with it: all but those that are put beside a kept picture or resized after.
    for (what, least) in [("unet_step SkipGroupNorm", 10), ("unet_step MultiHeadAttention", 5)] {
        assert!(counts[what] >= least, "{what}: {counts:?}");
    }
    println!("{counts:?}");
    assert!(counts.contains_key("movq_decoder NhwcConv"), "{counts:?}");
}

fn check_values(node: &NodeProto, graph: &kandinsky_models::onnx::GraphProto) {
    let whole = |name: &str| attribute(node, name).i.unwrap();
    let sides = |name: &str| {
        graph.initializer.iter().find(|t| t.name.as_deref() == Some(name)).map(|t| t.dims.clone())
    };
    match op(node) {
        "GroupNorm" | "SkipGroupNorm" => {
            assert_eq!(whole("channels_last"), 1);
            assert!([0, 1].contains(&whole("activation")));
            let channels = sides(&node.input[1]).unwrap();
            assert_eq!(channels.len(), 1);
            assert_eq!(channels[0] % whole("groups"), 0);
            assert_eq!(sides(&node.input[2]).unwrap(), channels);
        }
        "NhwcConv" => {
            let kernel = sides(&node.input[1]).unwrap();
            assert_eq!(attribute(node, "kernel_shape").ints, kernel[1..3]);
            assert_eq!(sides(&node.input[2]).unwrap(), kernel[..1]);
            assert_eq!((attribute(node, "pads").ints.len(), whole("group")), (4, 1));
        }
        "QuickGelu" => assert!([1.0, 1.702].contains(&attribute(node, "alpha").f.unwrap())),
        "MultiHeadAttention" => {
            let heads = usize::try_from(whole("num_heads")).unwrap();
            assert!(heads >= 1 && node.input.len() >= 3, "{heads} heads of {} inputs", node.input.len());
        }
        other => panic!("{other} is no operator of a graph for CUDA that is known here"),
    }
}

#[test]
fn graphs_for_tensorrt_compute_what_the_portable_ones_compute() {
    for (component, _) in graphs(Target::Portable) {
        let expected = outputs(Target::Portable, component, |_| {});
        compare(component, &expected, &outputs(Target::TensorRt, component, |_| {}));
    }
}

#[test]
fn graphs_for_cuda_written_out_compute_what_the_portable_ones_compute() {
    for (component, _) in graphs(Target::Portable) {
        let expected = outputs(Target::Portable, component, |_| {});
        let found = outputs(Target::Cuda, component, |model| {
            written_out::all(model);
            let nodes = &model.graph.as_ref().unwrap().node;
            assert!(nodes.iter().all(|node| node.domain.as_deref().unwrap_or_default().is_empty()));
        });
        compare(component, &expected, &found);
    }
}

fn compare(component: Component, expected: &[(String, Value)], found: &[(String, Value)]) {
    assert_eq!(expected.len(), found.len());
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        match (expected, found) {
            (Value::F32(expected), Value::F32(found)) => {
                let distance = relative(found, expected);
                println!("{component} {name}: {distance:.2e}");
                assert!(distance <= TOLERANCE, "{component}: {name} differs by {distance}");
            }
            (Value::I64(expected), Value::I64(found)) => {
                assert!(expected == found, "{component}: {name} differs")
            }
            _ => panic!("{component}: {name} has another type"),
        }
    }
}

/// Runs a graph of a folder on made-up inputs, after `change`. Tests run at once, so that each call has a file of its own.
fn outputs(target: Target, component: Component, change: impl Fn(&mut ModelProto)) -> Vec<(String, Value)> {
    let opened = Folder::open(folder(target)).unwrap();
    let spec = opened.graph(component).unwrap().clone();
    let mut model = read(&opened.root().join(&spec.graph.path));
    change(&mut model);
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let path = opened.root().join(format!("{}.{call}.onnx", spec.graph.path));
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let options = RuntimeOptions { runtime: "ort".to_owned(), ..Default::default() };
    let runtime = runtime::select(&options).unwrap().runtime;
    let given = made_up::run(runtime.as_ref(), &GraphSource { component, path, spec }, |_| None);
    given.unwrap_or_else(|e| panic!("{}: {e}", target.name()))
}

#[test]
fn an_engine_refuses_a_folder_of_another_target() {
    for (target, runtime) in [
        (Target::Cuda, "ort"),
        (Target::Cuda, "tract"),
        (Target::Cuda, "auto"),
        (Target::TensorRt, "ort"),
        (Target::Cuda, "tensorrt"),
        (Target::TensorRt, "cuda"),
    ] {
        let options = RuntimeOptions { runtime: runtime.to_owned(), ..Default::default() };
        let error = Engine::open_with(folder(target), &options).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::BadModel, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("exported for {}", target.name())) && text.contains(runtime),
            "{text}"
        );
    }
}
