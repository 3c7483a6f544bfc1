//! Golden pipelines: the prior's and the decoder's whole loops against diffusers'.

use crate::golden::{Case, close, close_abs};
use kandinsky::internal::guidance::Guidance;
use kandinsky::internal::pipeline::{self, RunContext, Sides, start};
use kandinsky::internal::rng::TorchCpu;
use kandinsky::internal::sampler::{self, Choice, Role, Shared};
use kandinsky::internal::stage::denoise::{self, Condition, DenoiseRun};
use kandinsky::internal::stage::encode::Encoder;
use kandinsky::internal::stage::prior::{self, PriorRun, PriorText};
use kandinsky::internal::tensor::{concat, repeat, rows};
use kandinsky::{Compositing, Engine, Observer, Part, Request, Tensor, Timings};
use serde_json::Value;
use std::collections::BTreeMap;

/// Latents after a whole loop (absolute), components and decoded pictures (of the maximum).
const LATENTS: f32 = 5e-4;
const COMPONENT: f32 = 1e-4;

type Check = Result<usize, String>;

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().map(|v| v.as_str().unwrap_or("").to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn number(params: &Value, key: &str) -> f64 {
    params[key].as_f64().unwrap_or_else(|| panic!("the case has no {key}"))
}

fn count(params: &Value, key: &str, default: usize) -> usize {
    params[key].as_u64().map_or(default, |n| usize::try_from(n).unwrap())
}

/// Every element `times` over, in place.
fn interleave<T: Clone>(items: &[T], times: usize) -> Vec<T> {
    items.iter().flat_map(|item| std::iter::repeat_n(item.clone(), times)).collect()
}

fn interleave_rows(tensor: &Tensor, times: usize) -> Tensor {
    let parts: Vec<Tensor> = (0..tensor.shape()[0]).map(|i| rows(tensor, i, i + 1).unwrap()).collect();
    concat(&interleave(&parts, times), 0).unwrap()
}

fn shared(params: &Value) -> Shared<TorchCpu> {
    Shared::new(TorchCpu::new(params["seed"].as_u64().unwrap_or(0)))
}

/// `KandinskyPriorPipeline`: one generator for the whole batch.
pub fn prior(engine: &Engine, case: &Case) -> Check {
    let params = &case.params;
    let images = count(params, "num_images_per_prompt", 1);
    let mut prompts = interleave(&texts(&params["prompt"]), images);
    let pictures = prompts.len();
    let negative = params["negative_prompt"].as_str();
    if let Some(negative) = negative {
        prompts.extend(std::iter::repeat_n(negative.to_owned(), pictures));
    }
    let unconditional = vec![negative.unwrap_or(""); prompts.len()];
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let steps = count(params, "num_inference_steps", 25);
    let encoder = Encoder { tokenizers: engine.tokenizers(), constants: engine.constants(), weighted: false };
    let schedulers = &engine.manifest().schedulers;
    let (drawn, zero) = engine
        .with_networks(|networks| {
            let text = PriorText {
                prompts: encoder.prior_text(networks, &prompts)?,
                unconditional: encoder.prior_text(networks, &unconditional)?,
            };
            let sampler = sampler::build(&Choice::new("unclip", Role::Prior, steps), schedulers)?;
            let run = PriorRun {
                sampler: sampler.as_ref(),
                guidance: Guidance::new(number(params, "guidance_scale")),
                noise: &mut shared(params),
                start: case.find("in.latents"),
            };
            let drawn = prior::sample(networks, &text, engine.constants(), run, &mut Observer::default())?;
            let zero = kandinsky::internal::component::image_encoder::encode_zeros(networks)?;
            Ok((drawn, zero))
        })
        .map_err(|e| e.to_string())?;
    close_abs(
        "out.image_embeds",
        &rows(&drawn, 0, pictures).unwrap(),
        &case.need("out.image_embeds"),
        LATENTS,
    )?;
    let negatives = match negative {
        Some(_) => rows(&drawn, pictures, 2 * pictures).unwrap(),
        None => repeat(&zero, pictures).unwrap(),
    };
    close_abs("out.negative_image_embeds", &negatives, &case.need("out.negative_image_embeds"), LATENTS)?;
    Ok(2)
}

/// `KandinskyPipeline`, `KandinskyImg2ImgPipeline` and `KandinskyInpaintPipeline` from given image embeddings.
pub fn decoder(engine: &Engine, case: &Case) -> Check {
    let params = &case.params;
    let images = count(params, "num_images_per_prompt", 1);
    let prompts = interleave(&texts(&params["prompt"]), images);
    let mut negatives = interleave(&texts(&params["negative_prompt"]), images);
    if negatives.is_empty() {
        negatives = vec![String::new(); prompts.len()];
    }
    let resolved =
        request(case).loaded().and_then(|r| r.resolve(engine.manifest())).map_err(|e| e.to_string())?;
    let guidance = Guidance::new(resolved.guidance);
    let positive = interleave_rows(&case.need("in.image_embeds"), images);
    let negative = interleave_rows(&case.need("in.negative_image_embeds"), images);
    let (conditions, image) = if guidance.is_on() {
        let both: Vec<&str> = negatives.iter().chain(&prompts).map(String::as_str).collect();
        (both, concat(&[negative, positive], 0).unwrap())
    } else {
        (prompts.iter().map(String::as_str).collect(), positive)
    };
    let schedulers = schedulers(engine, case);
    let constants = engine.constants();
    let encoder = Encoder { tokenizers: engine.tokenizers(), constants, weighted: false };
    let latents = engine
        .with_networks(|networks| {
            let text = encoder.unet_text(networks, &conditions)?;
            let sides = Sides::new(&networks.folder().manifest().latent, &resolved);
            let timings = &mut Timings::default();
            let encoder = Encoder { tokenizers: engine.tokenizers(), constants, weighted: false };
            let mut cx = RunContext {
                networks: &mut *networks,
                encoder,
                constants,
                prior: None,
                timings,
                sequential: None,
            };
            let begin = start::begin(&mut cx, &resolved, &sides, &mut Observer::default())?;
            let sampler = sampler::build(&pipeline::decoder_choice(&resolved)?, &schedulers)?;
            let mut noise = shared(params);
            let start = match case.find("in.latents") {
                Some(latents) => latents,
                None => begin.latents(&resolved, &sides, sampler.as_ref(), (prompts.len(), &mut noise))?,
            };
            let run = DenoiseRun {
                deep_cache: 1,
                sampler: sampler.as_ref(),
                guidance,
                noise: &mut noise,
                start,
                unet: begin.unet,
                known: begin.known(prompts.len())?,
                preview: None,
            };
            denoise::sample(networks, Condition { text, image }, run, &mut Observer::default())
        })
        .map_err(|e| e.to_string())?;
    close_abs("out.latents", &latents, &case.need("out.latents"), LATENTS)?;
    decoded(engine, case)?;
    Ok(3)
}

/// The request that a case of the decoder makes.
fn request(case: &Case) -> Request {
    let params = &case.params;
    let request = Request {
        guidance: Some(number(params, "guidance_scale")),
        steps: Some(count(params, "num_inference_steps", 100)),
        rounded: true,
        ..Request::default()
    };
    let request =
        request.size(count(params, "width", 512), count(params, "height", 512)).sampler(sampler_of(case));
    // Where the call names no pictures, the recipe of the goldens has these.
    let image = |at: usize, usual: &str| {
        case.images().get(at).cloned().unwrap_or_else(|| case.folder.join("images").join(usual))
    };
    match sort_of(case) {
        Sort::Edit => request.edit(image(0, "i2i_64.png"), number(params, "strength")),
        Sort::Inpaint => {
            let request = request.inpaint(image(0, "i2i_64.png"), image(1, "mask_64.png"));
            request.seam(Compositing { decoded: true, feather: 0 })
        }
        _ => request,
    }
}

/// What a pipeline does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Image embeddings of prompts.
    Prior,
    /// Image embeddings of a mix.
    Interpolate,
    /// Image embeddings of a picture.
    ImageEmbeds,
    /// A generator a picture, through prior and decoder.
    Seeds,
    /// Text to image, or a variation, from given embeddings.
    Draw,
    /// Image to image.
    Edit,
    /// Inpainting.
    Inpaint,
}

