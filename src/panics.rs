//! Panics as failures: a defect ends the work that met it, never the process.

use crate::error::{Error, Kind, Result};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// Runs `work`, which messages call `name`, and makes a failure of a panic. What the panic said and where is the
/// failure's cause and does not go to the standard error.
///
/// # Errors
/// Those of `work`; [`Kind::Panic`].
pub fn guarded<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(quieten);
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.unwrap_or_else(|_| {
        let said = SAID.take().unwrap_or_default();
        Err(Error::new(Kind::Panic, format!("{name} met a defect of this library")).caused_by(said))
    })
}

thread_local! {
    /// Whether a panic on this thread will be caught here.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// What the last such panic said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics that are caught here from the standard error: their words go into the failure.
fn quieten() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        if GUARDED.try_with(Cell::get) == Ok(true) {
            let _ = SAID.try_with(|said| said.replace(Some(words(info))));
        } else {
            before(info);
        }
    }));
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("a panic without words");
    match info.location() {
        Some(place) => format!("{what} ({}:{})", place.file(), place.line()),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_its_words_and_its_place() {
        let failure = guarded("a test", || -> Result<()> { panic!("a {} on demand", "panic") }).unwrap_err();
        assert_eq!(failure.kind(), Kind::Panic);
        assert_eq!(failure.to_string(), "a test met a defect of this library");
        let cause = failure.cause().unwrap();
        assert!(cause.starts_with("a panic on demand (") && cause.contains("panics.rs:"), "{cause}");
        assert_eq!(guarded("a test", || Ok(7)), Ok(7));
        let inner = || guarded("inside", || -> Result<()> { panic!("within") });
        assert!(guarded("outside", inner).unwrap_err().to_string().starts_with("inside"));
    }
}
