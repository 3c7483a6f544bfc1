//! Golden trajectories of schedulers, and torch's random numbers.

use crate::golden::{Case, close, close_abs};
use kandinsky::internal::image::mask::prepare_mask;
use kandinsky::internal::rng::{Normals, TorchCpu, TorchCuda};
use kandinsky::internal::sampler::{self, Choice, Denoiser, Noise, Role, Sampler, Step, Steps};
use kandinsky::internal::schedule::{Schedule, SchedulerConfig};
use kandinsky::internal::tensor::tensor;
use kandinsky::{Generator, Profile, Result as Outcome, Tensor};
use ndarray::Axis;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Samples, relative to the largest of their step.
const SAMPLES: f32 = 1e-5;
/// Timesteps that lie between two of training's, and noise levels.
const LEVELS: f32 = 1e-6;
/// Normals against torch's own, absolute.
const NORMALS: f32 = 1e-6;

type Check = Result<usize, String>;

/// Which of our samplers a case runs.
fn sampler_of(case: &Case) -> (String, Role) {
    let config = &case.params["config"];
    let role = if config["prediction_type"] == "sample" { Role::Prior } else { Role::Decoder };
    let on = |field: &str| config[field] == true;
    let name = match case.params["scheduler"].as_str().expect("a class") {
        "UnCLIPScheduler" => "unclip",
        "DDIMScheduler" => "ddim",
        "DDPMScheduler" => "ddpm",
        "PNDMScheduler" if on("skip_prk_steps") => "plms",
        "PNDMScheduler" => "pndm",
        "DPMSolverMultistepScheduler" if config["algorithm_type"] == "sde-dpmsolver++" => "dpmpp_2m_sde",
        "DPMSolverMultistepScheduler" => "dpmpp_2m",
        "UniPCMultistepScheduler" => "unipc",
        "EulerDiscreteScheduler" => "euler",
        "EulerAncestralDiscreteScheduler" => "euler_a",
        "HeunDiscreteScheduler" => "heun",
        "LMSDiscreteScheduler" => "lms",
        other => panic!("no sampler is a {other}"),
    };
    let karras = if on("use_karras_sigmas") { "_karras" } else { "" };
    (format!("{name}{karras}"), role)
}

/// Plays the network's recorded outputs and notes what the sampler makes of them.
struct Recorded {
    outputs: Tensor,
    calls: Vec<f32>,
    inputs: Vec<Tensor>,
    samples: Vec<Tensor>,
    clean: Vec<Tensor>,
}

impl Denoiser for Recorded {
    fn predict(&mut self, x: &Tensor, step: &Step) -> Outcome<Tensor> {
        self.calls.push(step.timestep);
        self.inputs.push(x.clone());
        Ok(self.outputs.index_axis(Axis(0), step.index).as_standard_layout().into_owned())
    }

    fn done(&mut self, _step: &Step, x: &Tensor, x0: &Tensor) -> Outcome<()> {
        self.samples.push(x.clone());
        self.clean.push(x0.clone());
        Ok(())
    }
}

/// Noise as it was drawn; a step that drew none recorded zeros.
struct Drawn(Vec<Tensor>);

impl Noise for Drawn {
    fn draw(&mut self, shape: &[usize]) -> Outcome<Tensor> {
        let place = self.0.iter().position(|n| n.iter().any(|x| *x != 0.0)).expect("noise is left");
        let noise = self.0.drain(..=place).next_back().unwrap();
        assert_eq!(noise.shape(), shape);
        Ok(noise)
    }
}

fn steps_of(stacked: &Tensor) -> Vec<Tensor> {
    stacked.axis_iter(Axis(0)).map(|step| step.as_standard_layout().into_owned()).collect()
}

/// A trajectory: every sample and every predicted clean tensor.
pub fn trajectory(case: &Case) -> Check {
    let (name, role) = sampler_of(case);
    let mut config = case.params["config"].clone();
    config["_class_name"] = case.params["scheduler"].clone();
    if let Some(eta) = case.params.get("eta") {
        config["eta"] = eta.clone();
    }
    let settings = match (role, name.as_str()) {
        (Role::Prior, _) => "prior",
        (_, "ddpm") => "ddpm",
        _ => "ddim",
    };
    let schedulers = BTreeMap::from([(settings.to_owned(), config.clone())]);
    let steps = match case.params["custom_timesteps"].as_array() {
        Some(times) => Steps::At(times.iter().map(|t| i32::try_from(t.as_i64().unwrap()).unwrap()).collect()),
        None => Steps::Count(count(&case.params["num_inference_steps"])),
    };
    let choice = Choice { steps, ..Choice::new(&name, role, 0) };
    let sampler = sampler::build(&choice, &schedulers).map_err(|e| e.to_string())?;
    times(sampler.as_ref(), &case.need("out.timesteps"))?;
    let sigma = tensor(&[1], vec![sampler.init_sigma()]).unwrap();
    if let Some(theirs) = case.find("out.init_noise_sigma") {
        close("out.init_noise_sigma", &sigma, &theirs, LEVELS)?;
    }
    let recorded = play(case, sampler.as_ref(), "in.model_outputs")?;
    let pairs = [
        ("out.samples", &recorded.samples),
        ("out.pred_x0", &recorded.clean),
        ("out.scaled_input", &recorded.inputs),
    ];
    Ok(compare(case, &pairs)? + schedule(case, &config)?)
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a count")).unwrap()
}

