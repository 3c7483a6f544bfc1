//! Golden components: each graph, and the split ones together, against the reference's modules.

use crate::golden::{Case, close};
use kandinsky::internal::component::text::{ClipText, MultilingualText};
use kandinsky::internal::component::unet::{self, StepInputs, UnetVariant};
use kandinsky::internal::component::{Networks, movq, prior};
use kandinsky::internal::tensor::{concat, rows};
use kandinsky::{Engine, Result as Outcome, Tensor};
use kandinsky_models::Component;
use ndarray::{ArrayD, Axis, IxDyn};

const TOLERANCE: f32 = 1e-4;

type Check = Result<usize, String>;

/// Runs the case's network and compares every output.
pub fn check(engine: &Engine, case: &Case) -> Check {
    let outputs = engine.with_networks(|networks| match network_of(case) {
        Network::ClipText => clip_text(networks, case),
        Network::ClipImage => clip_vision(networks, case),
        Network::Multilingual => multilingual(networks, case),
        Network::Prior => one_prior_step(networks, engine, case),
        Network::Unet(which) => one_unet_step(networks, which, case),
        Network::MovqEncoder => Ok(vec![("out.latents", movq::encode(networks, &case.need("in.sample"))?)]),
        Network::MovqDecoder => autoencoder(networks, case),
    });
    let outputs = outputs.map_err(|e| e.to_string())?;
    for (name, ours) in &outputs {
        close(name, ours, &case.need(name), TOLERANCE)?;
    }
    for required in case.outputs() {
        if required != "out.margin" && !outputs.iter().any(|(name, _)| *name == required) {
            return Err(format!("{required} was not checked"));
        }
    }
    Ok(outputs.len())
}

enum Network {
    ClipText,
    ClipImage,
    Multilingual,
    Prior,
    Unet(UnetVariant),
    MovqEncoder,
    MovqDecoder,
}

/// Which network a case runs, by what goes in and comes out: cases may have any names.
fn network_of(case: &Case) -> Network {
    if case.has("in.input_ids") {
        let multilingual = case.call.contains("MultilingualCLIP") || case.id.starts_with("mclip");
        if multilingual { Network::Multilingual } else { Network::ClipText }
    } else if case.has("in.pixel_values") {
        Network::ClipImage
    } else if case.has("in.proj_embedding") {
        Network::Prior
    } else if case.has("in.encoder_hidden_states") {
        Network::Unet(if case.side("in.sample", 1) == 9 { UnetVariant::Inpaint } else { UnetVariant::Draw })
    } else if case.has("in.sample") {
        Network::MovqEncoder
    } else {
        Network::MovqDecoder
    }
}

type Outputs = Vec<(&'static str, Tensor)>;

fn clip_text(networks: &mut Networks, case: &Case) -> Outcome<Outputs> {
    let mut outputs = Outputs::new();
    let sets = [
        ("in.input_ids", "out.text_embeds", "out.last_hidden_state"),
        ("in.input_ids_2", "out.text_embeds_2", "out.last_hidden_state_2"),
    ];
    for (ids, pooled_name, hidden_name) in sets {
        if case.find(ids).is_none() {
            continue;
        }
        let ids = case.whole(ids);
        let inputs = [("ids", (&ids).into())];
        let [hidden, pooled] = networks.call_f32(Component::TextEncoder, &inputs, ["hidden", "pooled"])?;
        outputs.extend([(pooled_name, pooled), (hidden_name, hidden)]);
    }
    Ok(outputs)
}

fn clip_vision(networks: &mut Networks, case: &Case) -> Outcome<Outputs> {
    let pixels = case.need("in.pixel_values");
    let zero = kandinsky::internal::component::image_encoder::encode_zeros(networks)?;
    let inputs = [("pixels", (&pixels).into())];
    let [embed, hidden] = networks.call_f32(Component::ImageEncoder, &inputs, ["embed", "hidden"])?;
    Ok(vec![("out.image_embeds", embed), ("out.last_hidden_state", hidden), ("out.zero_image_embeds", zero)])
}

fn one_prior_step(networks: &mut Networks, engine: &Engine, case: &Case) -> Outcome<Outputs> {
    let text = ClipText {
        hidden: case.need("in.encoder_hidden_states"),
        pooled: case.need("in.proj_embedding"),
        mask: case.need("in.attention_mask"),
    };
    let prefix = prior::prefix(networks, &text)?;
    let x = case.need("in.hidden_states");
    let batch = x.shape()[0];
    let t = spread(&case.need("in.timestep"), batch);
    let post = &x * &engine.constants().clip_std + &engine.constants().clip_mean;
    let x0 = prior::step(networks, &x, &t, &prefix)?;
    Ok(vec![("out.predicted_image_embedding", x0), ("out.post", post)])
}

/// One time for every row.
fn spread(t: &Tensor, batch: usize) -> Tensor {
    Tensor::from_shape_fn(IxDyn(&[batch]), |i| t[[i[0].min(t.len() - 1)]])
}

fn multilingual(networks: &mut Networks, case: &Case) -> Outcome<Outputs> {
    let (ids, mask) = (case.whole("in.input_ids"), case.need("in.attention_mask"));
    let inputs = [("ids", (&ids).into()), ("mask", (&mask).into())];
    let [hidden, pooled] =
        networks.call_f32(Component::MultilingualEncoder, &inputs, ["hidden", "pooled"])?;
    Ok(vec![("out.text_embeds", pooled), ("out.last_hidden_state", hidden)])
}

fn one_unet_step(networks: &mut Networks, which: UnetVariant, case: &Case) -> Outcome<Outputs> {
    let text = MultilingualText {
        hidden: case.need("in.encoder_hidden_states"),
        pooled: case.need("in.text_embeds"),
    };
    let context = unet::context(networks, which, &text, &case.need("in.image_embeds"))?;
    let t = case.need("in.timestep");
    let film = unet::film(networks, which, &t, &context.aug)?; // (T, B, C)
    let batch = context.aug.shape()[0];
    let own: Vec<Tensor> = (0..batch)
        .map(|row| {
            let step = film.index_axis(Axis(0), row.min(t.len() - 1));
            rows(&step.as_standard_layout().into_owned(), row, row + 1).unwrap()
        })
        .collect();
    let (sample, film) = (case.need("in.sample"), concat(&own, 0)?);
    let given = StepInputs { sample: sample.view(), film: film.view(), context: context.rows() };
    let out = unet::step(networks, which, &given)?;
    Ok(vec![("out.sample", out)])
}

fn autoencoder(networks: &mut Networks, case: &Case) -> Outcome<Outputs> {
    let latents = case.need("in.latents");
    let (quantised, indices) = movq::quantize(networks, &latents)?;
    let indices: ArrayD<f32> = indices.mapv(|i| i as f32);
    assert_eq!(indices, case.need("out.indices"), "{}: another codebook entry is nearest", case.id);
    let raw = movq::decode(networks, &latents)?;
    let decoded = movq::decode(networks, &quantised)?;
    Ok(vec![
        ("out.decode_nq", raw),
        ("out.decode_q", decoded),
        ("out.indices", indices),
        ("out.quantised", quantised),
    ])
}
