//! Numbers of the C interface beside the statuses, which are the codes of [`Kind`](kandinsky::Kind).

/// A job that has not been started.
pub const JOB_NEW: u32 = 0;
/// A job that waits for its turn.
pub const JOB_QUEUED: u32 = 1;
/// A job that draws.
pub const JOB_RUNNING: u32 = 2;
/// A job whose pictures are there.
pub const JOB_DONE: u32 = 3;
/// A job that failed, or whose deadline passed.
pub const JOB_FAILED: u32 = 4;
/// A job that was cancelled.
pub const JOB_CANCELLED: u32 = 5;
/// A message that is good to know.
pub const LOG_INFO: u32 = 1;
/// A message that something is not as the caller may think.
pub const LOG_WARNING: u32 = 2;

/// Every one with the name that C has for it, and what it is.
pub const CONSTANTS: [(&str, u32, &str); 8] = [
    ("KD_JOB_NEW", JOB_NEW, "the job has not been started"),
    ("KD_JOB_QUEUED", JOB_QUEUED, "it waits for its turn"),
    ("KD_JOB_RUNNING", JOB_RUNNING, "it draws"),
    ("KD_JOB_DONE", JOB_DONE, "its pictures are there"),
    ("KD_JOB_FAILED", JOB_FAILED, "it failed, or its deadline passed"),
    ("KD_JOB_CANCELLED", JOB_CANCELLED, "it was cancelled"),
    ("KD_LOG_INFO", LOG_INFO, "good to know"),
    ("KD_LOG_WARNING", LOG_WARNING, "something is not as the caller may think"),
];
