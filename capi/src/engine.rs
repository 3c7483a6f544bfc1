//! `kd_engine`: a model folder on a runtime, shared by every thread.

use crate::call::{exported, may_wait};
use crate::draft::Draft;
use crate::handle::{Handle, Kept};
use crate::picture::Held;
use crate::pointer::{OptText, Out, TextBuffer};
use kandinsky::internal::limits;
use kandinsky::internal::request::keys::KEYS;
use kandinsky::{Engine, Error, Kind, Result, RuntimeOptions, find_model};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open engine and where its model is.
pub struct Shared {
    pub(super) engine: Arc<Engine>,
    model: PathBuf,
}

impl Kept for Shared {
    const NAME: &'static str = "an engine";
}

exported! {
    /// Opens a model folder. `model` is its path; without one it is looked for in `KANDINSKY_MODEL`, then in
    /// `models/emoji` beside the executable and in the working directory. `options` is a JSON object, or
    /// nothing: `runtime` (`auto`, `ort`, `openvino`, `tract`, `cuda`, `tensorrt`), `precision` (`f32`, `bf16`,
    /// `f16`, `auto`), `library` and `openvino` (paths of ONNX Runtime's and OpenVINO's libraries), `threads`,
    /// `device`, and the command line's other options of runtimes by their names with `_`, sizes in bytes.
    ///
    /// An engine is never changed: any number of threads may use one. Its jobs take turns.
    fn kd_engine_open(model: OptText, model_length: usize, options: OptText, options_length: usize, engine: Out<Handle<Shared>>) = open, error;
    /// JSON about an engine: `model`, `path`, `runtime`, `notes` (why it is not another runtime), `defaults`,
    /// and `keys`, every key of `kd_request_set` with what it takes.
    fn kd_engine_describe(engine: Handle<Shared>, buffer: TextBuffer, capacity: usize, length: Out<usize>) = describe, error;
    /// Draws one picture and waits for it: the short way, without a job. The picture is the caller's to free.
    /// In a callback it is `KD_REENTRANT`.
    fn kd_engine_run(engine: Handle<Shared>, request: Handle<Draft>, picture: Out<Handle<Held>>) = run, error;
    /// Frees an engine. Jobs that have it keep it until they end.
    fn kd_engine_free(engine: Handle<Shared>) = free;
}

fn open(
    model: OptText,
    model_length: usize,
    options: OptText,
    options_length: usize,
    engine: Out<Handle<Shared>>,
) -> Result<()> {
    let model = model.text(model_length, limits::PATH_BYTES, "model")?;
    let options = options.text(options_length, limits::PICTURE_TEXT_BYTES, "options")?;
    let options = options.map(|json| read(&json)).transpose()?.unwrap_or_default();
    let (model, _) = find_model(model.as_deref().map(Path::new))?;
    let opened = Engine::open_with(&model, &options)?;
    engine.set(Handle::of(Shared { engine: Arc::new(opened), model })?);
    Ok(())
}

fn read(options: &str) -> Result<RuntimeOptions> {
    let bad = |e| Error::new(Kind::BadRequest, format!("the options of an engine: {e}"));
    let options: RuntimeOptions = serde_json::from_str(options).map_err(bad)?;
    options.threads.map_or(Ok(()), |threads| limits::THREADS.check(threads))?;
    Ok(options)
}

fn describe(engine: Handle<Shared>, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    let Shared { engine, model } = &*engine.object()?;
    let keys: Vec<_> = KEYS
        .iter()
        .map(|key| serde_json::json!({ "key": key.path, "takes": key.form.name(), "about": key.about }))
        .collect();
    let json = serde_json::json!({
        "model": engine.manifest().name,
        "path": model,
        "runtime": engine.runtime(),
        "notes": engine.notes(),
        "defaults": engine.manifest().defaults,
        "keys": keys,
    });
    buffer.say(capacity, length, &json.to_string())
}

fn run(engine: Handle<Shared>, request: Handle<Draft>, picture: Out<Handle<Held>>) -> Result<()> {
    may_wait()?;
    let shared = engine.object()?;
    let request = request.object()?.request()?;
    let drawn = shared.engine.run(request)?;
    picture.set(Handle::of(Held::new(drawn, None))?);
    Ok(())
}

fn free(engine: Handle<Shared>) -> Result<()> {
    engine.free().map(drop)
}
