//! Chooses a runtime and a precision from the table, for what a caller asks and what this machine has.

use super::precision::Precision;
use super::precision_choice::{self, Choice};
use super::{AUTO, RUNTIMES, Runtime, RuntimeEntry, RuntimeOptions, names};
use crate::error::{Error, Kind, Result};
use kandinsky_models::manifest::Target;

/// The runtime that was chosen, and what the caller should know of it.
pub struct Selection {
    /// It.
    pub runtime: Box<dyn Runtime>,
    /// What it computes in; never [`Precision::Auto`].
    pub precision: Precision,
    /// Why it is not another.
    pub notes: Vec<String>,
}

/// Chooses a runtime for a precision: the one asked for, or for `auto` the first of the table that it considers
/// for the precision and that works.
///
/// # Errors
/// [`Kind::BadRequest`] when there is no such runtime or it does not measure operators, and
/// [`Kind::NoRuntime`] when a runtime or precision asked for by name does not work; it is never replaced.
pub fn select(options: &RuntimeOptions) -> Result<Selection> {
    let named = named(options)?;
    if options.profile.is_some() && !named.is_some_and(|entry| entry.profiles) {
        let message = "only onnx runtime profiles operators; ask for it by name";
        return Err(Error::new(Kind::BadRequest, message));
    }
    let Choice { precision, note } = precision_choice::choose(named, options)?;
    let mut notes: Vec<String> = note.into_iter().collect();
    let mut candidates = match named {
        Some(entry) => vec![entry],
        None => automatic(precision).collect(),
    }
    .into_iter()
    .peekable();
    while let Some(entry) = candidates.next() {
        match (entry.open)(options, precision) {
            Ok(opened) => {
                notes.extend(opened.note);
                return Ok(Selection { runtime: opened.runtime, precision, notes });
            }
            Err(reason) if candidates.peek().is_none() => return Err(reason),
            Err(reason) => notes.push(format!("not {}: {reason}", entry.title)),
        }
    }
    Err(Error::new(
        Kind::NoRuntime,
        format!("no runtime computes in {precision} unless it is asked for by name"),
    ))
}

/// The runtime that is asked for, and nothing where the choice is left.
///
/// # Errors
/// [`Kind::BadRequest`] with the names where there is no such runtime.
pub(super) fn named(options: &RuntimeOptions) -> Result<Option<&'static RuntimeEntry>> {
    let name = options.runtime.as_str();
    if name.is_empty() || name == AUTO {
        return Ok(None);
    }
    let unknown = || {
        let known = names().collect::<Vec<_>>().join(", ");
        Error::new(Kind::BadRequest, format!("there is no runtime {name:?}; {known} are known"))
    };
    RUNTIMES.iter().copied().find(|entry| entry.name == name).map(Some).ok_or_else(unknown)
}

/// Runtimes that `auto` considers for a precision, in order.
pub fn automatic(precision: Precision) -> impl Iterator<Item = &'static RuntimeEntry> {
    RUNTIMES.iter().copied().filter(move |entry| entry.automatic.contains(&precision))
}

/// The name of a runtime that measures operators: the one asked for, or the first of the table where the choice is left.
///
/// # Errors
/// As [`select`].
pub fn profiler(options: &RuntimeOptions) -> Result<&'static str> {
    let first = || RUNTIMES.iter().copied().find(|entry| entry.profiles);
    let entry = named(options)?.or_else(first);
    Ok(entry.map_or(AUTO, |entry| entry.name))
}

/// Refuses graphs that were drawn for another runtime than the one asked for.
///
/// # Errors
/// [`Kind::BadModel`] with what to do.
pub fn check_target(target: Target, options: &RuntimeOptions) -> Result<()> {
    let asked = named(options)?;
    if target.is_portable() || asked.is_some_and(|entry| entry.target == Some(target)) {
        return Ok(());
    }
    let (name, asked) = (target.name(), asked.map_or(AUTO, |entry| entry.name));
    let runs = RUNTIMES.iter().copied().find(|entry| entry.target == Some(target));
    let runs = runs.map_or(name, |entry| entry.name);
    let message = format!(
        "the model was exported for {name} and the runtime {asked} was asked for; say --runtime {runs}, or export \
         it with --target portable"
    );
    Err(Error::new(Kind::BadModel, message))
}