/// Timesteps: equal where they are whole.
fn times(sampler: &dyn Sampler, theirs: &Tensor) -> Result<(), String> {
    let ours = sampler.timesteps();
    let whole = theirs.iter().all(|t| t.fract() == 0.0);
    let ours = tensor(&[ours.len()], ours.to_vec()).unwrap();
    close("timesteps", &ours, theirs, if whole { 0.0 } else { LEVELS })
}

/// Samples with the outputs of the network that `outputs` holds.
fn play(case: &Case, sampler: &dyn Sampler, outputs: &str) -> Result<Recorded, String> {
    let outputs = case.need(outputs);
    let mut recorded = Recorded { outputs, calls: vec![], inputs: vec![], samples: vec![], clean: vec![] };
    let mut noise = Drawn(case.find("x.noise").map(|n| steps_of(&n)).unwrap_or_default());
    let start = case.need("in.init") * sampler.init_sigma();
    let end = sampler.sample(&mut recorded, start, &mut noise).map_err(|e| e.to_string())?;
    if recorded.samples.last() != Some(&end) {
        return Err("the result is not the last sample".to_owned());
    }
    if recorded.calls != sampler.timesteps() {
        return Err(format!("the network was called at {:?}", recorded.calls));
    }
    Ok(recorded)
}

/// Compares what a case has of the named tensors, step by step; counts them.
fn compare(case: &Case, pairs: &[(&str, &Vec<Tensor>)]) -> Check {
    let mut checked = 0;
    for (name, ours) in pairs {
        let Some(theirs) = case.find(name) else { continue };
        let theirs = steps_of(&theirs);
        if ours.len() != theirs.len() {
            return Err(format!("{name} has {} steps, not {}", ours.len(), theirs.len()));
        }
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            close(&format!("{name}[{i}]"), ours, theirs, SAMPLES)?;
        }
        checked += 1;
    }
    if checked == 0 {
        return Err("nothing was compared".to_owned());
    }
    Ok(checked)
}

/// Betas and their products, where the case has them.
fn schedule(case: &Case, config: &Value) -> Check {
    let (Some(betas), Some(products)) = (case.find("out.betas"), case.find("out.alphas_cumprod")) else {
        return Ok(0);
    };
    let ours =
        SchedulerConfig::parse(config).and_then(|parsed| parsed.schedule()).map_err(|e| e.to_string())?;
    close("out.betas", &tensor(&[ours.len()], ours.betas.clone()).unwrap(), &betas, 1e-6)?;
    close("out.alphas_cumprod", &tensor(&[ours.len()], ours.alphas_cumprod).unwrap(), &products, 1e-6)?;
    Ok(2)
}

