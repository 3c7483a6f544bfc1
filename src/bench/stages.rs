//! The stages, one entry each: which graphs are open, what is made ready beforehand, and what is timed.

use crate::component::prior::Prefix;
use crate::component::text::{ClipText, MultilingualText};
use crate::component::unet::{Context, StepInputs, UnetVariant};
use crate::component::{Networks, movq, prior, text, unet};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::guidance::Guidance;
use crate::pipeline::{self, Sides};
use crate::progress::Observer;
use crate::request::{Request, ResolvedRequest};
use crate::rng::Generator;
use crate::sampler::{self, Choice, Role, Sampler};
use crate::stage::noise::PictureNoise;
use crate::stage::prior::{PriorRun, PriorText};
use crate::tensor::{Tensor, concat, repeat, tensor};
use crate::text::Tokens;
use kandinsky_models::Component;

/// Most steps whose FiLM is computed at once here, as in a request.
const FILM_STEPS: usize = 100;

/// Steps of the picture that is drawn before one is timed.
const WARM_STEPS: usize = 2;

/// An entry of [`STAGES`].
pub struct Stage {
    /// Its name; a part before a point is its group.
    pub name: &'static str,
    /// What is timed.
    pub doc: &'static str,
    kind: How,
    prepare: Prepare,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Each graph is closed before each run and opened by it; a part a graph.
    Opening,
    /// What encodings were kept is forgotten before each run.
    Running,
    /// What encodings were kept stays.
    Repeating,
}

type Prepare = for<'a> fn(&'a Bench<'a>) -> Result<Work<'a>>;

/// Something that can be timed.
pub struct Work<'a> {
    run: Action<'a>,
    before: Option<Action<'a>>,
    warm: Option<Action<'a>>,
}

type Action<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

impl<'a> Work<'a> {
    fn new(run: impl FnMut() -> Result<()> + 'a) -> Self {
        Self { run: Box::new(run), before: None, warm: None }
    }

    /// What is done before each run and not timed.
    ///
    /// # Errors
    /// When a network fails.
    pub fn before(&mut self) -> Result<()> {
        self.before.as_mut().map_or(Ok(()), |before| before())
    }

    /// Runs it, or something shorter that opens and plans the same.
    ///
    /// # Errors
    /// When a network fails.
    pub fn warm(&mut self) -> Result<()> {
        self.warm.as_mut().map_or_else(|| (self.run)(), |warm| warm())
    }

    /// What is timed.
    ///
    /// # Errors
    /// When a network fails.
    pub fn run(&mut self) -> Result<()> {
        (self.run)()
    }
}

/// Every stage, in the order of a picture.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    stage("open", "closes a graph and opens it", How::Opening, unprepared),
    stage("tokenise", "the prompt to tokens, by both tokenisers", How::Running, tokenise),
    stage("encode.clip", "CLIP's text encoder on the prompt", How::Running, encode_clip),
    stage("encode.multilingual", "XLM-R on the prompt", How::Running, encode_multilingual),
    stage("encode.texts", "all texts of a request: prompt and empty prompt, for prior and UNet", How::Running, texts),
    stage("encode.again", "the same for a prompt that comes again", How::Repeating, texts),
    stage("prior.prefix", "the prompt's part of the prior, once a prompt", How::Running, prior_prefix),
    stage("prior.step", "one step of the prior, guided", How::Running, prior_step),
    stage("prior.steps", "all steps of the prior, guided", How::Running, prior_steps),
    stage("prior.all", "the prior from encoded texts: both prompts' parts and all steps", How::Running, prior_all),
    stage("unet.context", "the prompt's part of the UNet, once a picture", How::Running, unet_context),
    stage("unet.film", "scale and shift of all blocks for all steps, once a picture", How::Running, unet_film),
    stage("unet.step", "one step of the UNet, guided", How::Running, unet_step),
    stage("movq.decode", "latents to pixels", How::Running, movq_decode),
    stage("first_step", "from the prompt to the first step of the UNet", How::Running, first_step),
    stage("picture", "a whole picture", How::Running, picture),
];

const fn stage(name: &'static str, doc: &'static str, kind: How, prepare: Prepare) -> Stage {
    Stage { name, doc, kind, prepare }
}

/// The stages by these names or groups, in the order of a picture; all for none.
///
/// # Errors
/// [`Kind::BadRequest`] for a name that is unknown.
pub fn choose(names: &[String]) -> Result<Vec<&'static Stage>> {
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|stage| stage.is(name))) {
        let known: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        let message = format!("there is no stage {unknown:?}; known are {}", known.join(", "));
        return Err(Error::new(Kind::BadRequest, message));
    }
    let wanted = |stage: &&Stage| names.is_empty() || names.iter().any(|name| stage.is(name));
    Ok(STAGES.iter().filter(wanted).collect())
}

