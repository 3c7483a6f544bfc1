//! The engine: a model folder on a runtime, from a request to pictures.

use crate::component::Networks;
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::image::Picture;
use crate::metadata;
use crate::pipeline::{self, Drawn, RunContext, memory_estimate};
use crate::priors::{FittedPrior, PriorKind};
use crate::progress::{CancelToken, Observer, PreviewKind, Stage};
use crate::request::{Request, ResolvedRequest};
use crate::residency::{self, Plan};
use crate::runtime::{self, RuntimeOptions};
use crate::stage::encode::Encoder;
use crate::stage::preview;
use crate::status::{EngineStatus, StatusBoard};
use crate::system;
use crate::tensor::Tensor;
use crate::text::{Tokenizers, Truncation};
use crate::timing::Timings;
use crate::turns::{Turn, Turns};
use crate::verification::Verified;
use kandinsky_models::families::{self, FAMILIES, Family};
use kandinsky_models::{Component, Folder, Manifest};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A model folder, opened on a runtime. Share it between threads; requests take turns.
pub struct Engine {
    manifest: Manifest,
    tokenizers: Tokenizers,
    constants: Constants,
    notes: Vec<String>,
    runtime: String,
    memory: Option<u64>,
    turns: Turns,
    board: StatusBoard,
    networks: Mutex<Networks>,
}

/// What came of a request.
#[derive(Debug)]
pub struct Outcome {
    /// The pictures, in order.
    pub pictures: Vec<Picture>,
    /// Their latents f32\[B,4,h,w\], as MoVQ decoded them.
    pub latents: Tensor,
    /// Their image embeddings f32\[B,D\].
    pub image_embeds: Tensor,
    /// What they were steered away from f32\[B,D\].
    pub negative_image_embeds: Tensor,
    /// The request with every number settled.
    pub resolved: ResolvedRequest,
    /// How long each stage took; opening graphs is the stage `load`.
    pub timings: Timings,
    /// When the first step of the denoising loop began.
    pub denoising_began: Option<SystemTime>,
    /// The runtime that ran, with its version.
    pub runtime: String,
    /// The ends of prompts that the encoders did not see.
    pub truncations: Vec<Truncation>,
    /// What the caller should know, each of `truncations` among it, in sentences.
    pub notes: Vec<String>,
}

impl Engine {
    /// Opens the model folder `model` on the best runtime there is.
    ///
    /// # Errors
    /// When it is no model folder, its files are damaged, or no runtime works.
    pub fn open(model: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(model, &RuntimeOptions::default())
    }

    /// Opens the model folder `model` on a runtime of the caller's choice.
    ///
    /// # Errors
    /// As [`Engine::open`]; a runtime asked for by name is never replaced by another.
    pub fn open_with(model: impl AsRef<Path>, options: &RuntimeOptions) -> Result<Self> {
        let folder = Folder::open(model.as_ref())?;
        let family = family(folder.manifest())?;
        let options = &crate::prebuild::fitted(options, folder.manifest())?;
        let verified = Verified::new();
        for role in family.tokenizers.all() {
            verified.check(&folder, folder.file(role)?)?;
        }
        let constants = Constants::read(&verified.check(&folder, folder.file("constants")?)?)?;
        let constants = if options.no_constants { constants.without_encodings() } else { constants };
        let tokenizers = Tokenizers::open(&folder)?;
        let selection = runtime::select(options)?;
        let runtime = selection.runtime.describe();
        let mut networks = Networks::new(folder, selection.runtime);
        networks.keep_encodings(!options.no_encoding_cache);
        Ok(Self {
            manifest: networks.folder().manifest().clone(),
            tokenizers,
            constants,
            notes: selection.notes,
            runtime,
            memory: options.memory,
            turns: Turns::default(),
            board: networks.board(),
            networks: Mutex::new(networks),
        })
    }

    /// What the model says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which runtime runs, with its version.
    pub fn runtime(&self) -> &str {
        &self.runtime
    }

    /// What the caller should know of the choice of runtime.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Graphs that are open. It never waits for a picture.
    pub fn opened(&self) -> Vec<Component> {
        self.board.opened()
    }

    /// What the engine is doing. It never waits for a picture.
    pub fn status(&self) -> EngineStatus {
        let (opened, progress) = (self.board.opened(), self.board.progress());
        EngineStatus { opened, progress, queued: self.turns.length() }
    }

