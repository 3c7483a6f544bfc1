//! The CLIP image encoder.

use super::Networks;
use crate::error::Result;
use crate::tensor::Tensor;
use kandinsky_models::Component;
use ndarray::IxDyn;

/// Image embeddings f32\[B,D\] of prepared pixels f32\[B,3,I,I\] (`image::clip`).
///
/// # Errors
/// As [`Networks::call`].
pub fn encode(networks: &mut Networks, pixels: &Tensor) -> Result<Tensor> {
    let inputs = [("pixels", pixels.into())];
    let [embed] = networks.call_f32(Component::ImageEncoder, &inputs, ["embed"])?;
    Ok(embed)
}

/// The image embedding f32\[1,D\] of a picture whose prepared pixels are all 0: what the decoder is steered away
/// from where nothing else is said.
///
/// # Errors
/// As [`Networks::call`].
pub fn encode_zeros(networks: &mut Networks) -> Result<Tensor> {
    let size = networks.folder().manifest().clip_image.size;
    encode(networks, &Tensor::zeros(IxDyn(&[1, 3, size, size])))
}
