//! Drawings and the files that they become: which tensors a network has, what is refused, and that every
//! byte is in its place. What the graphs compute is compared with the reference by the root crate's tests.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test may stop at the first surprise"
)]

mod configs;
mod made_up;

use configs::{KINDS, full, required, tiny};
use kandinsky_export::arch::{self, BuiltGraph, Network};
use kandinsky_export::{Error, GraphStyle, Result};
use kandinsky_models::manifest::Precision;
use kandinsky_models::onnx::{ModelProto, TensorProto, data_type};
use kandinsky_models::{GraphSpec, hash};
use made_up::MadeUp;
use prost::Message;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn draw(kind: Network, config: &Value, weights: &MadeUp) -> Result<Vec<BuiltGraph>> {
    arch::draw(kind, config, Path::new("config.json"), weights)
}

fn write(drawing: &BuiltGraph, weights: &MadeUp, folder: &Path, precision: Precision) -> Result<GraphSpec> {
    drawing.graph.write(weights, folder, drawing.component.name(), precision, &mut |_| Ok(()))
}

#[test]
fn full_size_networks_have_the_reference_s_parameters_and_tensors() {
    let expected = [
        (Network::TextEncoder, 123_650_304, 197),
        (Network::ImageEncoder, 303_966_208, 392),
        (Network::MultilingualEncoder, 560_677_632, 393),
        // clip_mean and clip_std (768 each) are tensors of the file and parameters too.
        (Network::Prior, 1_022_030_080, 338),
        (Network::Unet, 1_228_661_768, 726),
        (Network::InpaintUnet, 1_228_679_048, 726),
        (Network::Movq, 67_832_495, 431),
    ];
    for (kind, parameters, count) in expected {
        let tensors = arch::tensors(kind, &full(kind), Path::new("config.json")).unwrap();
        let found: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        assert_eq!((found, tensors.len()), (parameters, count), "{kind:?}");
    }
}

#[test]
fn every_tensor_is_needed_with_its_own_shape() {
    for kind in KINDS {
        let config = tiny(kind);
        let mut weights = MadeUp::of(kind, &config);
        draw(kind, &config, &weights).unwrap();
        let names: Vec<String> = weights.shapes.keys().cloned().collect();
        for name in names {
            let shape = weights.shapes.remove(&name).unwrap();
            match draw(kind, &config, &weights) {
                Err(Error::MissingTensor { name: missing, .. }) => assert_eq!(missing, name),
                other => panic!("{kind:?} without {name}: {other:?}"),
            }
            let mut wrong = shape.clone();
            wrong[0] += 1;
            weights.shapes.insert(name.clone(), wrong.clone());
            match draw(kind, &config, &weights) {
                Err(Error::Shape { name: misshapen, found, expected, .. }) => {
                    assert_eq!((misshapen, found, expected), (name.clone(), wrong, shape.clone()));
                }
                other => panic!("{kind:?} with a wrong {name}: {other:?}"),
            }
            weights.shapes.insert(name, shape);
        }
    }
}

#[test]
fn graphs_together_use_exactly_the_tensors_of_the_network() {
    for kind in KINDS {
        let config = tiny(kind);
        let weights = MadeUp::of(kind, &config);
        let used: BTreeSet<String> =
            draw(kind, &config, &weights).unwrap().iter().flat_map(|d| d.graph.used().clone()).collect();
        assert_eq!(used, weights.shapes.keys().cloned().collect(), "{kind:?}");
    }
}

