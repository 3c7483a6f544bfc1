//! Priors that are fitted (paper, section 3 and Table 3): from CLIP's pooled text embedding to its image
//! embedding without diffusion, by a linear map or by residual blocks, kept in one file.
//!
//! Both normalise embeddings element by element with statistics of the pairs they were fitted on, as the
//! paper does with image embeddings. All arithmetic has the same bits on every machine.

mod file;
pub mod linear;
mod matrix;
mod pairs;
pub mod residual;

pub use pairs::{HeldOut, Pairs, Scale};

use crate::error::{Error, Kind, Result};
use crate::rng::TorchCpu;
use crate::tensor::Tensor;
use kandinsky_models::{Component, Manifest, hash};
use linear::Affine;
use pairs::{Normalised, cosine, matrix};
use residual::Residual;
use serde::{Deserialize, Serialize};

/// Where the image embedding of a text comes from (paper, Table 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorKind {
    /// The model's diffusion prior.
    #[default]
    Diffusion,
    /// A fitted linear map.
    Linear,
    /// Fitted residual blocks, the paper's "ResNet prior".
    Residual,
    /// No prior: the text embedding stands in for the image embedding.
    None,
}

impl PriorKind {
    /// Every kind, in the order of the paper's table.
    pub const ALL: [Self; 4] = [Self::Diffusion, Self::Linear, Self::Residual, Self::None];

    /// The name, at every front end.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diffusion => "diffusion",
            Self::Linear => "linear",
            Self::Residual => "residual",
            Self::None => "none",
        }
    }

    /// Whether it comes from a file that was fitted.
    pub const fn is_fitted(self) -> bool {
        matches!(self, Self::Linear | Self::Residual)
    }
}

impl std::fmt::Display for PriorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for PriorKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::new(Kind::BadRequest, format!("the prior {text:?} is unknown; {known} are known"))
        })
    }
}

/// What a fitted prior says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of the file's format.
    pub format: u32,
    /// `linear` or `residual`.
    pub kind: PriorKind,
    /// Width D of the embeddings.
    pub width: usize,
    /// The CLIP it belongs to: [`fingerprint`].
    pub clip: String,
    /// Pictures it was fitted on.
    pub pictures: usize,
    /// Pairs of a picture and a caption it was fitted on.
    pub pairs: usize,
    /// Seed of the split and of the training.
    pub seed: u64,
    /// The linear prior's penalty a pair.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lambda: Option<f64>,
    /// How far it is from pairs that were held out.
    pub held_out: HeldOut,
}

/// A prior that was fitted: f32\[B,D\] pooled text embeddings → f32\[B,D\] image embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedPrior {
    card: Card,
    text: Scale,
    image: Scale,
    map: Map,
}

#[derive(Debug, Clone, PartialEq)]
enum Map {
    Linear(Affine),
    Residual(Residual),
}

impl Map {
    fn apply(&self, x: &ndarray::Array2<f32>) -> ndarray::Array2<f32> {
        match self {
            Self::Linear(affine) => affine.map(x),
            Self::Residual(network) => network.map(x),
        }
    }
}

/// Called after every step of a fit with the steps done and those in all; an error ends the fit.
pub type Tell<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

/// Which prior is fitted, of which CLIP, on how many pictures.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `linear` or `residual`.
    pub kind: PriorKind,
    /// [`fingerprint`] of the model whose encoders made the pairs.
    pub clip: String,
    /// Pictures of the training pairs.
    pub pictures: usize,
    /// Seed of the training.
    pub seed: u64,
}