/// The settings that the original's samplers read: its own betas.
fn original_schedulers() -> BTreeMap<String, Value> {
    let linear = json!({"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012});
    let mut ddpm = linear.clone();
    ddpm["_class_name"] = json!("DDPMScheduler");
    let prior = json!({"_class_name": "UnCLIPScheduler", "prediction_type": "sample"});
    BTreeMap::from([("ddim".to_owned(), linear), ("ddpm".to_owned(), ddpm), ("prior".to_owned(), prior)])
}

/// The original repository's samplers, its noising of a start and its mask.
pub fn original(case: &Case) -> Check {
    if case.has("in.x") {
        return q_sample(case);
    }
    if case.has("in.mask") {
        let mask = prepare_mask(&case.need("in.mask")).map_err(|e| e.to_string())?;
        return close_abs("out.mask", &mask, &case.need("out.mask"), 0.0).map(|()| 1);
    }
    let samplers = [
        ("the prior", "unclip", Role::Prior),
        ("p_sample_loop", "ddpm", Role::Decoder),
        ("ddim_sampler", "ddim", Role::Decoder),
        ("plms_sampler", "plms", Role::Decoder),
    ];
    let called = samplers.into_iter().find(|(words, _, _)| case.call.contains(words));
    let (_, name, role) = called.ok_or("no sampler is known for it")?;
    let params = &case.params;
    let steps = count(params.get("steps").or(params.get("num_steps")).expect("steps"));
    let whole = Choice { profile: Profile::Original, ..Choice::new(name, role, steps) };
    let build = |choice: &Choice<'_>| {
        sampler::build(choice, &original_schedulers()).map_err(|error| error.to_string())
    };
    let mut sampler = build(&whole)?;
    if let Some(first) = params["init_step"].as_i64() {
        let mut times = sampler.timesteps().to_vec();
        times.dedup(); // PLMS calls twice at its second timestep
        let skip = times.iter().filter(|t| f64::from(**t) > f64::from(i32::try_from(first).unwrap())).count();
        sampler = build(&Choice { skip, ..whole })?;
    }
    let model_times = case.need("x.model_t").index_axis(Axis(1), 0).to_owned();
    times(sampler.as_ref(), &model_times)?;
    let recorded = play(case, sampler.as_ref(), "x.model_outputs")?;
    let checked = compare(case, &[("out.samples", &recorded.samples)]).unwrap_or(0);
    if let Some(theirs) = case.find("out.sample") {
        close("out.sample", recorded.samples.last().unwrap(), &theirs, SAMPLES)?;
    }
    // PLMS reports one prediction a step, made of several calls; ours are the calls' own.
    if name != "plms" && case.find("out.pred_x0").is_some() {
        compare(case, &[("out.pred_x0", &recorded.clean)])?;
    }
    Ok(checked + 1)
}

fn q_sample(case: &Case) -> Check {
    let schedule = Schedule::image_to_image();
    for t in [300, 699] {
        let name = format!("out.t{t}");
        let ours = schedule.add_noise(&case.need("in.x"), &case.need("in.noise"), &[t]);
        close(&name, &ours.map_err(|e| e.to_string())?, &case.need(&name), SAMPLES)?;
    }
    Ok(2)
}

/// `add_noise` of the decoder's scheduler and of image to image.
pub fn add_noise(case: &Case) -> Check {
    let (x0, noise) = (case.need("in.original"), case.need("in.noise"));
    let times: Vec<i32> = case.need("in.timesteps").iter().map(|t| *t as i32).collect();
    let linear = serde_json::json!({
        "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_schedule": "linear",
        "beta_start": 0.00085, "beta_end": 0.012
    });
    let parsed = SchedulerConfig::parse(&linear).map_err(|e| e.to_string())?;
    let ddim = parsed.schedule().map_err(|e| e.to_string())?;
    for (name, schedule) in [("out.ddim", ddim), ("out.img2img", Schedule::image_to_image())] {
        let ours = schedule.add_noise(&x0, &noise, &times).map_err(|e| e.to_string())?;
        close(name, &ours, &case.need(name), SAMPLES)?;
    }
    Ok(2)
}

/// torch's CUDA generator.
pub fn cuda(case: &Case) -> Check {
    let seed = case.params["seed"].as_u64().unwrap();
    let words = case.whole_exact("out.words_16"); // (4, 16)
    let first = TorchCuda::new(seed);
    for thread in 0..16 {
        let theirs = [0, 1, 2, 3].map(|word| words[word * 16 + thread]);
        let ours = first.words(thread).map(i64::from);
        if ours != theirs {
            return Err(format!("the words of element {thread} are {ours:?}, not {theirs:?}"));
        }
    }
    let mut chain = Generator::TorchCuda.seeded(seed);
    let orders = case.params["order"].as_array().unwrap();
    for order in orders {
        let order = order.as_str().unwrap();
        let ours = chain.normal(&shape(order)).unwrap();
        close_abs(order, &ours, &case.need(&format!("out.chain_{order}")), NORMALS)?;
    }
    Ok(1 + orders.len())
}

fn shape(order: &str) -> Vec<usize> {
    order.split('x').map(|side| side.parse().unwrap()).collect()
}

/// torch's CPU generator.
pub fn rng(case: &Case) -> Check {
    let seed = case.params["seed"].as_u64().unwrap();
    let mut chain = TorchCpu::new(seed);
    let mut checked = 0;
    for order in case.params["order"].as_array().unwrap() {
        let order = order.as_str().unwrap();
        let shape = shape(order);
        let fresh = TorchCpu::new(seed).normal(&shape).unwrap();
        close_abs(order, &fresh, &case.need(&format!("out.fresh_{order}")), NORMALS)?;
        let next = chain.normal(&shape).unwrap();
        close_abs(order, &next, &case.need(&format!("out.chain_{order}")), NORMALS)?;
        checked += 2;
    }
    let mut scalars = TorchCpu::new(seed);
    let parts: Vec<f32> =
        [7, 16, 3].iter().flat_map(|n| scalars.normal(&[*n]).unwrap().into_iter()).collect();
    close_abs("scalars", &tensor(&[26], parts).unwrap(), &case.need("out.scalars_7_then_16"), NORMALS)?;
    let mut uniforms = TorchCpu::new(seed);
    let ours = (0..20).map(|_| uniforms.uniform()).collect();
    close_abs("uniforms", &tensor(&[20], ours).unwrap(), &case.need("out.rand_20"), 0.0)?;
    let mut integers = TorchCpu::new(seed);
    for (i, theirs) in case.whole_exact("out.randint_u32_20").into_iter().enumerate() {
        // torch draws 64 bits for a range of 2^32 and takes them modulo it.
        let ours = i64::try_from(integers.next_u64() & 0xffff_ffff).unwrap();
        if ours != theirs {
            return Err(format!("integer {i} is {ours}, not {theirs}"));
        }
    }
    Ok(checked + 3)
}