/// Which pipeline a case ran, by what it was given and what came out: cases may have any names.
pub fn sort_of(case: &Case) -> Sort {
    let given = |key: &str| !case.params[key].is_null();
    if given("seeds") {
        Sort::Seeds
    } else if given("images") {
        Sort::Interpolate
    } else if case.has("out.zero") {
        Sort::ImageEmbeds
    } else if case.has("out.image_embeds") {
        Sort::Prior
    } else if given("strength") {
        Sort::Edit
    } else if case.side("x.unet0.sample", 1) == 9 || case.call.contains("Inpaint") {
        Sort::Inpaint
    } else {
        Sort::Draw
    }
}

fn sampler_of(case: &Case) -> &'static str {
    match case.params["scheduler"].as_str() {
        Some("DDPMScheduler") => "ddpm",
        Some("DPMSolverMultistepScheduler") => "dpmpp_2m",
        _ => "ddim",
    }
}

/// The model's schedulers with what a case changes in them.
fn schedulers(engine: &Engine, case: &Case) -> BTreeMap<String, Value> {
    let mut schedulers = engine.manifest().schedulers.clone();
    if sampler_of(case) == "dpmpp_2m" {
        // diffusers' from_config hands DDIM's spacing on.
        schedulers.get_mut("ddim").unwrap()["_class_name"] = case.params["scheduler"].clone();
    }
    // No parameter says that a case has no thresholding; what leaves the range it would bound does.
    let bounded = case.find("x.step_pred_x0").is_none_or(|x0| x0.iter().all(|x| x.abs() < 1.001));
    if sampler_of(case) == "ddpm" && (!bounded || case.id.contains("nothresh")) {
        schedulers.get_mut("ddpm").unwrap()["thresholding"] = Value::Bool(false);
    }
    schedulers
}

