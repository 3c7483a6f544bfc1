//! What depends on the model alone: computed once at export and stored in `constants.safetensors`.

use crate::component::text::{ClipText, MultilingualText, full_mask};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Tensor, tensor};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// Largest constants file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// The model's constants.
#[derive(Debug, Clone)]
pub struct Constants {
    /// Mean of image embeddings f32\[1,D\]; the prior works on normalised ones.
    pub clip_mean: Tensor,
    /// Standard deviation of image embeddings f32\[1,D\].
    pub clip_std: Tensor,
    /// Image embedding f32\[1,D\] of a picture whose prepared pixels are all 0: the decoder's negative.
    pub zero_image: Option<Tensor>,
    /// CLIP's states of the empty prompt.
    pub empty_clip: Option<ClipText>,
    /// XLM-R's states of the empty prompt.
    pub empty_multilingual: Option<MultilingualText>,
    /// Linear map f32\[5,3\] from the 4 channels of a latent and 1 to a colour in \[-1,1\], for previews.
    /// Folders of earlier exports lack it.
    pub preview: Option<Tensor>,
}

/// Names in the file.
pub mod name {
    /// [`super::Constants::clip_mean`].
    pub const CLIP_MEAN: &str = "clip_mean";
    /// [`super::Constants::clip_std`].
    pub const CLIP_STD: &str = "clip_std";
    /// [`super::Constants::zero_image`].
    pub const ZERO_IMAGE: &str = "zero_image";
    /// Hidden states of [`super::Constants::empty_clip`].
    pub const EMPTY_CLIP_HIDDEN: &str = "empty_clip_hidden";
    /// Pooled state of [`super::Constants::empty_clip`].
    pub const EMPTY_CLIP_POOLED: &str = "empty_clip_pooled";
    /// Hidden states of [`super::Constants::empty_multilingual`].
    pub const EMPTY_MULTILINGUAL_HIDDEN: &str = "empty_multilingual_hidden";
    /// Pooled state of [`super::Constants::empty_multilingual`].
    pub const EMPTY_MULTILINGUAL_POOLED: &str = "empty_multilingual_pooled";
    /// [`super::Constants::preview`].
    pub const PREVIEW: &str = "preview";
}

impl Constants {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it is not a safetensors file of f32 or lacks the mean and deviation.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(|e| Error::io(path, "read", &e))?.len();
        if bytes > MAX_BYTES {
            let message = format!("the constants have {bytes} bytes; the limit is {MAX_BYTES}");
            return Err(Error::new(Kind::BadModel, message));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", &e))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e.to_string()))?;
        let need = |name: &str| find(&file, name)?.ok_or_else(|| bad(&format!("{name} is missing")));
        Ok(Self {
            clip_mean: need(name::CLIP_MEAN)?,
            clip_std: need(name::CLIP_STD)?,
            zero_image: find(&file, name::ZERO_IMAGE)?,
            empty_clip: empty_clip(&file)?,
            empty_multilingual: empty_multilingual(&file)?,
            preview: find(&file, name::PREVIEW)?,
        })
    }

    /// The same without the encodings of the empty prompt and the picture of zeros, which are then computed.
    #[must_use]
    pub fn without_encodings(self) -> Self {
        Self { zero_image: None, empty_clip: None, empty_multilingual: None, ..self }
    }
}

fn empty_clip(file: &SafeTensors<'_>) -> Result<Option<ClipText>> {
    let (hidden, pooled) = (find(file, name::EMPTY_CLIP_HIDDEN)?, find(file, name::EMPTY_CLIP_POOLED)?);
    let (Some(hidden), Some(pooled)) = (hidden, pooled) else { return Ok(None) };
    let mask = full_mask(hidden.shape().get(1).copied().unwrap_or(0))?;
    Ok(Some(ClipText { hidden, pooled, mask }))
}

fn empty_multilingual(file: &SafeTensors<'_>) -> Result<Option<MultilingualText>> {
    let hidden = find(file, name::EMPTY_MULTILINGUAL_HIDDEN)?;
    let pooled = find(file, name::EMPTY_MULTILINGUAL_POOLED)?;
    Ok(hidden.zip(pooled).map(|(hidden, pooled)| MultilingualText { hidden, pooled }))
}

fn find(file: &SafeTensors<'_>, name: &str) -> Result<Option<Tensor>> {
    let Ok(view) = file.tensor(name) else { return Ok(None) };
    if view.dtype() != Dtype::F32 {
        return Err(bad(&format!("{name} is {:?}, and f32 is expected", view.dtype())));
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    tensor(view.shape(), chunks.iter().map(|four| f32::from_le_bytes(*four)).collect()).map(Some)
}

fn bad(reason: &str) -> Error {
    Error::new(Kind::BadModel, format!("the model's constants cannot be read: {reason}"))
}
