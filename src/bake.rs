//! Constants of a model folder: what depends on the weights alone is computed once, at the end of an export.
//!
//! `export/` draws graphs and knows no runtime, so this runs here, on tract with one thread: the same
//! checkpoint gives the same bytes. The caller stores them (`kandinsky_export::add_constants`).

mod preview;

use crate::component::{Networks, image_encoder, text};
use crate::constants::name;
use crate::error::Result;
use crate::runtime::{self, RuntimeOptions};
use crate::tensor::{Tensor, slice};
use crate::text::Tokens;
use kandinsky_models::{Folder, manifest};
use std::path::Path;

/// A constant: its name, its shape and its numbers in row-major order.
pub type Constant = (String, Vec<usize>, Vec<f32>);

/// Computes the embedding of a zero picture, the states of the empty prompt and the linear map of previews of the
/// model folder `model`.
///
/// # Errors
/// When the folder cannot be read or a graph does not run.
pub fn constants(model: &Path) -> Result<Vec<Constant>> {
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
    Ok(tensors.into_iter().map(|(name, tensor)| row_major(name, &tensor)).collect())
}

/// The empty prompt is its two ends.
fn empty_prompt(settings: &manifest::Tokenizer) -> Tokens {
    Tokens { ids: vec![settings.bos, settings.eos], weights: None, total: 2, truncated: None }
}

fn row_major(name: &str, tensor: &Tensor) -> Constant {
    (name.to_owned(), tensor.shape().to_vec(), tensor.as_standard_layout().iter().copied().collect())
}
