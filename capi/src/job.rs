//! `kd_job`: the engine's jobs, with callbacks, settings and outcomes in C's terms.

use crate::call::{self, exported, may_wait};
use crate::constants::{
    JOB_CANCELLED, JOB_DONE, JOB_FAILED, JOB_NEW, JOB_QUEUED, JOB_RUNNING, LOG_INFO, LOG_WARNING,
};
use crate::engine::Shared;
use crate::handle::{Handle, Kept};
use crate::picture::Held;
use crate::pointer::{Argument, Out, Text, TextBuffer, UserData};
use crate::request::{Draft, written};
use kandinsky::internal::limits;
use kandinsky::jobs::{self, LogLevel, OnLog, OnPreview, OnProgress, Settings, State};
use kandinsky::{Error, Kind, Preview, PreviewKind, Progress, Result};
use std::ffi::{CString, c_char};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A job of the engine, and its outcome as C holds it.
pub struct Job {
    job: jobs::Job,
    done: Mutex<Option<Done>>,
}

impl Kept for Job {
    const NAME: &'static str = "a job";
}

/// What a job leaves.
#[derive(Clone)]
struct Done {
    pictures: Vec<Arc<Held>>,
    report: Arc<str>,
}

/// `step` of `total` of the stage is done. `stage` has `stage_length` bytes and a NUL, and lives during the call.
pub type Progressed = extern "C" fn(
    user_data: UserData,
    job: Handle<Job>,
    stage: *const c_char,
    stage_length: usize,
    step: u64,
    total: u64,
);
/// What picture `index` of the job looks like after `step` of `total` denoising steps. `picture` is the library's:
/// its handle is freed after the call, so copy or save what shall last.
pub type Previewed = extern "C" fn(
    user_data: UserData,
    job: Handle<Job>,
    index: u64,
    step: u64,
    total: u64,
    picture: Handle<Held>,
);
/// What the caller should know: `level` is one of `KD_LOG_…`. `message` has `message_length` bytes and a NUL, and
/// lives during the call.
pub type Logged = extern "C" fn(
    user_data: UserData,
    job: Handle<Job>,
    level: u32,
    message: *const c_char,
    message_length: usize,
);

/// A progress callback, or none.
pub type ProgressCallback = Option<Progressed>;
/// A preview callback, or none.
pub type PreviewCallback = Option<Previewed>;
/// A log callback, or none.
pub type LogCallback = Option<Logged>;

impl Argument for ProgressCallback {}
impl Argument for PreviewCallback {}
impl Argument for LogCallback {}

