//! The C interface: a front end like the command line, one file an object.
//!
//! - [`mod@pointer`] holds every `unsafe` of the boundary: what is read from and written to the caller's memory.
//! - [`handle`] holds the table of objects. C sees numbers: a place and its generation, so that a null, stale,
//!   forged or foreign handle is a status and never a wild pointer. Objects are counted references: a job
//!   keeps its engine, so handles may be freed in any order.
//! - [`call`] is the boundary of every function: out-parameters are zeroed, null arguments refused, panics
//!   caught, and the failure becomes a status and, where the caller wants one, an error object.
//!
//! Functions are declared with `exported!`, whose lines are the C header in Rust: the header, its page in
//! `docs/` and the tests of null arguments are generated from them. What a function does stands below, safe
//! and ordinary. Later regimes and settings are keys ([`kandinsky::internal::request::keys`], [`engine`], [`job`]), no new
//! functions.

pub mod call;
pub mod constants;
pub mod draft;
pub mod engine;
pub mod error;
pub mod failure;
pub mod handle;
pub mod job;
pub mod library;
pub mod picture;
pub mod pointer;
pub mod request;
