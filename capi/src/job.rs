//! `kd_job`: a request at work on a thread of its own, with callbacks, a deadline, and a way to stop it.

use crate::call::{self, exported, may_wait};
use crate::constants::{
    JOB_CANCELLED, JOB_DONE, JOB_FAILED, JOB_NEW, JOB_QUEUED, JOB_RUNNING, LOG_INFO, LOG_WARNING,
};
use crate::engine::Shared;
use crate::handle::{Handle, Kept};
use crate::picture::Held;
use crate::pointer::{Argument, Out, Text, TextBuffer, UserData};
use crate::request::{Draft, written};
use crate::turns::Turns;
use kandinsky::engine::Outcome;
use kandinsky::error::{Error, Kind, Result};
use kandinsky::limits;
use kandinsky::progress::{CancelToken, Observer, Preview, PreviewKind, Previews, Progress};
use kandinsky::request::Request;
use std::ffi::{CString, c_char};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A job: a request that is drawn once.
pub struct Job {
    token: CancelToken,
    /// What the thread will take at the start.
    setup: Mutex<Option<Setup>>,
    turns: Arc<Turns>,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Kept for Job {
    const NAME: &'static str = "a job";
}

/// Everything that a job needs to run.
struct Setup {
    engine: Arc<Shared>,
    request: Request,
    deadline: Option<Duration>,
    every: usize,
    kind: PreviewKind,
    progress: Option<(Progressed, UserData)>,
    preview: Option<(Previewed, UserData)>,
    log: Option<(Logged, UserData)>,
}

enum State {
    New,
    Queued,
    Running,
    Done(Done),
    Failed(Error),
}

/// What a job leaves.
struct Done {
    pictures: Vec<Arc<Held>>,
    report: String,
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
    let turns = engine.turns.clone();
    let setup = Setup {
        engine,
        request,
        deadline: None,
        every: 1,
        kind: PreviewKind::Linear,
        progress: None,
        preview: None,
        log: None,
    };
    let new = Job {
        token: CancelToken::default(),
        setup: Mutex::new(Some(setup)),
        turns,
        state: Mutex::new(State::New),
        changed: Condvar::new(),
        thread: Mutex::new(None),
    };
    job.set(Handle::of(new)?);
    Ok(())
}

fn set(job: Handle<Job>, key: Text, key_length: usize, value: Text, value_length: usize) -> Result<()> {
    let job = job.object()?;
    let key = key.text(key_length, limits::KEY_BYTES, "key")?;
    let value = value.text(value_length, limits::KEY_BYTES, &key)?;
    let wrong = || Error::new(Kind::BadRequest, format!("{key} is {value:?}"));
    job.set_up(|setup| {
        match key.as_str() {
            "deadline_ms" => {
                setup.deadline = Some(Duration::from_millis(value.parse().map_err(|_| wrong())?))
            }
            "preview_every" => setup.every = value.parse().map_err(|_| wrong())?,
            "preview_kind" => {
                let known = PreviewKind::ALL.into_iter().find(|kind| kind.name() == value);
                setup.kind = known.ok_or_else(wrong)?;
            }
            _ => {
                let message =
                    format!("a job has no key {key:?}; known are deadline_ms, preview_every, preview_kind");
                return Err(Error::new(Kind::BadRequest, message));
            }
        }
        Ok(())
    })
}

fn on_progress(job: Handle<Job>, callback: ProgressCallback, user_data: UserData) -> Result<()> {
    job.object()?.set_up(|setup| {
        setup.progress = callback.map(|callback| (callback, user_data));
        Ok(())
    })
}

fn on_preview(job: Handle<Job>, callback: PreviewCallback, user_data: UserData) -> Result<()> {
    job.object()?.set_up(|setup| {
        setup.preview = callback.map(|callback| (callback, user_data));
        Ok(())
    })
}

fn on_log(job: Handle<Job>, callback: LogCallback, user_data: UserData) -> Result<()> {
    job.object()?.set_up(|setup| {
        setup.log = callback.map(|callback| (callback, user_data));
        Ok(())
    })
}

fn start(handle: Handle<Job>) -> Result<()> {
    let job = handle.object()?;
    let mut thread = job.thread.lock().unwrap_or_else(PoisonError::into_inner);
    let setup = job.setup.lock().unwrap_or_else(PoisonError::into_inner).take();
    let setup = setup.ok_or_else(started)?;
    if let Some(deadline) = setup.deadline.and_then(|after| Instant::now().checked_add(after)) {
        job.token.stop_at(deadline);
    }
    job.enter(State::Queued);
    let running = job.clone();
    let spawned = std::thread::Builder::new()
        .name("kandinsky-job".to_owned())
        .spawn(move || running.work(handle, setup));
    match spawned {
        Ok(spawned) => {
            *thread = Some(spawned);
            Ok(())
        }
        Err(e) => {
            let failure = Error::new(Kind::OutOfMemory, format!("no thread can be started: {e}"));
            job.enter(State::Failed(failure.clone()));
            Err(failure)
        }
    }
}

fn started() -> Error {
    Error::new(Kind::BadRequest, "the job has been started")
}

fn poll(job: Handle<Job>, state: Out<u32>) -> Result<()> {
    state.set(job.object()?.state().code());
    Ok(())
}

fn wait(job: Handle<Job>, timeout_ms: u64) -> Result<()> {
    may_wait()?;
    let job = job.object()?;
    // A deadline beyond what the clock can tell is none.
    let timeout = (timeout_ms != u64::MAX).then(|| Duration::from_millis(timeout_ms));
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut state = job.state();
    while !state.has_ended() {
        if matches!(*state, State::New) {
            return Err(Error::new(Kind::BadRequest, "the job has not been started"));
        }
        state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => job.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => return Err(pending()),
            Some(left) => job.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
    state.done().map(drop)
}

fn cancel(job: Handle<Job>) -> Result<()> {
    job.object()?.cancel();
    Ok(())
}

fn count_of(job: Handle<Job>, count: Out<usize>) -> Result<()> {
    count.set(job.object()?.state().done()?.pictures.len());
    Ok(())
}

fn picture_of(job: Handle<Job>, index: usize, picture: Out<Handle<Held>>) -> Result<()> {
    let job = job.object()?;
    let state = job.state();
    let pictures = &state.done()?.pictures;
    let found = pictures.get(index).ok_or_else(|| {
        let message = format!("there is no picture {index}; the job has {}, from 0", pictures.len());
        Error::new(Kind::BadRequest, message)
    })?;
    picture.set(Handle::of_shared(found.clone())?);
    Ok(())
}

fn report(job: Handle<Job>, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    buffer.say(capacity, length, &job.object()?.state().done()?.report)
}

fn free(job: Handle<Job>) -> Result<()> {
    may_wait()?;
    let job = job.free()?;
    job.cancel();
    let thread = job.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
    // What happened on the thread is in the job's state.
    let _ = thread.map(JoinHandle::join);
    Ok(())
}

fn pending() -> Error {
    Error::new(Kind::Pending, "the job has not ended yet")
}

impl State {
    const fn code(&self) -> u32 {
        match self {
            Self::New => JOB_NEW,
            Self::Queued => JOB_QUEUED,
            Self::Running => JOB_RUNNING,
            Self::Done(_) => JOB_DONE,
            Self::Failed(error) if matches!(error.kind(), Kind::Cancelled) => JOB_CANCELLED,
            Self::Failed(_) => JOB_FAILED,
        }
    }

    const fn has_ended(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }

    fn done(&self) -> Result<&Done> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Failed(error) => Err(error.clone()),
            _ => Err(pending()),
        }
    }
}

