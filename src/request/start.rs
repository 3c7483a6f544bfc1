//! What a picture starts from, and what conditions it.

use super::Input;
use super::form::finite_or_named;
use crate::image::Size;
use serde::{Deserialize, Serialize};

/// One thing in a mix: a text or a picture, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What it is.
    #[serde(flatten)]
    pub what: Subject,
    /// Its share; below 0 steers away from it (linear mixes only).
    #[serde(default = "one", serialize_with = "finite_or_named")]
    pub weight: f64,
}

const fn one() -> f64 {
    1.0
}

/// A text or a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Becomes an image embedding through the prior.
    Text(String),
    /// Becomes an image embedding through the CLIP image encoder.
    Picture(Input),
}

impl Subject {
    /// The text that it is.
    pub const fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            Self::Picture(_) => None,
        }
    }

    /// The picture that it is.
    pub const fn picture(&self) -> Option<&Input> {
        match self {
            Self::Text(_) => None,
            Self::Picture(picture) => Some(picture),
        }
    }
}

impl Part {
    /// A text with its share.
    pub fn text(text: impl Into<String>, weight: f64) -> Self {
        Self { what: Subject::Text(text.into()), weight }
    }

    /// A picture with its share.
    pub fn picture(picture: impl Into<Input>, weight: f64) -> Self {
        Self { what: Subject::Picture(picture.into()), weight }
    }
}

/// How the image embeddings of a mix become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blend {
    /// The weighted sum (the reference's `interpolate` and `mix_images`).
    #[default]
    Linear,
    /// Along the sphere, from one to the next, which keeps the embedding's length.
    Spherical,
}

impl Blend {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Linear, Self::Spherical];

    /// The name at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Spherical => "spherical",
        }
    }
}

/// What the latents start from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Start {
    /// Noise.
    #[default]
    Noise,
    /// A picture, noised: image to image.
    Edit {
        /// The picture.
        picture: Input,
        /// How far from it: above 0, and 1 keeps nearly nothing.
        #[serde(serialize_with = "finite_or_named")]
        strength: f64,
    },
    /// A picture with a hole.
    Inpaint {
        /// The picture.
        picture: Input,
        /// White repaints; where it is absent, the picture's transparent pixels are the hole.
        #[serde(skip_serializing_if = "Option::is_none")]
        mask: Option<Input>,
        /// Black repaints instead (the original repository's convention).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        invert: bool,
        /// How the result joins the picture.
        #[serde(flatten)]
        seam: Compositing,
    },
    /// A picture and what lies around it.
    Outpaint {
        /// The picture.
        picture: Input,
        /// Which part of the plane is drawn.
        frame: Frame,
        /// How the result joins the picture.
        #[serde(flatten)]
        seam: Compositing,
    },
}

/// How what was painted joins what was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compositing {
    /// Everything as decoded, as the reference gives it, instead of the input's own pixels outside the hole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decoded: bool,
    /// Pixels over which the painted part fades in, inside the hole.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub feather: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Which part of the plane an outpainting draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Frame {
    /// The picture and so many pixels beyond each side.
    Extend {
        /// Pixels to the left.
        left: usize,
        /// Pixels above.
        top: usize,
        /// Pixels to the right.
        right: usize,
        /// Pixels below.
        bottom: usize,
    },
    /// A window over the picture, which may reach beyond it.
    Window {
        /// Its left side, in pixels of the picture; negative to the left of it.
        x: i64,
        /// Its upper side, in pixels of the picture; negative above it.
        y: i64,
        /// Its size.
        size: Size,
    },
}

impl Start {
    /// The picture that it reads.
    pub const fn picture(&self) -> Option<&Input> {
        match self {
            Self::Noise => None,
            Self::Edit { picture, .. } | Self::Inpaint { picture, .. } | Self::Outpaint { picture, .. } => {
                Some(picture)
            }
        }
    }

    /// Every picture that it reads.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Input> {
        match self {
            Self::Noise => Vec::new(),
            Self::Edit { picture, .. } | Self::Outpaint { picture, .. } => vec![picture],
            Self::Inpaint { picture, mask, .. } => std::iter::once(picture).chain(mask).collect(),
        }
    }

    /// Whether part of the picture is known: the UNet then needs its channels for it.
    pub const fn has_hole(&self) -> bool {
        matches!(self, Self::Inpaint { .. } | Self::Outpaint { .. })
    }
}