impl FittedPrior {
    /// Fits a prior on `train`; `held_out` chooses the linear prior's penalty and when the residual prior's
    /// training ends, and gives the errors on the card.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a kind that is not fitted, [`Kind::RuntimeFault`] for embeddings that are not
    /// finite, and those of `tell`.
    pub fn fit(plan: Plan, train: &Pairs, held_out: &Pairs, tell: Tell<'_>) -> Result<Self> {
        let (text, image) = train.matrices()?;
        let (held_text, held_image) = held_out.matrices()?;
        let scales = (Scale::of(&text), Scale::of(&image));
        let normalised =
            |text, image| Normalised { text: scales.0.normalised(text), image: scales.1.normalised(image) };
        let (train, held) = (normalised(&text, &image), normalised(&held_text, &held_image));
        let (map, lambda) = match plan.kind {
            PriorKind::Linear => {
                let (affine, lambda) = linear::fit(&train, &held, tell)?;
                (Map::Linear(affine), Some(lambda))
            }
            PriorKind::Residual => (Map::Residual(residual::fit(&train, &held, plan.seed, tell)?), None),
            kind => {
                let message = format!("a {kind} prior is not fitted; linear and residual are");
                return Err(Error::new(Kind::BadRequest, message));
            }
        };
        let answers = map.apply(&held.text);
        let mean = ndarray::Array2::zeros(answers.raw_dim());
        let held_out = HeldOut {
            pairs: held.text.nrows(),
            error: held.error(&answers),
            cosine: cosine(&scales.1.restored(&answers), &held_image),
            mean_error: held.error(&mean),
            mean_cosine: cosine(&scales.1.restored(&mean), &held_image),
        };
        let Plan { kind, clip, pictures, seed } = plan;
        let (width, pairs) = (text.ncols(), text.nrows());
        let card = Card { format: file::FORMAT, kind, width, clip, pictures, pairs, seed, lambda, held_out };
        let prior = Self { card, text: scales.0, image: scales.1, map };
        prior.check_numbers()?;
        Ok(prior)
    }

    /// What it says of itself.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// Whether it belongs to the CLIP of a model.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] that names both widths or both fingerprints.
    pub fn check_model(&self, model: &Manifest) -> Result<()> {
        let Card { width, clip, kind, .. } = &self.card;
        let embed = model.latent.embed;
        if *width != embed {
            let message =
                format!("the {kind} prior maps embeddings of {width} numbers, and the model's have {embed}");
            return Err(Error::new(Kind::BadRequest, message));
        }
        let own = fingerprint(model)?;
        if *clip != own {
            let message = format!(
                "the {kind} prior was fitted with the CLIP {clip:.12}…, and the model {} has {own:.12}…",
                model.name
            );
            return Err(Error::new(Kind::BadRequest, message));
        }
        Ok(())
    }

    /// Image embeddings f32\[B,D\] of pooled text embeddings f32\[B,D\].
    ///
    /// # Errors
    /// When the embeddings have another width.
    pub fn image_embeds(&self, text: &Tensor) -> Result<Tensor> {
        let text = matrix(text)?;
        if text.ncols() != self.card.width {
            let (found, width) = (text.ncols(), self.card.width);
            let message = format!("a text embedding has {found} numbers, and the prior maps {width}");
            return Err(Error::new(Kind::Internal, message));
        }
        let answers = self.map.apply(&self.text.normalised(&text));
        Ok(self.image.restored(&answers).into_dyn())
    }
}

/// UnetVariant CLIP a model has: a hash of the hashes of its text and image encoders' weights. Models that share
/// their CLIP share it, whatever else they are.
///
/// # Errors
/// When the model lacks one of the encoders.
pub fn fingerprint(model: &Manifest) -> Result<String> {
    let mut hashes = String::new();
    for component in [Component::TextEncoder, Component::ImageEncoder] {
        let spec = model.components.get(component.name()).ok_or_else(|| {
            let message = format!("this model has no {component}, which a fitted prior needs");
            Error::new(Kind::BadModel, message)
        })?;
        hashes.push_str(&spec.data.as_ref().unwrap_or(&spec.graph).sha256);
        hashes.push('\n');
    }
    Ok(hash::of_bytes(hashes.as_bytes()))
}

/// Puts items in a random order (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], random: &mut TorchCpu) {
    for last in (1..items.len()).rev() {
        let among = u64::try_from(last + 1).unwrap_or(u64::MAX);
        let other = usize::try_from(random.next_u64() % among).unwrap_or(0);
        items.swap(last, other);
    }
}
