//! ONNX Runtime's environment: made once a process, with the library and the threads of the first call.

use super::first_line;
use super::library::Library;
use crate::error::{Error, Kind, Result};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use std::sync::{Mutex, PoisonError};

/// The process's environment: made once, with the library and the threads of the first call.
static ENVIRONMENT: Mutex<Option<Loaded>> = Mutex::new(None);

struct Loaded {
    library: Library,
    threads: usize,
    environment: Environment,
}

/// Runs `work` on the environment, which is made now unless it is there.
///
/// # Errors
/// When the process has another library or another number of threads, and those of `work`.
pub(super) fn with_environment<T>(
    library: &Library,
    threads: usize,
    work: impl FnOnce(&Environment) -> Result<T>,
) -> Result<T> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = match slot.take() {
        Some(loaded) => slot.insert(loaded),
        None => {
            let environment = load(library, threads)?;
            slot.insert(Loaded { library: library.clone(), threads, environment })
        }
    };
    if loaded.library.path != library.path {
        let (old, new) = (loaded.library.path.display(), library.path.display());
        let message = format!("this process has loaded onnx runtime from {old}, and {new} was asked for");
        return Err(Error::new(Kind::NoRuntime, message));
    }
    if loaded.threads != threads {
        let old = loaded.threads;
        let message =
            format!("this process runs onnx runtime with {old} threads, and {threads} were asked for");
        return Err(Error::new(Kind::BadRequest, message));
    }
    work(&loaded.environment)
}

fn load(library: &Library, threads: usize) -> Result<Environment> {
    let refused = |reason: String| {
        let path = library.path.display();
        Error::new(Kind::NoRuntime, format!("{path} cannot be loaded: {}", first_line(&reason)))
    };
    let builder = ort::init_from(&library.path).map_err(|e| refused(e.to_string()))?;
    // Several sessions share one pool, and threads that wait must not burn what others need.
    let pool = GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .and_then(|pool| pool.with_inter_threads(1))
        .and_then(|pool| pool.with_spin_control(false))
        .map_err(|e| refused(e.to_string()))?;
    builder
        .with_name("kandinsky")
        .with_telemetry(false)
        .with_global_thread_pool(pool)
        .build()
        .map_err(|e| refused(e.to_string()))
}
