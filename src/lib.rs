//! Kandinsky 2.1 outside Python: pictures from English and Russian text.
//!
//! A model folder holds ONNX graphs, tokenisers and a manifest; an [`Engine`] opens one on a runtime
//! (ONNX Runtime where its library is found, tract elsewhere) and turns a [`Request`] into a
//! [`Picture`]:
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
//! `request` settles every number; `pipeline` says where the image embedding and the first latents come
//! from; `stage` goes from prompt to embeddings to latents to pixels; `stage::denoise` holds the
//! denoising loop, which the `sampler` drives; `component` calls the graphs by name; `runtime`
//! runs them. From `main` to the loop: `cli/src/main.rs` → `cli/src/draw.rs` → `engine` → `pipeline` →
//! `stage::denoise`.
//!
//! A [`Job`] is a request on a thread of its own or of a [`Worker`](jobs::Worker), in a fair queue before
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

mod atomic_file;
mod bake;
mod bench;
mod component;
mod constants;
mod doctor;
mod engine;
mod error;
mod fit;
mod guidance;
mod image;
pub mod jobs;
mod limits;
mod math;
mod metadata;
mod opening;
mod panics;
mod pipeline;
mod prebuild;
mod predict;
mod priors;
mod profile;
mod progress;
mod request;
mod residency;
mod rng;
mod runtime;
mod sampler;
mod schedule;
mod stage;
mod status;
mod system;
mod tensor;
mod text;
mod timing;
mod turns;
mod verification;
/// What draws pictures: a model folder on a runtime.
pub use crate::engine::{Engine, Outcome, find_model};
pub use crate::error::{Error, Kind, Result};
/// Pictures.
pub use crate::image::{Format, Mask, Metadata, Picture};
/// A request at work on a thread of its own.
pub use crate::jobs::Job;
/// How far it is, and how to stop it.
pub use crate::progress::{CancelToken, Observer, Preview, PreviewKind, Previews, Progress, Stage};
/// What to draw, and what it is once every number is settled.
pub use crate::request::{
    Blend, Compositing, Frame, Generator, Input, Interval, Part, PriorKind, Profile, Request,
    ResolvedRequest, Size, Start, Subject,
};
/// Which runtime runs the graphs, and how.
pub use crate::runtime::{CacheMode, Precision, RuntimeOptions};
pub use crate::status::EngineStatus;
/// What a model says of itself.
pub use kandinsky_models::{Component, Manifest};

pub use crate::residency::Plan;
pub use crate::tensor::Tensor;
pub use crate::text::Truncation;
pub use crate::timing::Timings;

/// The engine's rooms, for the program, the C library, tests and measurements of this repository. Nothing here is
/// promised to stay; what is not listed is seen by nobody else, so that the compiler names what nobody uses.
#[doc(hidden)]
#[allow(missing_docs, reason = "documented where it is defined")]
pub mod internal {
    pub mod atomic_file {
        pub use crate::atomic_file::{check_target, write_whole};
    }
    pub mod bake {
        pub use crate::bake::constants;
    }
    pub mod bench {
        pub use crate::bench::{Options, Report, run, stages};
    }
    pub mod component {
        pub use crate::component::{Networks, call_statistics, image_encoder, movq, prior, text, unet};
    }
    pub mod constants {
        pub use crate::constants::Constants;
    }
    pub mod doctor {
        pub use crate::doctor::{Findings, examine};
    }
    pub mod fit {
        pub use crate::fit::{captions, run};
    }
    pub mod guidance {
        pub use crate::guidance::Guidance;
    }
    pub mod image {
        pub use crate::image::{
            Canvas, Rgb, Sides, View, check_target, clip, composite, mask, movq, read_metadata, resize,
        };
    }
    pub mod limits {
        pub use crate::limits::{
            COUNT, KEY_BYTES, Limit, MEMORY, OFFSET, PATH_BYTES, PICTURE_FILE_BYTES, PICTURE_PIXELS,
            PICTURE_SIDE, PICTURE_TEXT_BYTES, PROMPT_BYTES, PROMPT_WEIGHT, REQUEST_PICTURES, SEED, STRENGTH,
            THREADS, TIMESTEP,
        };
    }
    pub mod metadata {
        pub use crate::metadata::{describe, request};
    }
    pub mod opening {
        pub use crate::opening::VerifiedGraphs;
    }
    pub mod panics {
        pub use crate::panics::guarded;
    }
    pub mod pipeline {
        pub use crate::pipeline::{RunContext, Sides, decoder_choice, start};
    }
    pub mod prebuild {
        pub use crate::prebuild::{Built, Event, Tell, build, fitted};
    }
    pub mod priors {
        pub use crate::priors::{Card, FittedPrior, Pairs, Plan, fingerprint};
    }
    pub mod request {
        pub use crate::request::{aspect_size, json, keys, settings};
    }
    pub mod rng {
        pub use crate::rng::{Normals, TorchCpu, TorchCuda};
    }
    pub mod runtime {
        pub use crate::runtime::{
            Graph, GraphSource, Runtime, answer_probe, cache, library, names, ort, precision, profiled,
            provider, select, shapes,
        };
    }
    pub mod sampler {
        pub use crate::sampler::{
            Choice, Denoiser, Entry, Noise, Role, SAMPLERS, Sampler, Shared, Step, Steps, build, names,
        };
    }
    pub mod schedule {
        pub use crate::schedule::{Schedule, SchedulerConfig};
    }
    pub mod stage {
        pub use crate::stage::{denoise, encode, fitted_prior, noise, prior};
    }
    pub mod system {
        pub use crate::system::peak;
    }
    pub mod tensor {
        pub use crate::tensor::{Input, Value, concat, repeat, rows, slice, tensor};
    }
    pub mod text {
        pub use crate::text::{Prompt, Reader, Tokenizers, Tokens, Weighted};
    }
    pub mod verification {
        pub use crate::verification::cache_folder;
    }
}
