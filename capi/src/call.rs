//! The boundary that every exported function is called through.

use crate::failure::Failure;
use crate::handle::Handle;
use crate::pointer::OptOut;
use kandinsky::internal::panics;
use kandinsky::{Error, Kind, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What every exported function returns: 0, or the code of a [`Kind`].
pub type Status = u32;

/// Declares exported functions: `fn c_name(parameters) = rust_function;`. Those that end in `, error` have a
/// last parameter for an error object.
macro_rules! exported {
    ($($(#[doc = $doc:literal])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:path $(, $error:ident)?;)*) => {$(
        $(#[doc = $doc])*
        ///
        /// # Safety
        /// Pointers point to what the header says.
        #[allow(clippy::too_many_arguments, reason = "C has no other way to say so much")]
        #[expect(unsafe_code, reason = "C calls it by this name")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            $($arg: $ty,)*
            $($error: $crate::pointer::OptOut<$crate::handle::Handle<$crate::failure::Failure>>,)?
        ) -> $crate::call::Status {
            #[allow(unused_imports, reason = "not every function has arguments")]
            use $crate::pointer::Argument as _;
            let wanted = [$($error)?].into_iter().next();
            $crate::call::call(stringify!($name), wanted, || {
                $($arg.clear();)*
                $($arg.check(stringify!($arg))?;)*
                $body($($arg),*)
            })
        }
    )*};
}
pub(crate) use exported;

/// Runs an exported function: whatever happens in it becomes a status.
pub fn call(
    name: &'static str,
    error: Option<OptOut<Handle<Failure>>>,
    body: impl FnOnce() -> Result<()>,
) -> Status {
    // The object is made under the same guard: only its absence can tell of a panic in there.
    let told = catch_unwind(AssertUnwindSafe(|| {
        if let Some(error) = error {
            error.set(Handle::default());
        }
        let Err(failure) = guarded(name, body) else { return 0 };
        let status = Status::from(failure.kind().exit_code());
        if let Some(error) = error.filter(|error| error.is_wanted()) {
            error.set(Handle::of(Failure::new(failure, name)).unwrap_or_default());
        }
        status
    }));
    told.unwrap_or(Status::from(Kind::Panic.exit_code()))
}

/// Runs `work` and makes a failure of a panic.
///
/// # Errors
/// Those of `work`; [`Kind::Panic`].
fn guarded<T>(name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    panics::guarded(name, || {
        #[cfg(feature = "ffi-faults")]
        faults::strike(name);
        work()
    })
}

thread_local! {
    /// Whether this thread runs a callback of the caller.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Runs a callback of the caller.
pub fn callback(run: impl FnOnce()) {
    let before = IN_CALLBACK.replace(true);
    run();
    IN_CALLBACK.set(before);
}

/// Refuses what would wait for a job, inside a callback: the job may wait for the callback.
///
/// # Errors
/// [`Kind::Reentrant`].
pub fn may_wait() -> Result<()> {
    if IN_CALLBACK.get() {
        let message = "a callback of a job may not wait for jobs; cancel it, or wait on another thread";
        return Err(Error::new(Kind::Reentrant, message));
    }
    Ok(())
}

/// Panics on demand, for tests.
#[cfg(feature = "ffi-faults")]
pub mod faults {
    use std::sync::{Mutex, PoisonError};

    static ARMED: Mutex<Option<String>> = Mutex::new(None);

    /// The next call of the function `name` panics; `the thread of a job` is one, too.
    pub fn arm(name: &str) {
        *ARMED.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// Panics when `name` was armed.
    pub fn strike(name: &str) {
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.as_deref() == Some(name) {
            *armed = None;
            drop(armed);
            unreachable!("a panic on demand in {name}");
        }
    }
}
