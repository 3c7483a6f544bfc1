//! The C interface as C sees it, for tests in Rust. Generated from capi/src by capi/tests/c_header.rs.

use std::ffi::{c_char, c_void};

pub type Progress = extern "C" fn(
    user_data: *mut c_void,
    job: u64,
    stage: *const c_char,
    stage_length: usize,
    step: u64,
    total: u64,
);
pub type Preview =
    extern "C" fn(user_data: *mut c_void, job: u64, index: u64, step: u64, total: u64, picture: u64);
pub type Log = extern "C" fn(
    user_data: *mut c_void,
    job: u64,
    level: u32,
    message: *const c_char,
    message_length: usize,
);
pub const KD_OK: u32 = 0;
pub const KD_BAD_REQUEST: u32 = 2;
pub const KD_BAD_PROMPT: u32 = 3;
pub const KD_BAD_IMAGE: u32 = 4;
pub const KD_NO_MODEL: u32 = 5;
pub const KD_BAD_MODEL: u32 = 6;
pub const KD_BAD_CHECKPOINT: u32 = 7;
pub const KD_NO_RUNTIME: u32 = 8;
pub const KD_RUNTIME_FAULT: u32 = 9;
pub const KD_IO: u32 = 10;
pub const KD_EXISTS: u32 = 11;
pub const KD_OUT_OF_MEMORY: u32 = 12;
pub const KD_NULL_ARGUMENT: u32 = 20;
pub const KD_INVALID_HANDLE: u32 = 21;
pub const KD_TOO_SMALL: u32 = 22;
pub const KD_REENTRANT: u32 = 23;
pub const KD_PENDING: u32 = 24;
pub const KD_INTERNAL: u32 = 70;
pub const KD_PANIC: u32 = 71;
pub const KD_DEADLINE: u32 = 124;
pub const KD_CANCELLED: u32 = 130;
pub const KD_JOB_NEW: u32 = 0;
pub const KD_JOB_QUEUED: u32 = 1;
pub const KD_JOB_RUNNING: u32 = 2;
pub const KD_JOB_DONE: u32 = 3;
pub const KD_JOB_FAILED: u32 = 4;
pub const KD_JOB_CANCELLED: u32 = 5;
pub const KD_LOG_INFO: u32 = 1;
pub const KD_LOG_WARNING: u32 = 2;

