//! The last step of an export: what depends on the weights alone is computed once and stored.
//!
//! `export/` draws graphs and knows no runtime, so this runs here, on tract with one thread: the same
//! checkpoint gives the same bytes.

mod preview;

use crate::component::{Networks, image_encoder, text};
use crate::constants::name;
use crate::error::{Error, Kind, Result};
use crate::runtime::{self, RuntimeOptions};
use crate::tensor::{Tensor, slice};
use crate::text::Tokens;
use kandinsky_models::{Folder, manifest};
use std::path::Path;

/// Computes the embedding of a zero picture, the states of the empty prompt and the linear map of previews, and
/// adds them to the constants of the model folder `model`.
///
/// # Errors
/// When a graph does not run or the folder cannot be written.
pub fn constants(model: &Path) -> Result<()> {
    let folder = Folder::open(model)?;
    let settings = folder.manifest().text.clone();
    let options = RuntimeOptions { runtime: "tract".to_owned(), threads: Some(1), ..Default::default() };
    let mut networks = Networks::new(folder, runtime::select(&options)?.runtime);
    let zero_image = image_encoder::encode_zeros(&mut networks)?;
    networks.close();
    let empty = empty_prompt(&settings.clip);
    let real = empty.ids.len();
    let clip = text::clip(&mut networks, &[empty])?;
    networks.close();
    let multilingual = text::multilingual(&mut networks, &[empty_prompt(&settings.multilingual)])?;
    networks.close();
    let preview = preview::map(&mut networks)?;
    let tensors = [
        (name::ZERO_IMAGE, zero_image),
        (name::EMPTY_CLIP_HIDDEN, slice(&clip.hidden, 1, 0, real)?),
        (name::EMPTY_CLIP_POOLED, clip.pooled),
        (name::EMPTY_MULTILINGUAL_HIDDEN, multilingual.hidden),
        (name::EMPTY_MULTILINGUAL_POOLED, multilingual.pooled),
        (name::PREVIEW, preview),
    ];
    let tensors: Vec<_> = tensors.into_iter().map(|(name, tensor)| plain(name, tensor)).collect();
    kandinsky_export::add_constants(model, &tensors).map_err(Error::from)
}

/// The empty prompt is its two ends.
fn empty_prompt(settings: &manifest::Tokenizer) -> Tokens {
    Tokens { ids: vec![settings.bos, settings.eos], weights: None, total: 2, truncated: None }
}

fn plain(name: &str, tensor: Tensor) -> (String, Vec<usize>, Vec<f32>) {
    let shape = tensor.shape().to_vec();
    (name.to_owned(), shape, tensor.as_standard_layout().iter().copied().collect())
}

impl From<kandinsky_export::Error> for Error {
    fn from(error: kandinsky_export::Error) -> Self {
        use kandinsky_export::Error as E;
        let kind = match error {
            E::Exists(_) => Kind::Exists,
            E::Cancelled => Kind::Cancelled,
            E::Io { .. } => Kind::Io,
            E::Drawing { .. } => Kind::Internal,
            _ => Kind::BadCheckpoint,
        };
        Self::new(kind, error.to_string())
    }
}
