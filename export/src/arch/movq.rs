//! MoVQ: pictures to latents, latents to the nearest codebook entries, latents to pictures.
//!
//! The decoder's normalisations are steered by the latent as it came in, before any convolution.
//! There is no scaling factor. diffusers: `VQModel` with `norm_type` "spatial".

use crate::Result;
use crate::block::{
    Latent, Norm, conv, conv_down, conv_enlarged, group_norm, resnet, silu, spatial_attention, spatial_norm,
};
use crate::config::Movq;
use crate::graph::{Scope, Value};
use kandinsky_models::manifest::Dtype::F32;

/// Pixels (B, 3, f·h, f·w) to latents (B, z, h, w).
pub fn encoder(w: &Scope<'_>, c: &Movq) -> Result<()> {
    let f = c.factor();
    let pixels = w.input("pixels", F32, &format!("batch, {}, {f}*h, {f}*w", c.pixels_in))?;
    let encoder = w.at("encoder");
    let norm = |w: &Scope<'_>, x: &Value| group_norm(w, x, c.groups);
    let mut h = conv(&encoder.at("conv_in"), &w.from_nchw(&pixels)?, c.outermost(), 3)?; // (B, C, f·h, f·w)
    for (i, (channels, attention)) in c.channels.iter().zip(&c.attention_down).enumerate() {
        let level = encoder.at(format!("down_blocks.{i}")).sides(f >> i);
        for j in 0..c.layers {
            h = resnet(&level.at(format!("resnets.{j}")), &h, *channels, &norm)?;
            if *attention {
                let norm = Norm::Group(c.groups);
                h = spatial_attention(&level.at(format!("attentions.{j}")), &h, *channels, None, norm)?;
            }
        }
        if i + 1 < c.channels.len() {
            h = conv_down(&level.at("downsamplers.0.conv"), &h)?; // half the sides
        }
    }
    h = resnet(&encoder.at("mid_block.resnets.0"), &h, c.innermost(), &norm)?;
    if c.attention_middle {
        let norm = Norm::Group(c.groups);
        h = spatial_attention(&encoder.at("mid_block.attentions.0"), &h, c.innermost(), None, norm)?;
    }
    h = resnet(&encoder.at("mid_block.resnets.1"), &h, c.innermost(), &norm)?;
    let h = silu(w, &norm(&encoder.at("conv_norm_out"), &h)?)?; // (B, C, h, w)
    let h = conv(&encoder.at("conv_out"), &h, c.latent, 3)?; // (B, z, h, w)
    let latents = conv(&w.at("quant_conv"), &h, c.latent, 1)?;
    w.output("latents", &w.to_nchw(&latents)?, &format!("batch, {}, h, w", c.latent))
}

/// Latents (B, z, h, w) to the nearest codebook entries and their indices (B, h, w).
pub fn quantize(w: &Scope<'_>, c: &Movq) -> Result<()> {
    // Which entry is nearest is decided by small differences.
    let w = &w.wide();
    let latents = w.input("latents", F32, &format!("batch, {}, h, w", c.latent))?;
    let codes = w.tensor("quantize.embedding.weight", &[c.codes, c.latent])?;
    let z = w.transpose(&latents, &[0, 2, 3, 1])?; // (B, h, w, z)
    // |z - e|² = |z|² - 2 z·e + |e|², and |z|² is the same for all entries.
    let lengths = w.reduce_sum(&w.mul(&codes, &codes)?, 1)?; // (N)
    let product = w.matmul(&z, &w.transpose(&codes, &[1, 0])?)?; // (B, h, w, N)
    let distances = w.sub(&lengths, &w.mul(&product, &w.scalar(2.0)?)?)?;
    let indices = w.argmin(&distances, false); // (B, h, w)
    let quantized = w.transpose(&w.gather(&codes, &indices)?, &[0, 3, 1, 2])?; // (B, z, h, w)
    w.output("quantized", &quantized, &format!("batch, {}, h, w", c.latent))?;
    w.output_i64("indices", &indices, "batch, h, w")
}

/// Latents (B, z, h, w) to pixels (B, 3, f·h, f·w).
pub fn decoder(w: &Scope<'_>, c: &Movq) -> Result<()> {
    let latents = w.from_nchw(&w.input("latents", F32, &format!("batch, {}, h, w", c.latent))?)?;
    let decoder = w.at("decoder");
    let h = conv(&w.at("post_quant_conv"), &latents, c.latent, 1)?; // (B, z, h, w)
    let mut h = conv(&decoder.at("conv_in"), &h, c.innermost(), 3)?; // (B, C, h, w)
    let mut z = Latent { value: &latents, factor: 1 };
    h = decoder_block(&decoder.at("mid_block"), h, c.innermost(), z, 0)?;
    if c.attention_middle {
        h = decoder_attention(&decoder.at("mid_block.attentions.0"), &h, c.innermost(), z)?;
    }
    h = decoder_block(&decoder.at("mid_block"), h, c.innermost(), z, 1)?;
    for (i, (channels, attention)) in c.channels.iter().rev().zip(&c.attention_up).enumerate() {
        let level = decoder.at(format!("up_blocks.{i}")).sides(z.factor);
        for j in 0..=c.layers {
            h = decoder_block(&level, h, *channels, z, j)?;
            if *attention {
                h = decoder_attention(&level.at(format!("attentions.{j}")), &h, *channels, z)?;
            }
        }
        if i + 1 < c.channels.len() {
            h = conv_enlarged(&level.at("upsamplers.0.conv"), &h, *channels)?; // twice the sides
            z.factor *= 2;
        }
    }
    let h = silu(w, &spatial_norm(&decoder.at("conv_norm_out"), &h, z)?)?; // (B, C, f·h, f·w)
    let pixels = conv(&decoder.at("conv_out"), &h, c.pixels_out, 3)?;
    let f = c.factor();
    w.output("pixels", &w.to_nchw(&pixels)?, &format!("batch, {}, {f}*h, {f}*w", c.pixels_out))
}

fn decoder_block(w: &Scope<'_>, x: Value, channels: usize, z: Latent<'_>, j: usize) -> Result<Value> {
    resnet(&w.at(format!("resnets.{j}")), &x, channels, &|w, x| spatial_norm(w, x, z))
}

fn decoder_attention(w: &Scope<'_>, x: &Value, channels: usize, z: Latent<'_>) -> Result<Value> {
    let norm = |w: &Scope<'_>, x: &Value| spatial_norm(&w.at("spatial_norm"), x, z);
    spatial_attention(w, x, channels, None, Norm::Other(&norm))
}