unsafe extern "C" {
    pub fn kd_version(major: *mut u32, minor: *mut u32, patch: *mut u32) -> u32;
    pub fn kd_status_name(status: u32, buffer: *mut c_char, capacity: usize, length: *mut usize) -> u32;
    pub fn kd_status_meaning(status: u32, buffer: *mut c_char, capacity: usize, length: *mut usize) -> u32;
    pub fn kd_engine_open(
        model: *const c_char,
        model_length: usize,
        options: *const c_char,
        options_length: usize,
        engine: *mut u64,
        error: *mut u64,
    ) -> u32;
    pub fn kd_engine_describe(
        engine: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_engine_run(engine: u64, request: u64, picture: *mut u64, error: *mut u64) -> u32;
    pub fn kd_engine_free(engine: u64) -> u32;
    pub fn kd_request_new(request: *mut u64, error: *mut u64) -> u32;
    pub fn kd_request_set(
        request: u64,
        key: *const c_char,
        key_length: usize,
        value: *const c_char,
        value_length: usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_request_set_json(request: u64, json: *const c_char, json_length: usize, error: *mut u64)
    -> u32;
    pub fn kd_request_set_picture(
        request: u64,
        key: *const c_char,
        key_length: usize,
        picture: u64,
        error: *mut u64,
    ) -> u32;
    pub fn kd_request_add_picture(request: u64, picture: u64, error: *mut u64) -> u32;
    pub fn kd_request_json(
        request: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_request_check(
        request: u64,
        engine: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_request_free(request: u64) -> u32;
    pub fn kd_picture_from_pixels(
        pixels: *const u8,
        length: usize,
        width: u32,
        height: u32,
        channels: u32,
        stride: usize,
        picture: *mut u64,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_decode(bytes: *const u8, length: usize, picture: *mut u64, error: *mut u64) -> u32;
    pub fn kd_picture_open(
        path: *const c_char,
        path_length: usize,
        picture: *mut u64,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_size(picture: u64, width: *mut u32, height: *mut u32, error: *mut u64) -> u32;
    pub fn kd_picture_pixels(
        picture: u64,
        channels: u32,
        stride: usize,
        buffer: *mut u8,
        capacity: usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_encode(
        picture: u64,
        format: *const c_char,
        format_length: usize,
        buffer: *mut u8,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_save(
        picture: u64,
        path: *const c_char,
        path_length: usize,
        replace: u32,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_request(
        picture: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_picture_free(picture: u64) -> u32;
    pub fn kd_job_new(engine: u64, request: u64, job: *mut u64, error: *mut u64) -> u32;
    pub fn kd_job_set(
        job: u64,
        key: *const c_char,
        key_length: usize,
        value: *const c_char,
        value_length: usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_job_on_progress(
        job: u64,
        callback: Option<Progress>,
        user_data: *mut c_void,
        error: *mut u64,
    ) -> u32;
    pub fn kd_job_on_preview(
        job: u64,
        callback: Option<Preview>,
        user_data: *mut c_void,
        error: *mut u64,
    ) -> u32;
    pub fn kd_job_on_log(job: u64, callback: Option<Log>, user_data: *mut c_void, error: *mut u64) -> u32;
    pub fn kd_job_start(job: u64, error: *mut u64) -> u32;
    pub fn kd_job_poll(job: u64, state: *mut u32, error: *mut u64) -> u32;
    pub fn kd_job_wait(job: u64, timeout_ms: u64, error: *mut u64) -> u32;
    pub fn kd_job_cancel(job: u64, error: *mut u64) -> u32;
    pub fn kd_job_count(job: u64, count: *mut usize, error: *mut u64) -> u32;
    pub fn kd_job_picture(job: u64, index: usize, picture: *mut u64, error: *mut u64) -> u32;
    pub fn kd_job_report(
        job: u64,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
        error: *mut u64,
    ) -> u32;
    pub fn kd_job_free(job: u64, error: *mut u64) -> u32;
    pub fn kd_error_get(
        error: u64,
        key: *const c_char,
        key_length: usize,
        buffer: *mut c_char,
        capacity: usize,
        length: *mut usize,
    ) -> u32;
    pub fn kd_error_status(error: u64, status: *mut u32) -> u32;
    pub fn kd_error_free(error: u64) -> u32;
}

/// A function by name, whether it takes an error object, and a call of it.
pub type Call = (&'static str, bool, fn(*mut u64) -> u32);
/// Every function by name, called with nulls and zeros and this error object, where it takes one.
pub const CALLS: &[Call] = &[
    ("kd_version", false, |_| unsafe {
        kd_version(std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut())
    }),
    ("kd_status_name", false, |_| unsafe {
        kd_status_name(0, std::ptr::null_mut(), 0, std::ptr::null_mut())
    }),
    ("kd_status_meaning", false, |_| unsafe {
        kd_status_meaning(0, std::ptr::null_mut(), 0, std::ptr::null_mut())
    }),
    ("kd_engine_open", true, |error| unsafe {
        kd_engine_open(std::ptr::null(), 0, std::ptr::null(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_engine_describe", true, |error| unsafe {
        kd_engine_describe(0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_engine_run", true, |error| unsafe { kd_engine_run(0, 0, std::ptr::null_mut(), error) }),
    ("kd_engine_free", false, |_| unsafe { kd_engine_free(0) }),
    ("kd_request_new", true, |error| unsafe { kd_request_new(std::ptr::null_mut(), error) }),
    ("kd_request_set", true, |error| unsafe {
        kd_request_set(0, std::ptr::null(), 0, std::ptr::null(), 0, error)
    }),
    ("kd_request_set_json", true, |error| unsafe { kd_request_set_json(0, std::ptr::null(), 0, error) }),
    ("kd_request_set_picture", true, |error| unsafe {
        kd_request_set_picture(0, std::ptr::null(), 0, 0, error)
    }),
    ("kd_request_add_picture", true, |error| unsafe { kd_request_add_picture(0, 0, error) }),
    ("kd_request_json", true, |error| unsafe {
        kd_request_json(0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_request_check", true, |error| unsafe {
        kd_request_check(0, 0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_request_free", false, |_| unsafe { kd_request_free(0) }),
    ("kd_picture_from_pixels", true, |error| unsafe {
        kd_picture_from_pixels(std::ptr::null(), 0, 0, 0, 0, 0, std::ptr::null_mut(), error)
    }),
    ("kd_picture_decode", true, |error| unsafe {
        kd_picture_decode(std::ptr::null(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_picture_open", true, |error| unsafe {
        kd_picture_open(std::ptr::null(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_picture_size", true, |error| unsafe {
        kd_picture_size(0, std::ptr::null_mut(), std::ptr::null_mut(), error)
    }),
    ("kd_picture_pixels", true, |error| unsafe {
        kd_picture_pixels(0, 0, 0, std::ptr::null_mut(), 0, error)
    }),
    ("kd_picture_encode", true, |error| unsafe {
        kd_picture_encode(0, std::ptr::null(), 0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_picture_save", true, |error| unsafe { kd_picture_save(0, std::ptr::null(), 0, 0, error) }),
    ("kd_picture_request", true, |error| unsafe {
        kd_picture_request(0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_picture_free", false, |_| unsafe { kd_picture_free(0) }),
    ("kd_job_new", true, |error| unsafe { kd_job_new(0, 0, std::ptr::null_mut(), error) }),
    ("kd_job_set", true, |error| unsafe { kd_job_set(0, std::ptr::null(), 0, std::ptr::null(), 0, error) }),
    ("kd_job_on_progress", true, |error| unsafe { kd_job_on_progress(0, None, std::ptr::null_mut(), error) }),
    ("kd_job_on_preview", true, |error| unsafe { kd_job_on_preview(0, None, std::ptr::null_mut(), error) }),
    ("kd_job_on_log", true, |error| unsafe { kd_job_on_log(0, None, std::ptr::null_mut(), error) }),
    ("kd_job_start", true, |error| unsafe { kd_job_start(0, error) }),
    ("kd_job_poll", true, |error| unsafe { kd_job_poll(0, std::ptr::null_mut(), error) }),
    ("kd_job_wait", true, |error| unsafe { kd_job_wait(0, 0, error) }),
    ("kd_job_cancel", true, |error| unsafe { kd_job_cancel(0, error) }),
    ("kd_job_count", true, |error| unsafe { kd_job_count(0, std::ptr::null_mut(), error) }),
    ("kd_job_picture", true, |error| unsafe { kd_job_picture(0, 0, std::ptr::null_mut(), error) }),
    ("kd_job_report", true, |error| unsafe {
        kd_job_report(0, std::ptr::null_mut(), 0, std::ptr::null_mut(), error)
    }),
    ("kd_job_free", true, |error| unsafe { kd_job_free(0, error) }),
    ("kd_error_get", false, |_| unsafe {
        kd_error_get(0, std::ptr::null(), 0, std::ptr::null_mut(), 0, std::ptr::null_mut())
    }),
    ("kd_error_status", false, |_| unsafe { kd_error_status(0, std::ptr::null_mut()) }),
    ("kd_error_free", false, |_| unsafe { kd_error_free(0) }),
];
