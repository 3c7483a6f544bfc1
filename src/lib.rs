//! Kandinsky 2.1 outside Python: pictures from English and Russian text.
//!
//! A model folder holds ONNX graphs, tokenisers and a manifest; an [`Engine`] opens one on a runtime
//! (ONNX Runtime where its library is found, tract elsewhere) and turns a [`Request`] into a
//! [`Picture`](image::Picture):
//!
//! ```
//! use kandinsky::{Engine, Request};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("apple.png");
//! let engine = Engine::open("models/emoji")?; // picks a runtime; engine.runtime() says which
//! let request = Request::text_to_image("красное яблоко").seed(7);
//! # let request = request.steps(4).prior_steps(2);
//! let picture = engine.run(request)?;
//! picture.save(&path)?; // the PNG carries the request
//! # assert_eq!(picture.size().to_string(), "128x128");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every regime of the paper is a request: [`Request::variation`], [`Request::mix`], [`Request::edit`],
//! [`Request::inpaint`], [`Request::outpaint`], and what goes together composes.
//!
//! # The way through
//!
//! [`request`] settles every number; [`pipeline`] says where the image embedding and the first latents come
//! from; [`stage`] goes from prompt to embeddings to latents to pixels; [`stage::denoise`] holds the
//! denoising loop, which the [`sampler`] drives; [`component`] calls the graphs by name; [`runtime`]
//! runs them. From `main` to the loop: `cli/src/main.rs` → `cli/src/draw.rs` → [`engine`] → [`pipeline`] →
//! [`stage::denoise`].
//!
//! A [`Job`](jobs::Job) is a request on a thread of its own or of a [`Worker`](jobs::Worker), in a fair queue before
//! its engine, which can be watched, waited for and cancelled.
//!
//! The command line, the C library and whatever else asks for pictures are crates of their own above this one.
//!
//! A new sampler, prior, start, runtime or command is one file and one line in a list. A new setting is one entry
//! in [`request::settings::list`].
//!
//! # Numbers
//!
//! Profile `diffusers`: the same prompt, seed and settings give diffusers' picture. Picture i of a
//! request has a generator of its own, torch's CPU generator seeded with seed + i, which draws the
//! prior's noise and then the decoder's.

pub mod atomic_file;
pub mod bake;
pub mod bench;
pub mod component;
pub mod constants;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod fit;
pub mod guidance;
pub mod image;
pub mod jobs;
pub mod limits;
pub mod math;
pub mod metadata;
pub mod opening;
pub mod panics;
pub mod pipeline;
pub mod prebuild;
pub mod predict;
pub mod priors;
pub mod profile;
pub mod progress;
pub mod request;
pub mod residency;
pub mod rng;
pub mod runtime;
pub mod sampler;
pub mod schedule;
pub mod stage;
pub mod status;
pub mod system;
pub mod tensor;
pub mod text;
pub mod timing;
pub mod turns;
pub mod verification;

pub use engine::{Engine, Outcome};
pub use error::{Error, Kind, Result};
pub use jobs::Job;
pub use request::{Request, Size};
