//! The MoVQ autoencoder.

use super::Networks;
use crate::error::Result;
use crate::tensor::Tensor;
use kandinsky_models::Component;
use ndarray::ArrayD;

/// Latents f32\[B,4,h,w\] of pixels f32\[B,3,f·h,f·w\] in \[-1,1\]; no scaling factor.
///
/// # Errors
/// As [`Networks::call`].
pub fn encode(networks: &mut Networks, pixels: &Tensor) -> Result<Tensor> {
    let [latents] = networks.call_f32(Component::MovqEncoder, &[("pixels", pixels.into())], ["latents"])?;
    Ok(latents)
}

/// The nearest codebook entries: f32\[B,4,h,w\] and their indices i64\[B,h,w\].
///
/// # Errors
/// As [`Networks::call`].
pub fn quantize(networks: &mut Networks, latents: &Tensor) -> Result<(Tensor, ArrayD<i64>)> {
    let inputs = [("latents", latents.into())];
    let [quantized, indices] = networks.call(Component::MovqQuantize, &inputs, ["quantized", "indices"])?;
    Ok((quantized.into_f32()?, indices.into_i64()?))
}

/// Pixels f32\[B,3,f·h,f·w\], about \[-1,1\], of latents f32\[B,4,h,w\] as they are (the released code
/// does not quantise here).
///
/// # Errors
/// As [`Networks::call`].
pub fn decode(networks: &mut Networks, latents: &Tensor) -> Result<Tensor> {
    let [pixels] = networks.call_f32(Component::MovqDecoder, &[("latents", latents.into())], ["pixels"])?;
    Ok(pixels)
}