/// The CLIP embedding of a picture, and that of the picture of zeros.
pub fn image_embeds(engine: &Engine, case: &Case) -> Check {
    let file = case.folder.join(case.params["image"].as_str().unwrap());
    let request = Request::variation(file).size(64, 64).steps(1).prior_steps(2).seed(0);
    let outcome = engine.run_all(&request, &mut Observer::default()).map_err(|e| e.to_string())?;
    let zero = engine
        .with_networks(kandinsky::internal::component::image_encoder::encode_zeros)
        .map_err(|e| e.to_string())?;
    close("out.image_embeds", &outcome.image_embeds, &case.need("out.image_embeds"), COMPONENT)?;
    close("out.zero", &zero, &case.need("out.zero"), COMPONENT)?;
    Ok(2)
}

/// Weights and text of an interpolation, as its call says them: `[image_a,"text",image_b],[0.3,0.3,0.4]`.
fn recipe(case: &Case) -> ([f64; 3], String) {
    let text = case.call.split('"').nth(1).unwrap_or("a red cat").to_owned();
    let list = case.call.split("],[").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("0.3,0.3,0.4");
    let weights: Vec<f64> = list.split(',').filter_map(|weight| weight.trim().parse().ok()).collect();
    (weights.try_into().expect("three weights"), text)
}

/// `KandinskyPriorPipeline.interpolate`, by the public door.
pub fn interpolate(engine: &Engine, case: &Case) -> Check {
    let params = &case.params;
    let pictures: Vec<_> = texts(&params["images"]).iter().map(|image| case.folder.join(image)).collect();
    let [first, second] = pictures.as_slice() else { return Err("the case has not two pictures".to_owned()) };
    let ([a, b, c], text) = recipe(case);
    let parts = [Part::picture(first.clone(), a), Part::text(text, b), Part::picture(second.clone(), c)];
    let mut request = Request::mix(parts).size(64, 64).steps(1).prior_guidance(4.0);
    request.seed = params["seed"].as_u64();
    request.prior_steps = Some(count(params, "num_inference_steps", 25));
    request.negative = params["negative_prompt"].as_str().map(str::to_owned);
    request.negative_prior = params["negative_prior_prompt"].as_str().map(str::to_owned);
    let outcome = engine.run_all(&request, &mut Observer::default()).map_err(|e| e.to_string())?;
    close_abs("out.image_embeds", &outcome.image_embeds, &case.need("out.image_embeds"), LATENTS)?;
    let negative = &outcome.negative_image_embeds;
    close_abs("out.negative_image_embeds", negative, &case.need("out.negative_image_embeds"), LATENTS)?;
    Ok(2)
}

