//! The CLIP image encoder.

use super::Networks;
use crate::error::Result;
use crate::tensor::Tensor;
use kandinsky_models::Component;

/// Image embeddings f32\[B,D\] of prepared pixels f32\[B,3,I,I\] (`image::clip`).
///
/// # Errors
/// As [`Networks::call`].
pub fn encode(networks: &mut Networks, pixels: Tensor) -> Result<Tensor> {
    let inputs = [("pixels", pixels.into())];
    let [embed] = networks.call_f32(Component::ImageEncoder, &inputs, ["embed"])?;
    Ok(embed)
}