impl Stage {
    fn is(&self, name: &str) -> bool {
        self.name == name || self.name.split_once('.').is_some_and(|(group, _)| group == name)
    }

    /// Whether it runs once before it is timed.
    pub fn warms(&self) -> bool {
        self.kind != How::Opening
    }

    /// Whether encodings that were kept are forgotten before each run.
    pub fn forgets(&self) -> bool {
        self.kind != How::Repeating
    }

    /// What is timed, under its names: all of a stage, or each graph that is opened.
    ///
    /// # Errors
    /// When a network fails.
    pub fn parts<'a>(&self, bench: &'a Bench<'a>) -> Result<Vec<(String, Work<'a>)>> {
        if self.kind == How::Opening {
            let opening = |graph: &Component| (format!("open.{graph}"), opening(bench, *graph));
            return Ok(bench.graphs()?.iter().map(opening).collect());
        }
        let work = (self.prepare)(bench)?;
        // What was only needed to make it ready shall not count as memory of this stage.
        bench.close()?;
        Ok(vec![(self.name.to_owned(), work)])
    }

    /// The graphs that a part of it runs.
    ///
    /// # Errors
    /// When the model lacks a UNet.
    pub fn graphs(&self, bench: &Bench<'_>, part: &str) -> Result<Vec<Component>> {
        use Component as C;
        let texts = [C::TextEncoder, C::MultilingualEncoder, C::PriorPrefix];
        Ok(match self.name {
            "open" => {
                bench.graphs()?.into_iter().filter(|graph| part.ends_with(&format!(".{graph}"))).collect()
            }
            "encode.clip" => vec![C::TextEncoder],
            "encode.multilingual" => vec![C::MultilingualEncoder],
            "encode.texts" | "encode.again" => texts.to_vec(),
            "prior.prefix" => vec![C::PriorPrefix],
            "prior.step" | "prior.steps" => vec![C::PriorStep],
            "prior.all" => vec![C::PriorPrefix, C::PriorStep],
            "unet.context" => vec![C::UnetContext],
            "unet.film" => vec![C::UnetFilm],
            "unet.step" => vec![C::UnetStep],
            "movq.decode" => vec![C::MovqDecoder],
            "first_step" => [texts.as_slice(), &[C::PriorStep, C::UnetContext, C::UnetFilm]].concat(),
            "picture" => bench.graphs()?,
            _ => Vec::new(),
        })
    }
}

/// An engine and the picture whose stages are measured.
pub struct Bench<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// What is drawn.
    pub request: Request,
    /// The same with every number settled.
    pub resolved: ResolvedRequest,
}

impl<'a> Bench<'a> {
    /// The stages of a request's picture.
    ///
    /// # Errors
    /// When the request is not valid.
    pub fn new(engine: &'a Engine, request: Request) -> Result<Self> {
        let resolved = request.resolve(engine.manifest())?;
        Ok(Self { engine, request, resolved })
    }

    fn prompt(&self) -> &str {
        self.resolved.prompt_of(0)
    }

    fn graphs(&self) -> Result<Vec<Component>> {
        let turns = self.with(|networks| {
            pipeline::memory_estimate::phases(
                networks.folder(),
                self.engine.constants(),
                &self.resolved,
                false,
            )
        })?;
        let graphs: std::collections::BTreeSet<Component> =
            turns.into_iter().flat_map(|turn| turn.graphs).collect();
        Ok(graphs.into_iter().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Networks) -> Result<T>) -> Result<T> {
        self.engine.with_networks(work)
    }

    /// Forgets the encodings that were kept.
    ///
    /// # Errors
    /// Never; the networks are asked for.
    pub fn forget(&self) -> Result<()> {
        self.with(|networks| {
            networks.forget_encodings();
            Ok(())
        })
    }

    fn close(&self) -> Result<()> {
        self.with(|networks| {
            networks.close();
            Ok(())
        })
    }

    /// Both tokenisers' tokens of the prompt.
    fn tokens(&self) -> Result<(Tokens, Tokens)> {
        let tokenizers = self.engine.tokenizers();
        Ok((tokenizers.clip(self.prompt())?, tokenizers.multilingual(self.prompt())?))
    }

    /// CLIP's view of a prompt; of the empty one, the model's constant where it has one.
    fn clip(&self, prompt: &str) -> Result<ClipText> {
        if let (true, Some(empty)) = (prompt.is_empty(), &self.engine.constants().empty_clip) {
            return Ok(empty.clone());
        }
        let tokens = self.engine.tokenizers().clip(prompt)?;
        self.with(|networks| text::clip(networks, &[tokens]))
    }