/// A generator a picture, through prior and decoder, by the public door.
pub fn seeds(engine: &Engine, case: &Case) -> Check {
    let params = &case.params;
    let seeds: Vec<u64> = params["seeds"].as_array().unwrap().iter().map(|s| s.as_u64().unwrap()).collect();
    let request = Request::text_to_image(params["prompt"].as_str().unwrap())
        .seeds(seeds.iter().copied())
        .count(seeds.len())
        .prior_steps(count(params, "prior_steps", 0))
        .prior_guidance(number(params, "prior_guidance"))
        .steps(count(params, "num_inference_steps", 0))
        .guidance(number(params, "guidance_scale"))
        .size(count(params, "width", 0), count(params, "height", 0))
        .sampler(if params["scheduler"] == "DDPMScheduler" { "ddpm" } else { "ddim" });
    let outcome = engine.run_all(&request, &mut Observer::default()).map_err(|e| e.to_string())?;
    close_abs("out.image_embeds", &outcome.image_embeds, &case.need("out.image_embeds"), LATENTS)?;
    close_abs("out.latents", &outcome.latents, &case.need("out.latents"), LATENTS)?;
    decoded(engine, case)?;
    let image = case.need("out.image"); // (B, H, W, 3) in [0, 1]
    for (i, picture) in outcome.pictures.iter().enumerate() {
        let expected = image.index_axis(ndarray::Axis(0), i);
        let worst = picture
            .bytes()
            .iter()
            .zip(expected.iter())
            .map(|(ours, theirs)| (f32::from(*ours) - (theirs * 255.0).round_ties_even()).abs());
        let worst = worst.fold(0.0, f32::max);
        if worst > 1.0 {
            return Err(format!("picture {i} differs by {worst} of 255"));
        }
    }
    Ok(4)
}

/// Decodes the reference's own latents, which makes the check of MoVQ a tight one.
///
/// Latents of made-up weights can be so large that MoVQ's attention chooses between near ties: torch's own
/// result for `seeds_ddim` moves by 7e-5 of the maximum from one of its versions to the next. What a change of
/// the latents in their last bits does to our own picture is therefore allowed as well.
fn decoded(engine: &Engine, case: &Case) -> Result<(), String> {
    let latents = case.need("out.latents");
    let decode = |latents: Tensor| {
        let pixels =
            engine.with_networks(|networks| kandinsky::internal::component::movq::decode(networks, &latents));
        pixels.map_err(|e| e.to_string())
    };
    let pixels = decode(latents.clone())?;
    let expected = case.need("out.decoded");
    let scale = largest(&expected);
    let mut allowed = COMPONENT * scale;
    if close("", &pixels, &expected, COMPONENT).is_err() {
        let mut random = TorchCpu::new(0);
        for _ in 0..4 {
            let sign =
                |x: f32| if random.uniform() < 0.5 { x * (1.0 - LAST_BITS) } else { x * (1.0 + LAST_BITS) };
            let moved = decode(latents.clone().mapv_into(sign))?;
            println!("  {}: its last bits move the picture by {}", case.id, largest(&(&pixels - &moved)));
            allowed = allowed.max(largest(&(&pixels - &moved)));
        }
    }
    close_abs("out.decoded", &pixels, &expected, allowed)?;
    let unit = pixels.mapv(|x| (x / 2.0 + 0.5).clamp(0.0, 1.0)).permuted_axes(ndarray::IxDyn(&[0, 2, 3, 1]));
    // A pixel in [0, 1] is half as large as a decoded one.
    close_abs("out.image", &unit.as_standard_layout().into_owned(), &case.need("out.image"), allowed / 2.0)
}

/// Two units in the last place.
const LAST_BITS: f32 = 2.0 * f32::EPSILON;

fn largest(tensor: &Tensor) -> f32 {
    tensor.iter().map(|x| x.abs()).fold(0.0, f32::max)
}
