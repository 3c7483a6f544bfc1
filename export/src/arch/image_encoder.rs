//! CLIP's image encoder: a prepared picture to its embedding and its patches' states.
//!
//! transformers: `CLIPVisionModelWithProjection`.

use crate::Result;
use crate::block::{clip_layer, layer_norm, linear_no_bias};
use crate::config::ImageEncoder;
use crate::graph::{Scope, Value};
use kandinsky_models::manifest::Dtype::F32;

/// Pixels (B, 3, I, I) to the embedding (B, D) and the last layer's states (B, P, W).
pub fn draw(w: &Scope<'_>, c: &ImageEncoder) -> Result<()> {
    let pixels = w.input("pixels", F32, &format!("batch, {}, {}, {}", c.channels, c.image, c.image))?;
    let model = w.at("vision_model");
    let tokens = tokens(&model.at("embeddings"), c, &pixels)?; // (B, P, W)
    let mut x = layer_norm(&model.at("pre_layrnorm"), &tokens, c.layer.epsilon)?;
    for i in 0..c.layers {
        x = clip_layer(&model.at(format!("encoder.layers.{i}")), &x, &c.layer, None)?;
    }
    let class = w.reshape(&w.part(&x, 0, 1, 1)?, &[0, -1])?; // (B, W)
    let class = layer_norm(&model.at("post_layernorm"), &class, c.layer.epsilon)?;
    let embed = linear_no_bias(&w.at("visual_projection"), &class, c.projection)?; // (B, D)
    w.output("embed", &embed, &format!("batch, {}", c.projection))?;
    w.output("hidden", &x, &format!("batch, {}, {}", c.patches() + 1, c.width))
}

/// The class token and the patches, with their positions.
fn tokens(w: &Scope<'_>, c: &ImageEncoder, pixels: &Value) -> Result<Value> {
    let kernel = w.tensor("patch_embedding.weight", &[c.width, c.channels, c.patch, c.patch])?;
    let stride = i64::try_from(c.patch).map_err(|e| w.wrong(e))?;
    let width = i64::try_from(c.width).map_err(|e| w.wrong(e))?;
    let patches = i64::try_from(c.patches()).map_err(|e| w.wrong(e))?;
    let x = w.conv(&[pixels, &kernel], stride, [0; 4])?; // (B, W, I/patch, I/patch)
    let x = w.transpose(&w.reshape(&x, &[0, width, patches])?, &[0, 2, 1])?; // (B, P-1, W)
    let class = w.tensor_as("class_embedding", &[c.width], &[1, 1, c.width])?;
    let shape = w.concat(&[&w.side(pixels, 0), &w.ints(&[1, 1])?], 0)?;
    let class = w.expand(&class, &shape, vec![None, Some(1), Some(c.width)]); // (B, 1, W)
    let positions = w.tensor("position_embedding.weight", &[c.patches() + 1, c.width])?;
    w.add(&w.concat(&[&class, &x], 1)?, &positions)
}
