//! Rewrites: other ways of drawing the same numbers, and graphs that a folder can have besides. One line in
//! [`Rewrite::ALL`] and one in [`Rewrite::facts`] each.

use crate::target::rules;
use crate::{Error, Result};
use kandinsky_models::manifest::{Precision, Target};
use std::collections::BTreeSet;

/// Something that is drawn, or drawn otherwise, when it is switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rewrite {
    /// Upsampling convolutions by phase.
    SplitUpsampling,
    /// Spatial norms at the latent's size.
    LatentNorms,
    /// FiLM with the norm before it.
    FoldFilm,
    /// Attention's scale in the queries' weights.
    FoldScale,
    /// Attention's norm in the weights behind it.
    FoldNorms,
    /// Convolutions of 3 x 3 with fewer products.
    Winograd,
    /// Graphs that keep the deep levels.
    DeepCache,
}

/// When a rewrite is on by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Always.
    Always,
    /// In f32 folders: what it computes stays f32, which an f16 folder would pay for in bytes.
    F32,
    /// When it is asked for.
    Asked,
}

/// What a rewrite is called, what it does, and whether it is on when nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its name on the command line and in the manifest.
    pub name: &'static str,
    /// What it does, in a line.
    pub doc: &'static str,
    /// When portable graphs have it though nobody says. Graphs for GPUs have none.
    pub on: On,
}

impl Rewrite {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SplitUpsampling,
        Self::LatentNorms,
        Self::FoldFilm,
        Self::FoldScale,
        Self::FoldNorms,
        Self::Winograd,
        Self::DeepCache,
    ];

    /// What is known of it.
    #[rustfmt::skip]
    pub const fn facts(self) -> Facts {
        let (name, on, doc) = match self {
            Self::SplitUpsampling => ("split-upsampling", On::Always, "doubling and a 3x3 convolution as four 2x2 convolutions"),
            Self::LatentNorms => ("latent-norms", On::Always, "MoVQ's spatial norms are steered at the latent's size"),
            Self::FoldFilm => ("fold-film", On::F32, "FiLM joins the norm before it, once for all steps"),
            Self::FoldScale => ("fold-scale", On::F32, "attention's scale lies in the queries' weights"),
            Self::FoldNorms => ("fold-norms", On::F32, "gain and shift of attention's norm lie in the weights behind it"),
            Self::Winograd => ("winograd", On::Asked, "outer 3x3 convolutions by rows of four with half the products; f32 only"),
            Self::DeepCache => ("deep-cache", On::Asked, "two more graphs of the UNet, for --deep-cache"),
        };
        Facts { name, doc, on }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The one of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|rewrite| rewrite.name() == name).ok_or_else(|| Error::Unknown {
            what: "the rewrite".to_owned(),
            found: name.chars().take(100).collect(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// The rewrites that are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrites(BTreeSet<Rewrite>);

impl Default for Rewrites {
    fn default() -> Self {
        Self::of(Precision::F32)
    }
}

impl Rewrites {
    /// Those that a folder of a precision has when nobody says.
    pub fn of(precision: Precision) -> Self {
        let on = |rewrite: &Rewrite| match rewrite.facts().on {
            On::Always => true,
            On::F32 => precision == Precision::F32,
            On::Asked => false,
        };
        Self(Rewrite::ALL.into_iter().filter(on).collect())
    }

    /// None of them: every operation as the reference has it.
    pub const fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// Whether one is on.
    pub fn has(&self, rewrite: Rewrite) -> bool {
        self.0.contains(&rewrite)
    }

    /// These with one more.
    #[must_use]
    pub fn with(mut self, rewrite: Rewrite) -> Self {
        self.0.insert(rewrite);
        self
    }

    /// These without one.
    #[must_use]
    pub fn without(mut self, rewrite: Rewrite) -> Self {
        self.0.remove(&rewrite);
        self
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|rewrite| rewrite.name().to_owned()).collect()
    }
}

/// What a drawing is for, and how it is drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphStyle {
    /// What it is drawn for.
    pub target: Target,
    /// The rewrites that are on.
    pub rewrites: Rewrites,
}

impl GraphStyle {
    /// Drawings for a target; those for GPUs have no rewrites.
    pub fn of(target: Target, rewrites: &Rewrites) -> Self {
        let rewrites = if rules(target).rewrites { rewrites.clone() } else { Rewrites::none() };
        Self { target, rewrites }
    }

    /// Portable drawings without rewrites.
    pub fn plain() -> Self {
        Self { target: Target::Portable, rewrites: Rewrites::none() }
    }
}
