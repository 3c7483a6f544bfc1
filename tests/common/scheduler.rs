//! Golden trajectories of schedulers, and torch's random numbers.

use super::golden::{Case, close, close_abs};
use kandinsky::error::Result as Outcome;
use kandinsky::rng::TorchCpu;
use kandinsky::sampler::{self, Denoiser, Noise, Role, Step};
use kandinsky::schedule::{Schedule, SchedulerConfig};
use kandinsky::tensor::{Tensor, tensor};
use ndarray::Axis;
use std::collections::BTreeMap;

/// Samples, relative to the largest of their step.
const SAMPLES: f32 = 1e-5;
/// Normals against torch's own, absolute.
const NORMALS: f32 = 1e-6;

type Check = Result<usize, String>;

/// Which of our samplers a case runs.
fn sampler_of(case: &Case) -> Option<(&'static str, Role, &'static str)> {
    match case.params["scheduler"].as_str()? {
        "UnCLIPScheduler" => Some(("unclip", Role::Prior, "prior")),
        "DDIMScheduler" => Some(("ddim", Role::Decoder, "ddim")),
        "DDPMScheduler" => Some(("ddpm", Role::Decoder, "ddpm")),
        _ => None,
    }
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
    let (name, role, role_name) = sampler_of(case).expect("a sampler of ours");
    let mut config = case.params["config"].clone();
    config["_class_name"] = case.params["scheduler"].clone();
    if let Some(eta) = case.params.get("eta") {
        config["eta"] = eta.clone();
    }
    let schedulers = BTreeMap::from([(role_name.to_owned(), config.clone())]);
    let steps = usize::try_from(case.params["num_inference_steps"].as_u64().unwrap()).unwrap();
    let sampler = sampler::build(name, &schedulers, role, steps).map_err(|e| e.to_string())?;
    let times = case.need("out.timesteps");
    close_abs("out.timesteps", &tensor(&[steps], sampler.timesteps().to_vec()).unwrap(), &times, 0.0)?;
    let outputs = case.need("in.model_outputs");
    let mut recorded = Recorded { outputs, calls: vec![], inputs: vec![], samples: vec![], clean: vec![] };
    let mut noise = Drawn(case.find("x.noise").map(|n| steps_of(&n)).unwrap_or_default());
    let start = case.need("in.init") * sampler.init_sigma();
    sampler.sample(&mut recorded, start, &mut noise).map_err(|e| e.to_string())?;
    let pairs = [
        ("out.samples", &recorded.samples),
        ("out.pred_x0", &recorded.clean),
        ("out.scaled_input", &recorded.inputs),
    ];
    let mut checked = 1;
    for (name, ours) in pairs {
        let Some(theirs) = case.find(name) else { continue };
        for (i, (ours, theirs)) in ours.iter().zip(steps_of(&theirs)).enumerate() {
            close(&format!("{name}[{i}]"), ours, &theirs, SAMPLES)?;
        }
        checked += 1;
    }
    Ok(checked + schedule(case, &config, role)?)
}

/// Betas and their products, where the case has them.
fn schedule(case: &Case, config: &serde_json::Value, role: Role) -> Check {
    let (Some(betas), Some(products)) = (case.find("out.betas"), case.find("out.alphas_cumprod")) else {
        return Ok(0);
    };
    let parsed = SchedulerConfig::parse(config).map_err(|e| e.to_string())?;
    let default = if role == Role::Prior { "squaredcos_cap_v2" } else { "linear" };
    let ours = parsed.schedule(default, (0.00085, 0.012)).map_err(|e| e.to_string())?;
    close("out.betas", &tensor(&[ours.len()], ours.betas.clone()).unwrap(), &betas, 1e-6)?;
    close("out.alphas_cumprod", &tensor(&[ours.len()], ours.alphas_cumprod).unwrap(), &products, 1e-6)?;
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
    let ddim = parsed.schedule("linear", (0.00085, 0.012)).map_err(|e| e.to_string())?;
    for (name, schedule) in [("out.ddim", ddim), ("out.img2img", Schedule::image_to_image())] {
        let ours = schedule.add_noise(&x0, &noise, &times).map_err(|e| e.to_string())?;
        close(name, &ours, &case.need(name), SAMPLES)?;
    }
    Ok(2)
}

/// torch's CPU generator.
pub fn rng(case: &Case) -> Check {
    let seed = case.params["seed"].as_u64().unwrap();
    let mut chain = TorchCpu::new(seed);
    let mut checked = 0;
    for order in case.params["order"].as_array().unwrap() {
        let order = order.as_str().unwrap();
        let shape: Vec<usize> = order.split('x').map(|s| s.parse().unwrap()).collect();
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
