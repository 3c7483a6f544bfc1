//! The C interface in Rust's clothes: what a careful C program does, in the shape of the Rust API.

use super::kd::*;
use std::ffi::{c_char, c_void};
use std::path::Path;

/// A failed call, as its error object tells it.
#[derive(Debug)]
pub struct Error {
    pub status: u32,
    pub kind: String,
    pub message: String,
    pub call: String,
    pub stage: String,
    pub cause: String,
}

pub type Result<T> = std::result::Result<T, Error>;

/// A text as C passes it.
pub fn text(text: &str) -> (*const c_char, usize) {
    (text.as_ptr().cast(), text.len())
}

/// Makes a call that takes an error object, and reads and frees what it left.
pub fn checked(call: impl FnOnce(*mut u64) -> u32) -> Result<()> {
    let mut error = u64::MAX;
    let status = call(&raw mut error);
    if status == KD_OK {
        assert_eq!(error, 0, "a success left an error object");
        return Ok(());
    }
    assert_ne!(error, 0, "status {status} left no error object");
    let get = |key: &str| {
        let (key, key_length) = text(key);
        said(|buffer, capacity, length| unsafe {
            kd_error_get(error, key, key_length, buffer, capacity, length)
        })
        .unwrap()
    };
    let mut again = 0;
    assert_eq!(unsafe { kd_error_status(error, &raw mut again) }, KD_OK);
    assert_eq!(again, status);
    let failure = Error {
        status,
        kind: get("kind"),
        message: get("message"),
        call: get("call"),
        stage: get("stage"),
        cause: get("cause"),
    };
    assert_eq!(unsafe { kd_error_free(error) }, KD_OK);
    Err(failure)
}

/// Reads a text: first its length, then itself.
pub fn said(call: impl Fn(*mut c_char, usize, *mut usize) -> u32) -> std::result::Result<String, u32> {
    let mut length = usize::MAX;
    match call(std::ptr::null_mut(), 0, &raw mut length) {
        KD_OK => {}
        status => return Err(status),
    }
    let mut bytes = vec![1_u8; length + 1];
    if length > 0 {
        assert_eq!(call(bytes.as_mut_ptr().cast(), length, &raw mut length), KD_TOO_SMALL);
        assert_eq!(bytes[0], 0, "a buffer that is too small holds the empty text");
    }
    match call(bytes.as_mut_ptr().cast(), bytes.len(), &raw mut length) {
        KD_OK => {}
        status => return Err(status),
    }
    assert_eq!(bytes.pop(), Some(0));
    Ok(String::from_utf8(bytes).unwrap())
}

fn said_checked(call: impl Fn(*mut c_char, usize, *mut usize, *mut u64) -> u32) -> Result<String> {
    checked(|error| call(std::ptr::null_mut(), 0, &mut 0, error))?;
    Ok(said(|buffer, capacity, length| call(buffer, capacity, length, std::ptr::null_mut())).unwrap())
}

macro_rules! owner {
    ($name:ident, $free:ident) => {
        /// Owns a handle.
        #[derive(Debug)]
        pub struct $name(pub u64);

        impl Drop for $name {
            fn drop(&mut self) {
                unsafe { $free(self.0) };
            }
        }
    };
}

owner!(Engine, kd_engine_free);
owner!(Request, kd_request_free);
owner!(Picture, kd_picture_free);

#[derive(Debug)]
pub struct Job(pub u64);

impl Drop for Job {
    fn drop(&mut self) {
        unsafe { kd_job_free(self.0, std::ptr::null_mut()) };
    }
}

impl Engine {
    pub fn open(model: &Path, options: &str) -> Result<Self> {
        let mut engine = 0;
        let (model, model_length) = text(model.to_str().unwrap());
        let (options, options_length) = text(options);
        checked(|error| unsafe {
            kd_engine_open(model, model_length, options, options_length, &raw mut engine, error)
        })?;
        Ok(Self(engine))
    }

    pub fn describe(&self) -> Result<serde_json::Value> {
        let json = said_checked(|buffer, capacity, length, error| unsafe {
            kd_engine_describe(self.0, buffer, capacity, length, error)
        })?;
        Ok(serde_json::from_str(&json).unwrap())
    }

    pub fn run(&self, request: &Request) -> Result<Picture> {
        let mut picture = 0;
        checked(|error| unsafe { kd_engine_run(self.0, request.0, &raw mut picture, error) })?;
        Ok(Picture(picture))
    }

    pub fn job(&self, request: &Request) -> Result<Job> {
        let mut job = 0;
        checked(|error| unsafe { kd_job_new(self.0, request.0, &raw mut job, error) })?;
        Ok(Job(job))
    }
}

impl Request {
    pub fn new() -> Self {
        let mut request = 0;
        checked(|error| unsafe { kd_request_new(&raw mut request, error) }).unwrap();
        Self(request)
    }

    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let ((key, key_length), (value, value_length)) = (text(key), text(value));
        checked(|error| unsafe { kd_request_set(self.0, key, key_length, value, value_length, error) })
    }

    pub fn set_json(&self, json: &str) -> Result<()> {
        let (json, length) = text(json);
        checked(|error| unsafe { kd_request_set_json(self.0, json, length, error) })
    }

    pub fn set_picture(&self, key: &str, picture: &Picture) -> Result<()> {
        let (key, length) = text(key);
        checked(|error| unsafe { kd_request_set_picture(self.0, key, length, picture.0, error) })
    }

    pub fn add_picture(&self, picture: &Picture) -> Result<()> {
        checked(|error| unsafe { kd_request_add_picture(self.0, picture.0, error) })
    }

    pub fn json(&self) -> Result<String> {
        said_checked(|buffer, capacity, length, error| unsafe {
            kd_request_json(self.0, buffer, capacity, length, error)
        })
    }

    pub fn check(&self, engine: &Engine) -> Result<String> {
        let (mut text, mut length) = (vec![0_u8; 1 << 16], 0);
        checked(|error| unsafe {
            kd_request_check(self.0, engine.0, text.as_mut_ptr().cast(), text.len(), &raw mut length, error)
        })?;
        text.truncate(length);
        Ok(String::from_utf8(text).unwrap())
    }
}