    /// The queue of those who want the engine.
    pub const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Draws one picture.
    ///
    /// # Errors
    /// When the request is not valid, asks for several pictures, or a network fails.
    pub fn run(&self, request: Request) -> Result<Picture> {
        let pictures = request.prompt.len().saturating_mul(request.count);
        if pictures != 1 {
            let message =
                format!("run() returns one picture but the request asks for {pictures}; use run_all()");
            return Err(Error::new(Kind::BadRequest, message));
        }
        let outcome = self.run_all(&request, &mut Observer::default())?;
        let mut pictures = outcome.pictures;
        pictures.pop().ok_or_else(|| Error::new(Kind::Internal, "no picture came out"))
    }

    /// Draws all pictures of a request, at its turn, and tells `observer` how far it is.
    ///
    /// # Errors
    /// When the request is not valid, a network fails, or the observer's token was used.
    pub fn run_all(&self, request: &Request, observer: &mut Observer<'_>) -> Result<Outcome> {
        self.draw(None, request, observer)
    }

    /// As [`Engine::run_all`], for one that has waited for its turn.
    ///
    /// # Errors
    /// As [`Engine::run_all`].
    pub fn run_in_turn(&self, turn: Turn, request: &Request, observer: &mut Observer<'_>) -> Result<Outcome> {
        self.draw(Some(turn), request, observer)
    }

    fn draw(&self, turn: Option<Turn>, request: &Request, observer: &mut Observer<'_>) -> Result<Outcome> {
        let resolved = request.clone().loaded()?.resolve(&self.manifest)?;
        preview::check(observer, &self.constants)?;
        let encoder = self.encoder(resolved.weighted);
        let truncations = encoder.truncations(&resolved.texts())?;
        let prior = resolved.prior_file.as_deref().map(|file| fitted(file, resolved.prior)).transpose()?;
        observer.denoising_began = None;
        let (mut timings, mut opening) = (Timings::default(), Vec::new());
        let turn = turn.map_or_else(|| self.turns.enter().wait(&observer.cancel), Ok)?;
        let drawn = self.in_turn(turn, |networks| {
            let _drawing = self.board.drawing(&observer.progress);
            networks.cancel_with(observer.cancel.clone());
            let previewed = observer.previews.as_ref().is_some_and(|p| p.kind == PreviewKind::Decode);
            let plan = self.planned(networks, &resolved, previewed)?;
            networks.follow(Some(&plan));
            let loaded_before = networks.load_time();
            let sequential = open_graphs(networks, &plan, observer)?;
            timings.add(Stage::Load, networks.load_time().saturating_sub(loaded_before));
            let (constants, prior, timings) = (&self.constants, prior.as_ref(), &mut timings);
            let drawn = pipeline::draw(
                &mut RunContext { networks, encoder, constants, prior, timings, sequential },
                &resolved,
                observer,
            );
            opening = networks.notes();
            drawn
        });
        let Drawn { mut pictures, latents, image_embeds, negative_image_embeds } = drawn?;
        for (index, picture) in pictures.iter_mut().enumerate() {
            picture.describe(metadata::describe(&self.manifest.name, &resolved.picture(index))?);
        }
        let runtime = self.runtime.clone();
        let notes = truncations.iter().map(ToString::to_string).chain(opening).collect();
        Ok(Outcome {
            pictures,
            latents,
            image_embeds,
            negative_image_embeds,
            resolved,
            timings,
            denoising_began: observer.denoising_began,
            runtime,
            truncations,
            notes,
        })
    }

    /// Which graphs a request would hold in memory when, and how much that takes; nothing is drawn.
    ///
    /// # Errors
    /// When the request is not valid, or its largest stage does not fit the memory that was asked for.
    pub fn plan(&self, request: &Request) -> Result<Plan> {
        let resolved = request.clone().loaded()?.resolve(&self.manifest)?;
        self.with_networks(|networks| self.planned(networks, &resolved, false))
    }

    /// The plan of a request. Without a limit of the caller's the machine's spare memory is one, and a request that needs
    /// more is tried as sparingly as it can be.
    fn planned(&self, networks: &mut Networks, resolved: &ResolvedRequest, previewed: bool) -> Result<Plan> {
        let phases = memory_estimate::phases(networks.folder(), &self.constants, resolved, previewed)?;
        let before = networks.opened().into_iter().collect();
        let base = networks.base();
        let footprints = memory_estimate::footprints(networks, &phases, resolved)?;
        let spare = || {
            let spare = system::available()?.saturating_add(system::resident().unwrap_or(0));
            Some(spare.max(residency::least(&phases, &footprints, base)))
        };
        residency::plan(&phases, &footprints, &before, base, self.memory.or_else(spare))
    }