exported! {
    /// A job that will draw a request, as it is now, on an engine. It does nothing before `kd_job_start`.
    fn kd_job_new(engine: Handle<Shared>, request: Handle<Draft>, job: Out<Handle<Job>>) = new, error;
    /// Sets one setting of a job that has not been started: `deadline_ms`, milliseconds from the start, waiting
    /// for its turn included, after which it ends with `KD_DEADLINE`; `preview_every`, denoising steps from one
    /// preview to the next (1); `preview_kind`, `linear` (coarse, at no cost to speak of) or `decode`.
    fn kd_job_set(job: Handle<Job>, key: Text, key_length: usize, value: Text, value_length: usize) = set, error;
    /// Sets what is called after every step of every stage; null for nothing.
    fn kd_job_on_progress(job: Handle<Job>, callback: ProgressCallback, user_data: UserData) = on_progress, error;
    /// Sets what is called with previews of the pictures; null for nothing.
    fn kd_job_on_preview(job: Handle<Job>, callback: PreviewCallback, user_data: UserData) = on_preview, error;
    /// Sets what is called with messages; null for nothing. The library prints none by itself.
    fn kd_job_on_log(job: Handle<Job>, callback: LogCallback, user_data: UserData) = on_log, error;
    /// Starts a job on a thread of its own and returns at once. Jobs of one engine take turns, in order.
    fn kd_job_start(job: Handle<Job>) = start, error;
    /// The state of a job, one of `KD_JOB_…`. It never goes back, and of the last three it reaches one.
    fn kd_job_poll(job: Handle<Job>, state: Out<u32>) = poll, error;
    /// Waits until a job has ended, `timeout_ms` at most (0 looks, `KD_FOREVER` waits), and gives its outcome:
    /// `KD_OK`, `KD_CANCELLED`, `KD_DEADLINE`, or the status and the error object of what failed; `KD_PENDING`
    /// when it goes on. Any number of threads may wait. In a callback it is `KD_REENTRANT`.
    fn kd_job_wait(job: Handle<Job>, timeout_ms: u64) = wait, error;
    /// Asks a job to stop, before, while or after it runs, from any thread and from callbacks. It ends before
    /// its next network call; one that has ended stays as it is.
    fn kd_job_cancel(job: Handle<Job>) = cancel, error;
    /// Pictures of a job that is done; `KD_PENDING` before, and the status of a job that failed.
    fn kd_job_count(job: Handle<Job>, count: Out<usize>) = count_of, error;
    /// Picture `index` of a job that is done, from 0. The handle is the caller's to free, and outlives the job.
    fn kd_job_picture(job: Handle<Job>, index: usize, picture: Out<Handle<Held>>) = picture_of, error;
    /// JSON about a job that is done: `runtime`, `regime`, `job` (the request with every number
    /// settled), `seconds` by stage, `notes`.
    fn kd_job_report(job: Handle<Job>, buffer: TextBuffer, capacity: usize, length: Out<usize>) = report, error;
    /// Frees a job. One that runs is cancelled and waited for, a network call at most: afterwards no callback of
    /// it runs. In a callback it is `KD_REENTRANT`.
    fn kd_job_free(job: Handle<Job>) = free, error;
}

fn new(engine: Handle<Shared>, request: Handle<Draft>, job: Out<Handle<Job>>) -> Result<()> {
    let engine = engine.object()?;
    let request = request.object()?.request()?;
    let new = jobs::Job::new(engine.engine.clone(), request);
    #[cfg(feature = "ffi-faults")]
    new.set_up(|settings| {
        settings.listeners.started = Some(Box::new(|| call::faults::strike("the thread of a job")));
        Ok(())
    })?;
    job.set(Handle::of(Job { job: new, done: Mutex::new(None) })?);
    Ok(())
}

fn set(job: Handle<Job>, key: Text, key_length: usize, value: Text, value_length: usize) -> Result<()> {
    let job = job.object()?;
    let key = key.text(key_length, limits::KEY_BYTES, "key")?;
    let value = value.text(value_length, limits::KEY_BYTES, &key)?;
    job.job.set_up(|settings| change(settings, &key, &value))
}

fn change(settings: &mut Settings, key: &str, value: &str) -> Result<()> {
    let wrong = || Error::new(Kind::BadRequest, format!("{key} is {value:?}"));
    match key {
        "deadline_ms" => {
            settings.deadline = Some(Duration::from_millis(value.parse().map_err(|_| wrong())?));
        }
        "preview_every" => settings.preview_every = value.parse().map_err(|_| wrong())?,
        "preview_kind" => {
            let known = PreviewKind::ALL.into_iter().find(|kind| kind.name() == value);
            settings.preview_kind = known.ok_or_else(wrong)?;
        }
        _ => {
            let message =
                format!("a job has no key {key:?}; known are deadline_ms, preview_every, preview_kind");
            return Err(Error::new(Kind::BadRequest, message));
        }
    }
    Ok(())
}

fn on_progress(job: Handle<Job>, callback: ProgressCallback, user_data: UserData) -> Result<()> {
    job.object()?.job.set_up(|settings| {
        settings.listeners.progress =
            callback.map(|callback| -> OnProgress { Box::new(move |p| tell(job, callback, user_data, p)) });
        Ok(())
    })
}

