//! The door of the shared bodies that leads through the C API.

use super::c;
use bodies::{Pixels, Watched};
use std::ffi::{c_char, c_void};

#[allow(clippy::duplicate_mod, reason = "the bodies are run through each door")]
#[path = "bodies.rs"]
mod bodies;

pub use bodies::BODIES;

pub struct Door(c::Engine);

/// The first failure comes out when the request is drawn.
pub struct Asked(c::Request, Option<String>);

fn held(width: usize, pixels: &[u8]) -> c::Picture {
    let channels = pixels.len() / (width * 64);
    c::Picture::from_pixels(pixels, width as u32, 64, channels as u32, width * channels).unwrap()
}

fn said(error: c::Error) -> String {
    format!("{} {}", error.kind, error.message)
}

impl Asked {
    pub fn new() -> Self {
        Self(c::Request::new(), None)
    }

    pub fn text(mut self, key: &str, value: &str) -> Self {
        let set = self.0.set(key, value).map_err(said);
        self.1 = self.1.or(set.err());
        self
    }

    pub fn number(self, key: &str, value: f64) -> Self {
        self.text(key, &value.to_string())
    }

    pub fn switch(self, key: &str, on: bool) -> Self {
        self.text(key, &on.to_string())
    }

    pub fn size(self, width: usize, height: usize) -> Self {
        self.text("size", &format!("{width}x{height}"))
    }

    pub fn picture(self, key: &str, width: usize, pixels: Pixels) -> Self {
        self.0.set_picture(key, &held(width, &pixels)).unwrap();
        self
    }
}

fn pictures(job: &c::Job) -> Vec<Pixels> {
    (0..job.count().unwrap()).map(|index| job.picture(index).unwrap().rgb()).collect()
}

impl Door {
    pub fn open(model: &std::path::Path) -> Self {
        Self(c::Engine::open(model, crate::c_api::ORT).unwrap())
    }

    pub fn draw(&self, asked: Asked) -> Result<Vec<Pixels>, String> {
        if let Some(failure) = asked.1 {
            return Err(failure);
        }
        let job = self.0.job(&asked.0).map_err(said)?;
        job.start().map_err(said)?;
        job.wait(u64::MAX).map_err(said)?;
        Ok(pictures(&job))
    }

    pub fn replay(&self, asked: Asked, (width, scene): (usize, Pixels)) -> (Pixels, Pixels) {
        let before = self.0.run(&asked.0).unwrap();
        // Through a file's bytes, as a program would.
        let file = c::Picture::decode(&before.encode("png").unwrap()).unwrap();
        let again = c::Request::new();
        again.add_picture(&held(width, &scene)).unwrap();
        again.set_json(&file.request().unwrap()).unwrap();
        (before.rgb(), self.0.run(&again).unwrap().rgb())
    }

    pub fn watch(&self, asked: Asked, every: usize) -> Watched {
        let mut seen = (Vec::new(), Vec::new());
        let data = (&raw mut seen).cast();
        let job = self.0.job(&asked.0).unwrap();
        job.set("preview_every", &every.to_string()).unwrap();
        job.on_progress(on_progress, data).unwrap();
        job.on_preview(on_preview, data).unwrap();
        job.start().unwrap();
        job.wait(u64::MAX).unwrap();
        let pictures = pictures(&job);
        (seen.0, seen.1, pictures)
    }
}

type Seen = (Vec<(String, u64, u64)>, Vec<Pixels>);

extern "C" fn on_progress(
    data: *mut c_void,
    _: u64,
    stage: *const c_char,
    length: usize,
    step: u64,
    total: u64,
) {
    let stage = unsafe { std::ffi::CStr::from_ptr(stage) }.to_str().unwrap();
    assert_eq!(stage.len(), length);
    let seen = unsafe { &mut *data.cast::<Seen>() };
    seen.0.push((stage.to_owned(), step, total));
}

extern "C" fn on_preview(data: *mut c_void, _: u64, _: u64, _: u64, _: u64, picture: u64) {
    // The handle is the library's: it is not freed here.
    let picture = std::mem::ManuallyDrop::new(c::Picture(picture));
    let seen = unsafe { &mut *data.cast::<Seen>() };
    seen.1.push(picture.rgb());
}