    /// What the prior reads: the prompt, and the empty one.
    fn prior_text(&self, networks: &mut Networks) -> Result<PriorText> {
        let encoder = self.engine.encoder(self.resolved.weighted);
        Ok(PriorText {
            unconditional: encoder.prior_text(networks, &[self.resolved.prior_negative().unwrap_or("")])?,
            prompts: encoder.prior_text(networks, &[self.prompt()])?,
        })
    }

    /// What the UNet reads: the unconditional row first where guidance is on.
    fn unet_text(&self, networks: &mut Networks) -> Result<MultilingualText> {
        let encoder = self.engine.encoder(self.resolved.weighted);
        let prompts = [self.resolved.decoder_negative(), self.prompt()];
        let first = if self.guidance().is_on() { 0 } else { 1 };
        encoder.unet_text(networks, prompts.get(first..).unwrap_or_default())
    }

    fn guidance(&self) -> Guidance {
        Guidance::new(self.resolved.guidance)
    }

    fn normals(&self, shape: &[usize]) -> Result<Tensor> {
        Generator::TorchCpu.seeded(self.resolved.seed).normal(shape)
    }

    /// Image embeddings as the prior's are spread, a row for each of the UNet's.
    fn image_embeds(&self) -> Result<Tensor> {
        let constants = self.engine.constants();
        let rows = if self.guidance().is_on() { 2 } else { 1 };
        let normal = self.normals(&[rows, self.engine.manifest().latent.embed])?;
        Ok(normal * &constants.clip_std + &constants.clip_mean)
    }

    fn context(&self) -> Result<Context> {
        let embeds = self.image_embeds()?;
        self.with(|networks| {
            let text = self.unet_text(networks)?;
            unet::context(networks, UnetVariant::Draw, &text, &embeds)
        })
    }

    fn sampler(&self) -> Result<Box<dyn Sampler>> {
        sampler::build(&pipeline::decoder_choice(&self.resolved)?, &self.engine.manifest().schedulers)
    }

    fn timesteps(&self) -> Result<Tensor> {
        let times: Vec<f32> = self.sampler()?.timesteps().iter().copied().take(FILM_STEPS).collect();
        tensor(&[times.len()], times)
    }

    /// Standard normals of the UNet's input: f32\[1,4 or 9,h,w\].
    fn latents(&self, channels: usize) -> Result<Tensor> {
        let sides = Sides::new(&self.engine.manifest().latent, &self.resolved);
        self.normals(&[1, channels, sides.height, sides.width])
    }

    /// The image embedding of the prompt by the prior.
    fn embed(&self, networks: &mut Networks, text: &PriorText) -> Result<Tensor> {
        let resolved = &self.resolved;
        let choice = Choice::new(&resolved.prior_sampler, Role::Prior, resolved.prior_steps);
        let choice = Choice { profile: resolved.profile, ..choice };
        let sampler = sampler::build(&choice, &self.engine.manifest().schedulers)?;
        let mut noise = PictureNoise::new(resolved.generator, &[resolved.seed]);
        let run = PriorRun {
            sampler: sampler.as_ref(),
            guidance: Guidance::new(resolved.prior_guidance),
            noise: &mut noise.part(0, 1),
            start: None,
        };
        crate::stage::prior::sample(networks, text, self.engine.constants(), run, &mut Observer::default())
    }
}

fn unprepared<'a>(_: &'a Bench<'a>) -> Result<Work<'a>> {
    Ok(Work::new(|| Ok(())))
}

fn opening<'a>(bench: &'a Bench<'a>, graph: Component) -> Work<'a> {
    let close = || bench.close();
    let open = move || bench.with(|networks| networks.open(graph));
    Work { before: Some(Box::new(close)), ..Work::new(open) }
}

fn tokenise<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    Ok(Work::new(|| bench.tokens().map(drop)))
}

fn encode_clip<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let (tokens, _) = bench.tokens()?;
    let tokens = [tokens];
    Ok(Work::new(move || bench.with(|networks| text::clip(networks, &tokens)).map(drop)))
}

fn encode_multilingual<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let (_, tokens) = bench.tokens()?;
    let tokens = [tokens];
    Ok(Work::new(move || bench.with(|networks| text::multilingual(networks, &tokens)).map(drop)))
}

fn texts<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    Ok(Work::new(|| {
        bench.with(|networks| {
            bench.prior_text(networks)?;
            bench.unet_text(networks).map(drop)
        })
    }))
}

fn prior_prefix<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let text = bench.clip(bench.prompt())?;
    Ok(Work::new(move || bench.with(|networks| prior::prefix(networks, &text)).map(drop)))
}