fn on_preview(job: Handle<Job>, callback: PreviewCallback, user_data: UserData) -> Result<()> {
    job.object()?.job.set_up(|settings| {
        settings.listeners.preview =
            callback.map(|callback| -> OnPreview { Box::new(move |p| show(job, callback, user_data, p)) });
        Ok(())
    })
}

fn on_log(job: Handle<Job>, callback: LogCallback, user_data: UserData) -> Result<()> {
    job.object()?.job.set_up(|settings| {
        settings.listeners.log = callback.map(|callback| -> OnLog {
            Box::new(move |level, message| say(job, callback, user_data, level, message))
        });
        Ok(())
    })
}

fn start(job: Handle<Job>) -> Result<()> {
    job.object()?.job.start()
}

fn poll(job: Handle<Job>, state: Out<u32>) -> Result<()> {
    state.set(code(job.object()?.job.status().state));
    Ok(())
}

fn wait(job: Handle<Job>, timeout_ms: u64) -> Result<()> {
    may_wait()?;
    let timeout = (timeout_ms != u64::MAX).then(|| Duration::from_millis(timeout_ms));
    job.object()?.job.wait(timeout).map(drop)
}

fn cancel(job: Handle<Job>) -> Result<()> {
    job.object()?.job.cancel();
    Ok(())
}

fn count_of(job: Handle<Job>, count: Out<usize>) -> Result<()> {
    count.set(job.object()?.job.outcome()?.pictures.len());
    Ok(())
}

fn picture_of(job: Handle<Job>, index: usize, picture: Out<Handle<Held>>) -> Result<()> {
    let Done { pictures, .. } = job.object()?.done()?;
    let found = pictures.get(index).ok_or_else(|| {
        let message = format!("there is no picture {index}; the job has {}, from 0", pictures.len());
        Error::new(Kind::BadRequest, message)
    })?;
    picture.set(Handle::of_shared(found.clone())?);
    Ok(())
}

fn report(job: Handle<Job>, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    buffer.say(capacity, length, &job.object()?.done()?.report)
}

fn free(job: Handle<Job>) -> Result<()> {
    may_wait()?;
    job.free()?.job.close();
    Ok(())
}

const fn code(state: State) -> u32 {
    match state {
        State::New => JOB_NEW,
        State::Queued => JOB_QUEUED,
        State::Running => JOB_RUNNING,
        State::Done => JOB_DONE,
        State::Failed => JOB_FAILED,
        State::Cancelled => JOB_CANCELLED,
    }
}

impl Job {
    /// The outcome as C holds it, the same at each call.
    fn done(&self) -> Result<Done> {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = &*done {
            return Ok(done.clone());
        }
        let outcome = self.job.outcome()?;
        let report = written(&jobs::report(&outcome)?)?.into();
        let pictures = outcome.pictures.iter().map(|picture| Arc::new(Held::new(picture.clone(), None)));
        Ok(done.insert(Done { pictures: pictures.collect(), report }).clone())
    }
}

fn say(job: Handle<Job>, callback: Logged, user_data: UserData, level: LogLevel, message: &str) {
    let level = if level == LogLevel::Info { LOG_INFO } else { LOG_WARNING };
    let text = c_text(message);
    let length = text.as_bytes().len();
    call::callback(|| callback(user_data, job, level, text.as_ptr(), length));
}

fn tell(job: Handle<Job>, callback: Progressed, user_data: UserData, progress: Progress) {
    let stage = c_text(progress.stage.name());
    let length = stage.as_bytes().len();
    let (step, total) = (number(progress.step), number(progress.total));
    call::callback(|| callback(user_data, job, stage.as_ptr(), length, step, total));
}

fn show(job: Handle<Job>, callback: Previewed, user_data: UserData, preview: Preview) {
    let (index, step, total) = (number(preview.picture), number(preview.step), number(preview.total));
    let Ok(picture) = Handle::of(Held::new(preview.image, None)) else { return };
    call::callback(|| callback(user_data, job, index, step, total, picture));
    // The caller may have freed it.
    let _ = picture.free();
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
