//! `kd_error`: what there is to say of a failed call.

use crate::call::exported;
use crate::failure::Failure;
use crate::handle::Handle;
use crate::pointer::{Out, Text, TextBuffer};
use kandinsky::internal::limits;
use kandinsky::{Error, Kind, Result};

exported! {
    /// What an error says. `key` is one of:
    /// `message`, one sentence that names the value and the limit;
    /// `kind`, the name of its status;
    /// `call`, the function that failed;
    /// `stage`, the stage of the picture that failed (`load`, `look`, `encode`, `prior`, `denoise`, `decode`),
    /// or the empty text;
    /// `cause`, what brought it about (words of the operating system, of a panic), or the empty text.
    fn kd_error_get(error: Handle<Failure>, key: Text, key_length: usize, buffer: TextBuffer, capacity: usize, length: Out<usize>) = get;
    /// The status that came with an error.
    fn kd_error_status(error: Handle<Failure>, status: Out<u32>) = status_of;
    /// Frees an error.
    fn kd_error_free(error: Handle<Failure>) = free;
}

fn get(
    error: Handle<Failure>,
    key: Text,
    key_length: usize,
    buffer: TextBuffer,
    capacity: usize,
    length: Out<usize>,
) -> Result<()> {
    let failure = error.object()?;
    let key = key.text(key_length, limits::KEY_BYTES, "key")?;
    let (message, cause) = (failure.error.to_string(), failure.error.cause());
    let text = match key.as_str() {
        "message" => message.as_str(),
        "kind" => failure.error.kind().name(),
        "call" => failure.call,
        "stage" => failure.error.stage().unwrap_or_default(),
        "cause" => cause.as_deref().unwrap_or_default(),
        _ => {
            let message = format!("an error has no {key:?}; it has message, kind, call, stage and cause");
            return Err(Error::new(Kind::BadRequest, message));
        }
    };
    buffer.say(capacity, length, text)
}

fn status_of(error: Handle<Failure>, status: Out<u32>) -> Result<()> {
    status.set(error.object()?.error.kind().exit_code().into());
    Ok(())
}

fn free(error: Handle<Failure>) -> Result<()> {
    error.free().map(drop)
}
