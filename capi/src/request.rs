//! `kd_request`: what to draw, set by keys or from JSON.

use crate::call::exported;
use crate::engine::Shared;
use crate::handle::Handle;
use crate::picture::Held;
use crate::pointer::{Out, Text, TextBuffer};
use kandinsky::internal::limits;
use kandinsky::internal::request::{json, keys};
use kandinsky::{Request, Result};

pub(super) use crate::draft::{Draft, written};

exported! {
    /// A request with nothing set: what is not set comes from the model. A request may be used for any number of
    /// jobs, each of which takes it as it is then.
    fn kd_request_new(request: Out<Handle<Draft>>) = new, error;
    /// Sets one setting. `key` is its path in the request's JSON, such as `prompt`, `steps`, `start.kind` or
    /// `mix.0.weight`; docs/c_api.md has all of them. Texts are taken as they are, numbers and lists as in
    /// JSON, sizes as `512x768`, pictures as the path of their file.
    fn kd_request_set(request: Handle<Draft>, key: Text, key_length: usize, value: Text, value_length: usize) = set, error;
    /// Sets everything from JSON, in place of what was set: that of `kd_request_json`, or that which a picture
    /// carries. Pictures that were added stay. A key that no request has is refused.
    fn kd_request_set_json(request: Handle<Draft>, json: Text, json_length: usize) = set_json, error;
    /// Sets a picture in memory, where `key` takes one: `start.picture`, `start.mask`, `negative_picture`,
    /// `mix.0.picture`, … The request holds the picture from now on; the handle may be freed.
    fn kd_request_set_picture(request: Handle<Draft>, key: Text, key_length: usize, picture: Handle<Held>) = set_picture, error;
    /// Adds a picture that the request's JSON names by its hash alone, as that of a picture in memory does.
    fn kd_request_add_picture(request: Handle<Draft>, picture: Handle<Held>) = add_picture, error;
    /// The request's JSON as it is.
    fn kd_request_json(request: Handle<Draft>, buffer: TextBuffer, capacity: usize, length: Out<usize>) = to_json, error;
    /// Checks a request and gives its JSON with every number settled, as an engine would draw it. A seed that is
    /// not set is drawn anew each time.
    fn kd_request_check(request: Handle<Draft>, engine: Handle<Shared>, buffer: TextBuffer, capacity: usize, length: Out<usize>) = check, error;
    /// Frees a request. Jobs that were made of it are not touched.
    fn kd_request_free(request: Handle<Draft>) = free;
}

fn new(request: Out<Handle<Draft>>) -> Result<()> {
    request.set(Handle::of(Draft::default())?);
    Ok(())
}

fn set(request: Handle<Draft>, key: Text, key_length: usize, value: Text, value_length: usize) -> Result<()> {
    let request = request.object()?;
    let key = key.text(key_length, limits::KEY_BYTES, "key")?;
    let value = value.text(value_length, limits::PICTURE_TEXT_BYTES, &key)?;
    request.parts().change(|json| keys::set(json, &key, &value))
}

fn set_json(request: Handle<Draft>, json: Text, json_length: usize) -> Result<()> {
    let request = request.object()?;
    let text = json.text(json_length, limits::PICTURE_TEXT_BYTES, "json")?;
    let object = json::object(&text)?;
    Request::from_object(&object)?;
    request.parts().json = object;
    Ok(())
}

fn set_picture(request: Handle<Draft>, key: Text, key_length: usize, picture: Handle<Held>) -> Result<()> {
    let (request, picture) = (request.object()?, picture.object()?.input());
    let key = key.text(key_length, limits::KEY_BYTES, "key")?;
    let sha256 = picture.sha256().unwrap_or_default().to_owned();
    let mut parts = request.parts();
    let mut changed = parts.clone();
    changed.keep(picture)?;
    changed.change(|json| keys::set_picture(json, &key, &sha256))?;
    *parts = changed;
    Ok(())
}

fn add_picture(request: Handle<Draft>, picture: Handle<Held>) -> Result<()> {
    let (request, picture) = (request.object()?, picture.object()?.input());
    request.parts().keep(picture)
}

fn to_json(request: Handle<Draft>, buffer: TextBuffer, capacity: usize, length: Out<usize>) -> Result<()> {
    let json = written(&request.object()?.parts().json)?;
    buffer.say(capacity, length, &json)
}

fn check(
    request: Handle<Draft>,
    engine: Handle<Shared>,
    buffer: TextBuffer,
    capacity: usize,
    length: Out<usize>,
) -> Result<()> {
    let request = request.object()?.request()?;
    let engine = engine.object()?;
    let job = request.loaded()?.resolve(engine.engine.manifest())?;
    buffer.say(capacity, length, &written(&job)?)
}

fn free(request: Handle<Draft>) -> Result<()> {
    request.free().map(drop)
}