impl Picture {
    pub fn from_pixels(pixels: &[u8], width: u32, height: u32, channels: u32, stride: usize) -> Result<Self> {
        let mut picture = 0;
        checked(|error| unsafe {
            kd_picture_from_pixels(
                pixels.as_ptr(),
                pixels.len(),
                width,
                height,
                channels,
                stride,
                &raw mut picture,
                error,
            )
        })?;
        Ok(Self(picture))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut picture = 0;
        checked(|error| unsafe { kd_picture_decode(bytes.as_ptr(), bytes.len(), &raw mut picture, error) })?;
        Ok(Self(picture))
    }

    pub fn open(path: &Path) -> Result<Self> {
        let mut picture = 0;
        let (path, length) = text(path.to_str().unwrap());
        checked(|error| unsafe { kd_picture_open(path, length, &raw mut picture, error) })?;
        Ok(Self(picture))
    }

    pub fn size(&self) -> (u32, u32) {
        let (mut width, mut height) = (0, 0);
        checked(|error| unsafe { kd_picture_size(self.0, &raw mut width, &raw mut height, error) }).unwrap();
        (width, height)
    }

    /// RGB without gaps.
    pub fn rgb(&self) -> Vec<u8> {
        let (width, height) = self.size();
        let stride = width as usize * 3;
        let mut pixels = vec![0; stride * height as usize];
        self.pixels(3, stride, &mut pixels).unwrap();
        pixels
    }

    pub fn pixels(&self, channels: u32, stride: usize, buffer: &mut [u8]) -> Result<()> {
        checked(|error| unsafe {
            kd_picture_pixels(self.0, channels, stride, buffer.as_mut_ptr(), buffer.len(), error)
        })
    }

    pub fn encode(&self, format: &str) -> Result<Vec<u8>> {
        let (format, format_length) = text(format);
        let mut length = 0;
        checked(|error| unsafe {
            kd_picture_encode(self.0, format, format_length, std::ptr::null_mut(), 0, &raw mut length, error)
        })?;
        let mut bytes = vec![0; length];
        checked(|error| unsafe {
            kd_picture_encode(
                self.0,
                format,
                format_length,
                bytes.as_mut_ptr(),
                bytes.len(),
                &raw mut length,
                error,
            )
        })?;
        Ok(bytes)
    }

    pub fn save(&self, path: &Path, replace: bool) -> Result<()> {
        let (path, length) = text(path.to_str().unwrap());
        checked(|error| unsafe { kd_picture_save(self.0, path, length, replace.into(), error) })
    }

    pub fn request(&self) -> Result<String> {
        said_checked(|buffer, capacity, length, error| unsafe {
            kd_picture_request(self.0, buffer, capacity, length, error)
        })
    }
}

impl Job {
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let ((key, key_length), (value, value_length)) = (text(key), text(value));
        checked(|error| unsafe { kd_job_set(self.0, key, key_length, value, value_length, error) })
    }

    pub fn on_progress(&self, callback: Progress, data: *mut c_void) -> Result<()> {
        checked(|error| unsafe { kd_job_on_progress(self.0, Some(callback), data, error) })
    }

    pub fn on_preview(&self, callback: Preview, data: *mut c_void) -> Result<()> {
        checked(|error| unsafe { kd_job_on_preview(self.0, Some(callback), data, error) })
    }

    pub fn on_log(&self, callback: Log, data: *mut c_void) -> Result<()> {
        checked(|error| unsafe { kd_job_on_log(self.0, Some(callback), data, error) })
    }

    pub fn start(&self) -> Result<()> {
        checked(|error| unsafe { kd_job_start(self.0, error) })
    }

    pub fn poll(&self) -> u32 {
        let mut state = u32::MAX;
        checked(|error| unsafe { kd_job_poll(self.0, &raw mut state, error) }).unwrap();
        state
    }

    pub fn wait(&self, timeout_ms: u64) -> Result<()> {
        checked(|error| unsafe { kd_job_wait(self.0, timeout_ms, error) })
    }

    pub fn cancel(&self) -> Result<()> {
        checked(|error| unsafe { kd_job_cancel(self.0, error) })
    }

    pub fn count(&self) -> Result<usize> {
        let mut count = 0;
        checked(|error| unsafe { kd_job_count(self.0, &raw mut count, error) })?;
        Ok(count)
    }

    pub fn picture(&self, index: usize) -> Result<Picture> {
        let mut picture = 0;
        checked(|error| unsafe { kd_job_picture(self.0, index, &raw mut picture, error) })?;
        Ok(Picture(picture))
    }

    pub fn report(&self) -> Result<serde_json::Value> {
        let json = said_checked(|buffer, capacity, length, error| unsafe {
            kd_job_report(self.0, buffer, capacity, length, error)
        })?;
        Ok(serde_json::from_str(&json).unwrap())
    }
}
