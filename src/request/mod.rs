//! What a caller may ask, and how it becomes a [`ResolvedRequest`] whose every number is settled and checked.
//!
//! One request covers every regime of the paper. What conditions the picture ([`Request::mix`], else the
//! prompt through the prior) and what it starts from ([`Start`]) are chosen apart, so whatever makes sense
//! composes: a mix can condition an inpainting, a negative prompt goes with anything.

mod aspect;
mod form;
mod input;
pub mod json;
pub mod keys;
mod resolved;
pub mod settings;
mod start;
mod strict;

pub use crate::guidance::Interval;
pub use crate::image::Size;
pub use crate::priors::PriorKind;
pub use crate::profile::Profile;
pub use crate::rng::Generator;
pub use aspect::{ASPECTS, aspect_size};
pub use input::Input;
pub use settings::list::{Request, ResolvedRequest};
pub use start::{Blend, Compositing, Frame, Part, Start, Subject};

use crate::error::Result;
use settings::SETTINGS;
use std::path::PathBuf;

/// The regimes.
impl Request {
    /// A picture of `prompt`.
    pub fn text_to_image(prompt: impl Into<String>) -> Self {
        Self { prompt: vec![prompt.into()], ..Self::default() }
    }

    /// A variation of a picture.
    pub fn variation(picture: impl Into<Input>) -> Self {
        Self::mix([Part::picture(picture, 1.0)])
    }

    /// A mix of pictures and texts; a [`Request::prompt`] then conditions the UNet as well.
    pub fn mix(parts: impl IntoIterator<Item = Part>) -> Self {
        Self { mix: parts.into_iter().collect(), ..Self::default() }
    }

    /// Sets several prompts.
    #[must_use]
    pub fn prompts<P: Into<String>>(mut self, prompts: impl IntoIterator<Item = P>) -> Self {
        self.prompt = prompts.into_iter().map(Into::into).collect();
        self
    }

    /// Conditions the picture by a mix instead of the prompt through the prior.
    #[must_use]
    pub fn mixed(mut self, parts: impl IntoIterator<Item = Part>, blend: Blend) -> Self {
        self.mix = parts.into_iter().collect();
        self.blend = blend;
        self
    }

    /// Starts from a picture, noised: image to image. `strength` is above 0 and at most 1.
    #[must_use]
    pub fn edit(mut self, picture: impl Into<Input>, strength: f64) -> Self {
        self.start = Start::Edit { picture: picture.into(), strength };
        self
    }

    /// Paints the white part of `mask` anew.
    #[must_use]
    pub fn inpaint(mut self, picture: impl Into<Input>, mask: impl Into<Input>) -> Self {
        let (picture, mask) = (picture.into(), Some(mask.into()));
        self.start = Start::Inpaint { picture, mask, invert: false, seam: Compositing::default() };
        self
    }

    /// Paints the transparent part of the picture.
    #[must_use]
    pub fn inpaint_transparent(mut self, picture: impl Into<Input>) -> Self {
        let picture = picture.into();
        self.start = Start::Inpaint { picture, mask: None, invert: false, seam: Compositing::default() };
        self
    }

    /// Paints what lies around a picture.
    #[must_use]
    pub fn outpaint(mut self, picture: impl Into<Input>, frame: Frame) -> Self {
        self.start = Start::Outpaint { picture: picture.into(), frame, seam: Compositing::default() };
        self
    }

    /// Sets how an inpainting or outpainting joins the picture.
    #[must_use]
    pub fn seam(mut self, joined: Compositing) -> Self {
        if let Start::Inpaint { seam, .. } | Start::Outpaint { seam, .. } = &mut self.start {
            *seam = joined;
        }
        self
    }

    /// Takes image embeddings of texts from a fitted prior, or from none.
    #[must_use]
    pub fn prior(mut self, kind: PriorKind, file: Option<PathBuf>) -> Self {
        (self.prior, self.prior_file) = (kind, file);
        self
    }
}

/// What it asks, and of what.
impl Request {
    /// Passes the value of every setting, and settings that exclude each other.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) that names the setting, the value and the limit.
    pub fn check(&self) -> Result<()> {
        SETTINGS.iter().try_for_each(|setting| setting.check(self))?;
        self.check_exclusions()
    }

    /// The same request with the pixels of every picture that it names.
    ///
    /// # Errors
    /// When a file cannot be used, or holds another picture than the request was made with.
    pub fn loaded(mut self) -> Result<Self> {
        self.inputs_mut().try_for_each(Input::load)?;
        Ok(self)
    }

    /// The same request, where pictures that it names by their hash alone are taken from `pictures`.
    #[must_use]
    pub fn with_pictures(mut self, pictures: &[Input]) -> Self {
        for input in self.inputs_mut().filter(|input| input.is_missing()) {
            if let Some(held) = pictures.iter().rfind(|held| held.sha256() == input.sha256()) {
                *input = held.clone();
            }
        }
        self
    }

    fn inputs_mut(&mut self) -> impl Iterator<Item = &mut Input> {
        let parts = self.mix.iter_mut().filter_map(|part| match &mut part.what {
            Subject::Picture(picture) => Some(picture),
            Subject::Text(_) => None,
        });
        parts.chain(&mut self.negative_picture).chain(self.start.inputs_mut())
    }
}
