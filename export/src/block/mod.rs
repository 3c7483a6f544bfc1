//! What networks are made of: functions from values to values, their weights below the scope given.

mod activation;
mod attention;
mod linear;
mod norm;
mod resnet;
mod spatial_norm;
mod time_embed;
mod transformer;
mod upsample;
mod winograd;

pub use activation::{Activation, silu};
pub use attention::{Norm, attend, causal, heads, padding_bias, query, spatial_attention};
pub use linear::{conv, conv_down, linear, linear_folded, linear_no_bias};
pub use norm::{Film, Groups, group_norm, group_norm_film, layer_norm};
pub use resnet::{Resample, film_resnet, resnet};
pub use spatial_norm::{GROUPS as SPATIAL_GROUPS, Latent, spatial_norm};
pub use time_embed::time_embed;
pub use transformer::{Layer, clip_layer};
pub use upsample::conv_enlarged;