    /// Runs `work` with the networks at its turn, for tests and measurements below the level of requests.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn with_networks<T>(&self, work: impl FnOnce(&mut Networks) -> Result<T>) -> Result<T> {
        self.in_turn(self.turns.enter().wait(&CancelToken::default())?, work)
    }

    /// Runs `work` with the networks and ends the turn.
    fn in_turn<T>(&self, turn: Turn, work: impl FnOnce(&mut Networks) -> Result<T>) -> Result<T> {
        // The turn is given up after the lock, so that the next one finds the networks free.
        let _turn = turn;
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        // The last request's token and plan say nothing about this work.
        networks.cancel_with(CancelToken::default());
        networks.follow(None);
        work(&mut networks)
    }

    /// What encodes texts; `weighted` says whether they are in the notation of prompt weights.
    pub fn encoder(&self, weighted: bool) -> Encoder<'_> {
        Encoder { tokenizers: &self.tokenizers, constants: &self.constants, weighted }
    }

    /// The tokenisers.
    pub fn tokenizers(&self) -> &Tokenizers {
        &self.tokenizers
    }

    /// The model's constants.
    pub fn constants(&self) -> &Constants {
        &self.constants
    }
}

/// The family of a model, which must be one that is run here.
fn family(model: &Manifest) -> Result<&'static Family> {
    families::find(&model.family).ok_or_else(|| {
        let (found, known) = (&model.family, FAMILIES.map(|family| family.name).join(", "));
        Error::new(Kind::BadModel, format!("the model is of the family {found:?}; this program runs {known}"))
    })
}

/// Reads a fitted prior of a kind.
fn fitted(file: &Path, kind: PriorKind) -> Result<FittedPrior> {
    let prior = FittedPrior::open(file)?;
    if prior.card().kind == kind {
        return Ok(prior);
    }
    let (name, found) = (file.display(), prior.card().kind);
    Err(Error::new(Kind::BadRequest, format!("{name} holds a {found} prior, and a {kind} one was asked for")))
}

/// Opens what a request needs, so that the time it takes is told apart, where all of it stays open; else tells how many
/// graphs are opened at their turns.
fn open_graphs(networks: &mut Networks, plan: &Plan, observer: &mut Observer<'_>) -> Result<Option<usize>> {
    let needed: BTreeSet<Component> = plan.steps.iter().flat_map(|step| step.runs.iter().copied()).collect();
    let total = needed.len();
    if !plan.holds_all() {
        return Ok(Some(total));
    }
    for (done, component) in needed.into_iter().enumerate() {
        let opened = networks.open(component).and_then(|()| observer.step(Stage::Load, done + 1, total));
        opened.map_err(|error| error.in_stage(Stage::Load.name()))?;
    }
    Ok(None)
}

/// Where a model is looked for, in order: what the caller names, `KANDINSKY_MODEL`, `models/emoji`
/// beside the executable, in the working directory, and in the source tree that the program was built
/// from, so that `cargo install --path .` gives one that works from anywhere.
pub fn find_model(named: Option<&Path>) -> Result<(PathBuf, &'static str)> {
    if let Some(path) = named {
        return Ok((path.to_owned(), "named"));
    }
    if let Some(path) = std::env::var_os("KANDINSKY_MODEL").filter(|v| !v.is_empty()) {
        return Ok((path.into(), "from KANDINSKY_MODEL"));
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(|p| p.join(BUNDLED)));
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models/emoji"));
    let places = [
        (beside, "beside the executable"),
        (Some(BUNDLED.into()), "in the working directory"),
        (Some(source), "in the source tree it was built from"),
    ];
    let is_model = |path: &PathBuf| path.join(kandinsky_models::manifest::FILE_NAME).is_file();
    let found = places.into_iter().find_map(|(path, how)| Some((path.filter(is_model)?, how)));
    found.ok_or_else(|| {
        let message = format!(
            "no model was found: name one with --model or KANDINSKY_MODEL, or put {BUNDLED} beside the \
             executable or in the working directory"
        );
        Error::new(Kind::NoModel, message)
    })
}

/// The bundled model.
const BUNDLED: &str = "models/emoji";