impl Job {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, state: State) {
        *self.state() = state;
        self.changed.notify_all();
    }

    fn set_up(&self, change: impl FnOnce(&mut Setup) -> Result<()>) -> Result<()> {
        let mut setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        change(setup.as_mut().ok_or_else(started)?)
    }

    fn cancel(&self) {
        self.token.cancel();
        self.turns.look();
    }

    /// The thread of the job.
    fn work(&self, handle: Handle<Self>, setup: Setup) {
        let outcome = call::guarded(THREAD, || {
            let turn = setup.engine.turns.take(&self.token)?;
            self.enter(State::Running);
            let outcome = setup.draw(handle, self.token.clone())?;
            drop(turn);
            done(outcome)
        });
        // Who has waited for the job may count on the engine's memory.
        drop(setup);
        self.enter(outcome.map_or_else(State::Failed, State::Done));
    }
}

/// The name of a job's thread where tests make it panic.
const THREAD: &str = "the thread of a job";

impl Setup {
    fn draw(&self, job: Handle<Job>, cancel: CancelToken) -> Result<Outcome> {
        let engine = &self.engine.engine;
        self.say(job, LOG_INFO, &format!("{} runs on {}", engine.manifest().name, engine.runtime()));
        engine.notes().iter().for_each(|note| self.say(job, LOG_WARNING, note));
        let on_progress = self.progress.map(|(callback, user_data)| -> Box<dyn FnMut(Progress)> {
            Box::new(move |progress| tell(job, callback, user_data, progress))
        });
        let previews = self.preview.map(|(callback, user_data)| Previews {
            every: self.every,
            kind: self.kind,
            show: Box::new(move |preview| show(job, callback, user_data, preview)),
        });
        let mut watch = Observer { on_progress, previews, cancel, ..Observer::default() };
        let outcome = engine.run_all(&self.request, &mut watch)?;
        outcome.notes.iter().for_each(|note| self.say(job, LOG_WARNING, note));
        Ok(outcome)
    }

    fn say(&self, job: Handle<Job>, level: u32, message: &str) {
        if let Some((callback, user_data)) = self.log {
            let text = c_text(message);
            let length = text.as_bytes().len();
            call::callback(|| callback(user_data, job, level, text.as_ptr(), length));
        }
    }
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

fn done(outcome: Outcome) -> Result<Done> {
    let seconds = outcome.timings.iter().map(|(stage, time)| (stage.name().to_owned(), time.as_secs_f64()));
    let total = ("total".to_owned(), outcome.timings.total().as_secs_f64());
    let seconds: serde_json::Map<_, _> = seconds.chain([total]).map(|(name, s)| (name, s.into())).collect();
    let report = written(&serde_json::json!({
        "runtime": outcome.runtime,
        "regime": outcome.resolved.regime(),
        "job": outcome.resolved,
        "seconds": seconds,
        "notes": outcome.notes,
    }))?;
    let pictures = outcome.pictures.into_iter().map(|picture| Arc::new(Held::new(picture, None))).collect();
    Ok(Done { pictures, report })
}
