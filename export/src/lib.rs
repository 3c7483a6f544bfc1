//! From a checkpoint to ONNX graphs, without Python and without a runtime: read → draw → write.
//!
//! ```text
//! checkpoint/ ─▶ Part ─▶ Weights ─▶ BuiltGraph ─▶ Graph::write ─▶ model folder
//!  three          a       named      arch,      .onnx and       graphs, tokenisers,
//!  repositories   network tensors    block      .data           constants, model.json
//! ```
//!
//! [`checkpoint`] knows which folder is which network, [`read`] opens its weights (and believes nothing
//! that a file says before it is checked), [`synthetic`] makes weights up where none are at hand.
//! [`arch`] draws each network from its config, out of the parts in [`block`], with the build of [`graph`].
//! Weights stream from the checkpoint into the graphs' data files in pieces, so memory stays near the
//! largest matrix. A model folder appears whole or not at all, and the same checkpoint gives the same
//! bytes.
//!
//! ```no_run
//! use kandinsky_export::{Checkpoint, Request, export};
//! let checkpoint = Checkpoint::find("checkpoint".as_ref())?;
//! let report = export(&Request::new(checkpoint, "models/mine"), &mut |_progress| Ok(()))?;
//! println!("{} weights", report.parameters);
//! # Ok::<(), kandinsky_export::Error>(())
//! ```

pub mod arch;
pub mod block;
pub mod checkpoint;
pub mod checkpoint_file;
pub mod clip_tokenizer;
pub mod config;
mod constants;
mod error;
pub mod graph;
mod manifest;
mod manifest_file;
mod mirror;
mod number;
mod pipeline;
pub mod read;
mod request;
pub mod rewrites;
mod schedulers;
mod staging;
pub mod synthetic;
pub mod target;
mod tokenizers;
pub mod weights;

pub use checkpoint::{Checkpoint, WeightSource};
pub use checkpoint_file::StoredDtype;
pub use constants::{Constant, add_constants};
pub use error::{Error, Result};
pub use mirror::{SyntheticCheckpoint, write_checkpoint};
pub use pipeline::{Finish, export, export_then};
pub use request::{ComponentReport, Overrides, Progress, Report, Request};
pub use rewrites::{GraphStyle, Rewrite, Rewrites};