fn prior_step<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let PriorText { prompts, unconditional } = bench.with(|networks| bench.prior_text(networks))?;
    let on = Guidance::new(bench.resolved.prior_guidance).is_on();
    let prefix: Prefix = if on { unconditional.joined(&prompts)? } else { prompts };
    let rows = if on { 2 } else { 1 };
    let x = repeat(&bench.normals(&[1, bench.engine.manifest().latent.embed])?, rows)?;
    let t = tensor(&[rows], vec![500.0; rows])?;
    Ok(Work::new(move || bench.with(|n| prior::step(n, &x, &t, &prefix)).map(drop)))
}

fn prior_steps<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let text = bench.with(|networks| bench.prior_text(networks))?;
    Ok(Work::new(move || bench.with(|networks| bench.embed(networks, &text)).map(drop)))
}

fn prior_all<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let [unconditional, prompt] = [bench.resolved.prior_negative().unwrap_or(""), bench.prompt()];
    let texts = [bench.clip(unconditional)?, bench.clip(prompt)?];
    let run = move |networks: &mut Networks| {
        let [unconditional, prompts] = texts.each_ref().map(|text| prior::prefix(networks, text));
        let text = PriorText { unconditional: unconditional?, prompts: prompts? };
        bench.embed(networks, &text).map(drop)
    };
    Ok(Work::new(move || bench.with(&run)))
}

fn unet_context<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let text = bench.with(|networks| bench.unet_text(networks))?;
    let embeds = bench.image_embeds()?;
    let run = move |networks: &mut Networks| unet::context(networks, UnetVariant::Draw, &text, &embeds);
    Ok(Work::new(move || bench.with(&run).map(drop)))
}

fn unet_film<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let (context, times) = (bench.context()?, bench.timesteps()?);
    let run = move |networks: &mut Networks| unet::film(networks, UnetVariant::Draw, &times, &context.aug);
    Ok(Work::new(move || bench.with(&run).map(drop)))
}

fn unet_step<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let context = bench.context()?;
    let film = bench.with(|n| unet::film(n, UnetVariant::Draw, &tensor(&[1], vec![500.0])?, &context.aug))?;
    let film = film.index_axis_move(ndarray::Axis(0), 0).as_standard_layout().into_owned();
    let latents = bench.latents(bench.engine.manifest().latent.unet_channels)?;
    let sample = bench.guidance().duplicate_for_cfg(&latents)?.into_owned();
    let run = move |networks: &mut Networks| {
        let given = StepInputs { sample: sample.view(), film: film.view(), context: context.rows() };
        unet::step(networks, UnetVariant::Draw, &given)
    };
    Ok(Work::new(move || bench.with(&run).map(drop)))
}

fn movq_decode<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let latents = bench.latents(bench.engine.manifest().latent.channels)?;
    Ok(Work::new(move || bench.with(|networks| movq::decode(networks, &latents)).map(drop)))
}

fn first_step<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let times = bench.timesteps()?;
    let run = move |networks: &mut Networks| {
        let prior_text = bench.prior_text(networks)?;
        let unet_text = bench.unet_text(networks)?;
        let positive = bench.embed(networks, &prior_text)?;
        let zero = bench.engine.encoder(bench.resolved.weighted).zero_image(networks)?;
        let embeds = if bench.guidance().is_on() { concat(&[zero, positive], 0)? } else { positive };
        let context = unet::context(networks, UnetVariant::Draw, &unet_text, &embeds)?;
        unet::film(networks, UnetVariant::Draw, &times, &context.aug).map(drop)
    };
    Ok(Work::new(move || bench.with(&run)))
}

fn picture<'a>(bench: &'a Bench<'a>) -> Result<Work<'a>> {
    let draw = |request: &Request| bench.engine.run_all(request, &mut Observer::default()).map(drop);
    let short = bench.request.clone().steps(WARM_STEPS).prior_steps(WARM_STEPS);
    let warm: Action<'a> = Box::new(move || draw(&short));
    Ok(Work { warm: Some(warm), ..Work::new(move || draw(&bench.request)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_all_its_stages_and_an_unknown_name_is_refused() {
        let names = |asked: &[&str]| -> Vec<&str> {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            choose(&asked).unwrap().iter().map(|stage| stage.name).collect()
        };
        assert_eq!(
            names(&["movq.decode", "prior"]),
            ["prior.prefix", "prior.step", "prior.steps", "prior.all", "movq.decode"]
        );
        assert_eq!(names(&[]).len(), STAGES.len());
        let said = choose(&["unet.stepp".to_owned()]).err().unwrap().to_string();
        assert!(said.contains("unet.stepp") && said.contains("unet.step,"), "{said}");
    }
}
