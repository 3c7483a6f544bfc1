//! Config of the UNet.

use super::Fields;
use crate::Result;
use crate::block::Groups;
use serde_json::{Value, json};
use std::path::Path;

/// The UNet (`UNet2DConditionModel`).
#[derive(Debug, Clone)]
pub struct Unet {
    /// Channels of the sample.
    pub inputs: usize,
    /// Channels of the result.
    pub outputs: usize,
    /// Channels of each level, from the outermost.
    pub channels: Vec<usize>,
    /// Whether each level has attention, on the way down.
    pub attention_down: Vec<bool>,
    /// Whether each level has attention, on the way up (innermost first).
    pub attention_up: Vec<bool>,
    /// Residual blocks a level on the way down; one more on the way up.
    pub layers: usize,
    /// Width of an attention head.
    pub head: usize,
    /// Width of the image embedding, of the pooled text and of context tokens.
    pub cross: usize,
    /// Width of the text encoder's tokens.
    pub text: usize,
    /// Group normalisation.
    pub groups: Groups,
}

impl Unet {
    /// Reads `unet/config.json`.
    ///
    /// # Errors
    /// As [`TextEncoder::read`](super::TextEncoder::read).
    pub fn read(config: &Value, path: &Path) -> Result<Self> {
        let f = Fields::new(config, path)?;
        unet_switches(&f)?;
        let channels = f.sizes("block_out_channels")?;
        let kinds = |field, names: [&str; 2]| f.choices(field, names, channels.len());
        let unet = Self {
            inputs: f.size("in_channels")?,
            outputs: f.size("out_channels")?,
            attention_down: kinds(
                "down_block_types",
                ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
            )?,
            attention_up: kinds("up_block_types", ["ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"])?,
            layers: f.layers("layers_per_block")?,
            head: f.size("attention_head_dim")?,
            cross: f.size("cross_attention_dim")?,
            text: f.size("encoder_hid_dim")?,
            groups: Groups { count: f.size("norm_num_groups")?, epsilon: f.epsilon("norm_eps")? },
            channels,
        };
        f.multiple("block_out_channels", unet.outermost(), 2)?;
        let attention = unet.attention_down.iter().zip(unet.attention_up.iter().rev());
        for (channels, (down, up)) in unet.channels.iter().zip(attention) {
            f.multiple("block_out_channels", *channels, unet.groups.count)?;
            f.multiple("block_out_channels", *channels, if *down || *up { unet.head } else { 1 })?;
        }
        f.multiple("block_out_channels", unet.innermost(), unet.head)?;
        Ok(unet)
    }
}

impl Unet {
    /// Channels of the outermost level.
    pub fn outermost(&self) -> usize {
        self.channels.first().copied().unwrap_or(0)
    }

    /// Channels of the innermost level.
    pub fn innermost(&self) -> usize {
        self.channels.last().copied().unwrap_or(0)
    }

    /// Width of the time embedding.
    pub fn time(&self) -> usize {
        self.outermost() * 4
    }
}

/// The ways of drawing a UNet that Kandinsky 2.1 took.
fn unet_switches(f: &Fields<'_>) -> Result<()> {
    f.required("encoder_hid_dim_type", &json!("text_image_proj"))?;
    f.required("addition_embed_type", &json!("text_image"))?;
    f.required("resnet_time_scale_shift", &json!("scale_shift"))?;
    f.required("mid_block_type", &json!("UNetMidBlock2DSimpleCrossAttn"))?;
    for (name, known) in [
        ("flip_sin_to_cos", json!(true)),
        ("freq_shift", json!(0)),
        ("act_fn", json!("silu")),
        ("mid_block_scale_factor", json!(1)),
        ("center_input_sample", json!(false)),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_out_scale_factor", json!(1.0)),
        ("only_cross_attention", json!(false)),
        ("dual_cross_attention", json!(false)),
        ("time_embedding_type", json!("positional")),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
    ] {
        f.only(name, &known)?;
    }
    for name in [
        "num_attention_heads",
        "class_embed_type",
        "time_embedding_dim",
        "time_embedding_act_fn",
        "timestep_post_act",
        "time_cond_proj_dim",
        "mid_block_only_cross_attention",
        "cross_attention_norm",
    ] {
        f.only(name, &Value::Null)?;
    }
    Ok(())
}