#[test]
fn every_missing_field_is_named() {
    for kind in KINDS {
        for field in required(kind) {
            let mut config = tiny(kind);
            config.as_object_mut().unwrap().remove(&field);
            match arch::tensors(kind, &config, Path::new("some/config.json")) {
                Err(Error::BadConfig { path, reason }) => {
                    assert_eq!(path, Path::new("some/config.json"));
                    assert_eq!(reason, format!("the field {field} is missing"), "{kind:?}");
                }
                other => panic!("{kind:?} without {field}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_is_not_drawn_is_refused_by_name() {
    let unknown = [
        (Network::TextEncoder, "hidden_act", json!("relu")),
        (Network::MultilingualEncoder, "type_vocab_size", json!(2)),
        (Network::MultilingualEncoder, "position_embedding_type", json!("relative_key")),
        (Network::Prior, "added_emb_type", json!("dot")),
        (Network::Prior, "norm_in_type", json!("layer")),
        (Network::Unet, "encoder_hid_dim_type", json!("image_proj")),
        (Network::Unet, "addition_embed_type", json!("image")),
        (Network::Unet, "down_block_types", json!(["DownBlock2D", "DownBlock2D", "DownBlock2D"])),
        (Network::Unet, "flip_sin_to_cos", json!(false)),
        (Network::Unet, "num_attention_heads", json!(8)),
        (Network::Movq, "norm_type", json!("group")),
        (Network::Movq, "vq_embed_dim", json!(3)),
    ];
    for (kind, field, value) in unknown {
        let mut config = tiny(kind);
        config[field] = value;
        match arch::tensors(kind, &config, Path::new("config.json")) {
            Err(Error::Unknown { what, .. }) => assert_eq!(what, format!("{field} of config.json")),
            other => panic!("{kind:?} with another {field}: {other:?}"),
        }
    }
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let bad = [
        (Network::TextEncoder, "vocab_size", json!(0)),
        (Network::TextEncoder, "hidden_size", json!("24")),
        (Network::TextEncoder, "num_attention_heads", json!(5)),
        (Network::TextEncoder, "max_position_embeddings", json!(1 << 20)),
        (Network::TextEncoder, "layer_norm_eps", json!(-1.0)),
        (Network::ImageEncoder, "patch_size", json!(5)),
        (Network::MultilingualEncoder, "pad_token_id", json!(80)),
        (Network::MultilingualEncoder, "transformerDimensions", json!(41)),
        (Network::Prior, "num_layers", json!(1_000_000)),
        (Network::Prior, "attention_head_dim", json!(1 << 20)),
        (Network::Unet, "block_out_channels", json!([])),
        (Network::Unet, "block_out_channels", json!([16, 32, 41])),
        (Network::Unet, "down_block_types", json!(["ResnetDownsampleBlock2D"])),
        (Network::Unet, "attention_head_dim", json!([8, 8, 8])),
        (Network::Movq, "block_out_channels", json!([32, 32, 48])),
        (Network::Movq, "in_channels", json!(2.5)),
    ];
    for (kind, field, value) in bad {
        let mut config = tiny(kind);
        config[field] = value.clone();
        let result = arch::tensors(kind, &config, Path::new("config.json"));
        assert!(matches!(result, Err(Error::BadConfig { .. })), "{kind:?}, {field} {value}: {result:?}");
    }
    let result = arch::tensors(Network::Movq, &json!([]), Path::new("config.json"));
    assert!(matches!(result, Err(Error::BadConfig { .. })), "{result:?}");
}

#[test]
fn files_hold_what_was_drawn_and_writing_again_gives_the_same_bytes() {
    for precision in [Precision::F32, Precision::F16] {
        for kind in KINDS {
            let config = tiny(kind);
            let weights = MadeUp::of(kind, &config);
            for drawing in draw(kind, &config, &weights).unwrap() {
                let folder = tempfile::tempdir().unwrap();
                let spec = write(&drawing, &weights, folder.path(), precision).unwrap();
                check_file(&spec, folder.path());
                let model = check_nodes(&spec, folder.path());
                check_weights(&model, &data(&spec, folder.path()), precision, &weights);
                let again = tempfile::tempdir().unwrap();
                let redrawn = draw(kind, &config, &weights).unwrap();
                let redrawn = redrawn.iter().find(|d| d.component == drawing.component).unwrap();
                assert_eq!(write(redrawn, &weights, again.path(), precision).unwrap(), spec);
            }
        }
    }
}

/// Sizes, hashes and alignment are what the spec and the tensors say.
fn check_file(spec: &GraphSpec, folder: &Path) {
    for entry in std::iter::once(&spec.graph).chain(&spec.data) {
        let (sha256, bytes) = hash::of_file(&folder.join(&entry.path)).unwrap();
        assert_eq!((&sha256, bytes), (&entry.sha256, entry.bytes), "{}", entry.path);
    }
}

/// Every name is given once, and before it is read; the border is the spec's.
fn check_nodes(spec: &GraphSpec, folder: &Path) -> ModelProto {
    let bytes = std::fs::read(folder.join(&spec.graph.path)).unwrap();
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    assert_eq!(model.encode_to_vec(), bytes);
    let graph = model.graph.as_ref().unwrap();
    let name = |port: &kandinsky_models::manifest::Port| port.name.clone();
    let mut known: BTreeSet<String> = spec.inputs.iter().map(name).collect();
    let constants: Vec<String> = graph.initializer.iter().map(|t| t.name.clone().unwrap()).collect();
    assert!(constants.into_iter().all(|name| known.insert(name)), "a constant is there twice");
    let mut nodes = BTreeSet::new();
    for node in &graph.node {
        assert!(nodes.insert(node.name.clone().unwrap()), "two nodes {:?}", node.name);
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(known.contains(input), "{:?} reads {input} before it is there", node.name);
        }
        assert!(node.output.iter().all(|output| known.insert(output.clone())), "{:?} again", node.name);
    }
    let found: Vec<String> = graph.output.iter().map(|o| o.name.clone().unwrap()).collect();
    assert_eq!(found, spec.outputs.iter().map(name).collect::<Vec<_>>());
    assert!(found.iter().all(|output| known.contains(output)));
    model
}

/// Every weight's elements are the checkpoint's, in the order that its name promises.
fn check_weights(model: &ModelProto, data: &[u8], precision: Precision, weights: &MadeUp) {
    let mut places = BTreeMap::new();
    for tensor in &model.graph.as_ref().unwrap().initializer {
        let name = tensor.name.clone().unwrap();
        let bytes = content(tensor, data, &mut places);
        let name = if precision == Precision::F16 { name.trim_end_matches(".f16") } else { &name };
        let (name, transposed) = name.strip_suffix(".transposed").map_or((name, false), |name| (name, true));
        if !weights.shapes.contains_key(name) {
            continue;
        }
        let stored = weights.elements(name);
        let expected = match weights.shapes[name][..] {
            [rows, columns] if transposed => {
                (0..stored.len()).map(|i| stored[(i % rows) * columns + i / rows]).collect()
            }
            _ => stored,
        };
        let found: Vec<f32> = match precision {
            Precision::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
            }
            Precision::F16 => bytes
                .chunks_exact(2)
                .map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f32())
                .collect(),
        };
        assert_eq!(found, expected, "{name}");
    }
}

/// The bytes of the data file.
fn data(spec: &GraphSpec, folder: &Path) -> Vec<u8> {
    spec.data.as_ref().map_or_else(Vec::new, |entry| std::fs::read(folder.join(&entry.path)).unwrap())
}

/// A tensor's bytes, wherever they are; their number is that of its sides.
fn content(tensor: &TensorProto, data: &[u8], places: &mut BTreeMap<u64, u64>) -> Vec<u8> {
    let width = match tensor.data_type.unwrap() {
        data_type::FLOAT => 4,
        data_type::FLOAT16 => 2,
        data_type::INT64 => 8,
        other => panic!("{other}"),
    };
    let expected = tensor.dims.iter().product::<i64>() as u64 * width;
    let Some(raw) = &tensor.raw_data else {
        let field = |key: &str| {
            let entry = tensor.external_data.iter().find(|e| e.key.as_deref() == Some(key)).unwrap();
            entry.value.clone().unwrap()
        };
        let (offset, length): (u64, u64) =
            (field("offset").parse().unwrap(), field("length").parse().unwrap());
        assert_eq!((offset % 4096, length, tensor.data_location), (0, expected, Some(1)));
        assert!(length >= 1024, "{:?} should be inside", tensor.name);
        let before = places.range(..=offset).next_back().map_or(0, |(start, length)| start + length);
        assert!(before <= offset, "{:?} overlaps", tensor.name);
        places.insert(offset, length);
        assert!(field("location").ends_with(".data"));
        return data[offset as usize..(offset + length) as usize].to_vec();
    };
    assert!(expected < 1024, "{:?} should be outside", tensor.name);
    assert_eq!(raw.len() as u64, expected);
    raw.clone()
}

#[test]
fn stacked_weights_lie_under_one_another() {
    let config = tiny(Network::Unet);
    let weights = MadeUp::of(Network::Unet, &config);
    let path = Path::new("config.json");
    let drawings = arch::draw_for(&GraphStyle::plain(), Network::Unet, &config, path, &weights).unwrap();
    let film = drawings.iter().find(|d| d.component.name() == "unet_film").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spec = write(film, &weights, folder.path(), Precision::F32).unwrap();
    let model = check_nodes(&spec, folder.path());
    let stacked = model.graph.as_ref().unwrap().initializer.iter();
    let stacked = stacked.clone().find(|t| t.name.as_deref() == Some("stacked.bias")).unwrap();
    let bytes = content(stacked, &data(&spec, folder.path()), &mut BTreeMap::new());
    let found: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let order = [
        "down_blocks.0.resnets.0",
        "down_blocks.0.downsamplers.0",
        "down_blocks.1.resnets.0",
        "down_blocks.1.downsamplers.0",
        "down_blocks.2.resnets.0",
        "mid_block.resnets.0",
        "mid_block.resnets.1",
        "up_blocks.0.resnets.0",
        "up_blocks.0.resnets.1",
        "up_blocks.0.upsamplers.0",
        "up_blocks.1.resnets.0",
        "up_blocks.1.resnets.1",
        "up_blocks.1.upsamplers.0",
        "up_blocks.2.resnets.0",
        "up_blocks.2.resnets.1",
    ];
    let expected = order.iter().flat_map(|at| weights.elements(&format!("{at}.time_emb_proj.bias")));
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn weights_that_a_precision_cannot_hold_are_named() {
    let config = tiny(Network::Prior);
    let cases = [
        ("proj_in.weight", 1234, f32::NAN, Precision::F32),
        ("proj_in.bias", 3, f32::INFINITY, Precision::F32),
        ("proj_in.weight", 777, 65_520.0, Precision::F16),
        ("positional_embedding", 4321, f32::NEG_INFINITY, Precision::F16),
    ];
    for (name, index, value, precision) in cases {
        let mut weights = MadeUp::of(Network::Prior, &config);
        weights.planted = vec![(name.to_owned(), index, value)];
        let drawings = draw(Network::Prior, &config, &weights).unwrap();
        let folder = tempfile::tempdir().unwrap();
        match write(&drawings[1], &weights, folder.path(), precision) {
            Err(Error::NotFinite { name: found, index: at, .. }) => {
                assert_eq!((found.as_str(), at), (name, index))
            }
            other => panic!("{name} with {value}: {other:?}"),
        }
    }
    let mut weights = MadeUp::of(Network::Prior, &config);
    weights.planted = vec![("proj_in.weight".to_owned(), 777, 65_519.0)];
    let drawings = draw(Network::Prior, &config, &weights).unwrap();
    write(&drawings[1], &weights, tempfile::tempdir().unwrap().path(), Precision::F16).unwrap();
}

#[test]
fn weights_are_never_asked_for_whole() {
    for kind in KINDS {
        let config = tiny(kind);
        let weights = MadeUp::of(kind, &config);
        for drawing in draw(kind, &config, &weights).unwrap() {
            write(&drawing, &weights, tempfile::tempdir().unwrap().path(), Precision::F32).unwrap();
        }
        assert!(weights.read_whole.borrow().is_empty(), "{kind:?}: {:?}", weights.read_whole.borrow());
    }
}

#[test]
fn progress_counts_every_byte_of_weights_and_can_stop() {
    let config = tiny(Network::Movq);
    let weights = MadeUp::of(Network::Movq, &config);
    let drawing = draw(Network::Movq, &config, &weights).unwrap().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let (mut told, mut calls) = (0, 0);
    let mut count = |bytes| {
        told += bytes;
        calls += 1;
        Ok(())
    };
    let spec =
        drawing.graph.write(&weights, folder.path(), "movq_encoder", Precision::F32, &mut count).unwrap();
    let written = spec.graph.bytes + spec.data.unwrap().bytes;
    assert!(told <= written && told > written * 3 / 4, "{told} of {written}");
    let mut left = calls / 2;
    let mut stop = |_| {
        left -= 1;
        if left == 0 { Err(Error::Cancelled) } else { Ok(()) }
    };
    let result = drawing.graph.write(&weights, folder.path(), "again", Precision::F32, &mut stop);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(!folder.path().join("again.onnx").exists());
}

#[test]
fn weights_that_changed_since_the_drawing_are_refused() {
    let config = tiny(Network::Movq);
    let weights = MadeUp::of(Network::Movq, &config);
    let drawing = draw(Network::Movq, &config, &weights).unwrap().remove(0);
    let mut config = config;
    config["block_out_channels"] = json!([32, 64, 64]);
    let other = MadeUp::of(Network::Movq, &config);
    let result = write(&drawing, &other, tempfile::tempdir().unwrap().path(), Precision::F32);
    assert!(matches!(result, Err(Error::Shape { .. })), "{result:?}");
}

#[test]
fn an_unwritable_folder_is_named() {
    let config = tiny(Network::Movq);
    let weights = MadeUp::of(Network::Movq, &config);
    let drawing = draw(Network::Movq, &config, &weights).unwrap().remove(0);
    let result = write(&drawing, &weights, Path::new("/nonexistent/folder"), Precision::F32);
    assert!(matches!(result, Err(Error::Io { verb: "written", .. })), "{result:?}");
}

#[test]
fn contracts_are_those_of_the_config() {
    let shapes = |kind: Network| -> Vec<String> {
        let config = tiny(kind);
        let weights = MadeUp::of(kind, &config);
        let describe =
            |port: &kandinsky_models::manifest::Port| format!("{} {}", port.name, port.shape.join(","));
        let ports = |d: &BuiltGraph| {
            let side = |ports: &[_]| ports.iter().map(describe).collect::<Vec<_>>().join("; ");
            format!("{}: {} -> {}", d.component, side(d.graph.inputs()), side(d.graph.outputs()))
        };
        draw(kind, &config, &weights).unwrap().iter().map(ports).collect()
    };
    let expected = [
        "text_encoder: ids batch,tokens -> hidden batch,tokens,24; pooled batch,20",
        "image_encoder: pixels batch,3,28,28 -> embed batch,24; hidden batch,17,48",
        "multilingual_encoder: ids batch,tokens; mask batch,tokens -> hidden batch,tokens,40; pooled batch,24",
        "prior_prefix: hidden batch,tokens,24; pooled batch,24; mask batch,tokens -> \
         k batch,12,tokens+1,16; v batch,12,tokens+1,16",
        "prior_step: x batch,24; t batch; k batch,12,tokens+1,16; v batch,12,tokens+1,16; mask batch,tokens -> \
         waves batch,64; x0 batch,24",
        "unet_context: text_hidden batch,tokens,40; text_pooled batch,24; image_embed batch,24 -> \
         k batch,32,tokens+10,8; v batch,32,tokens+10,8; aug batch,64",
        "unet_film: t steps; aug batch,64 -> waves steps,16; film steps,batch,928",
        "unet_step: sample batch,4,4*h,4*w; film batch,928; k batch,32,tokens+10,8; v batch,32,tokens+10,8 -> \
         out batch,8,4*h,4*w",
        "inpaint_step: sample batch,9,4*h,4*w; film batch,928; k batch,32,tokens+10,8; \
         v batch,32,tokens+10,8 -> out batch,8,4*h,4*w",
        "movq_encoder: pixels batch,3,4*h,4*w -> latents batch,4,h,w",
        "movq_quantize: latents batch,4,h,w -> quantized batch,4,h,w; indices batch,h,w",
        "movq_decoder: latents batch,4,h,w -> pixels batch,3,4*h,4*w",
    ];
    let found: Vec<String> = KINDS.into_iter().flat_map(shapes).collect();
    let found: Vec<&String> =
        found.iter().filter(|g| !g.starts_with("inpaint_c") && !g.starts_with("inpaint_f")).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
}

#[test]
fn only_the_prior_and_unets_are_drawn_in_one_piece() {
    for kind in KINDS {
        let config = tiny(kind);
        let weights = MadeUp::of(kind, &config);
        let drawn = arch::unsplit(kind, &config, Path::new("config.json"), &weights);
        match kind {
            Network::Prior | Network::Unet | Network::InpaintUnet => {
                assert!(drawn.unwrap().used().iter().all(|name| weights.shapes.contains_key(name)));
            }
            _ => assert!(matches!(drawn, Err(Error::Unknown { .. })), "{kind:?}"),
        }
    }
}
