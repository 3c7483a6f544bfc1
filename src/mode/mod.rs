//! Ways to come by an image embedding and starting latents: one file a mode.

pub mod text_to_image;
