//! What the library says of itself: its version, and what statuses mean.

use crate::call::exported;
use crate::pointer::{Out, TextBuffer};
use kandinsky::{Error, Kind, Result};

exported! {
    /// The version of the library that runs, which may be newer than the header's `KD_VERSION_…`. Functions and
    /// statuses are only ever added while the major version is the same.
    fn kd_version(major: Out<u32>, minor: Out<u32>, patch: Out<u32>) = version;
    /// The name of a status, such as `bad_request`: the one that `kandinsky --json` prints; `ok` for `KD_OK`.
    fn kd_status_name(status: u32, buffer: TextBuffer, capacity: usize, length: Out<usize>) = name;
    /// What a status means, in a sentence.
    fn kd_status_meaning(status: u32, buffer: TextBuffer, capacity: usize, length: Out<usize>) = meaning;
}

fn version(major: Out<u32>, minor: Out<u32>, patch: Out<u32>) -> Result<()> {
    let parts = [
        (major, env!("CARGO_PKG_VERSION_MAJOR")),
        (minor, env!("CARGO_PKG_VERSION_MINOR")),
        (patch, env!("CARGO_PKG_VERSION_PATCH")),
    ];
    parts.into_iter().for_each(|(out, part)| out.set(part.parse().unwrap_or(0)));
    Ok(())
}

fn name(status: u32, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    let name = if status == 0 { "ok" } else { kind(status)?.name() };
    buffer.say(capacity, length, name)
}

fn meaning(status: u32, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    let meaning = if status == 0 { "success" } else { kind(status)?.meaning() };
    buffer.say(capacity, length, meaning)
}

fn kind(status: u32) -> Result<Kind> {
    let known = Kind::ALL.into_iter().find(|kind| u32::from(kind.exit_code()) == status);
    known.ok_or_else(|| Error::new(Kind::BadRequest, format!("there is no status {status}")))
}
