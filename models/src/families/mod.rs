//! Model families: what all models of one architecture have in common, beside what a folder's manifest says.
//! A family is one file and one row of [`FAMILIES`].

mod kandinsky_2_1;

pub use kandinsky_2_1::KANDINSKY_2_1;

use crate::Component;

/// Every family that is exported and run.
pub static FAMILIES: [&Family; 1] = [&KANDINSKY_2_1];

/// What models of one architecture have in common.
#[derive(Debug)]
pub struct Family {
    /// The name in manifests.
    pub name: &'static str,
    /// The name in sentences.
    pub title: &'static str,
    /// Graphs that a folder can have, in the order in which a picture passes through them.
    pub components: &'static [Component],
    /// Roles of the tokenisers' files in the manifest.
    pub tokenizers: TokenizerRoles,
    /// Tokens of the longest prompt, with both ends.
    pub prompt_tokens: usize,
    /// Tokens that the image embedding becomes in front of the prompt in the UNet's attention.
    pub image_tokens: usize,
    /// Repositories of the checkpoint.
    pub repositories: Repositories,
    /// Roles of the schedulers in the manifest.
    pub schedulers: SchedulerRoles,
    /// Samplers that are taken where none is asked for.
    pub samplers: Samplers,
    /// Numbers of a request that neither it nor the checkpoint states.
    pub defaults: StepDefaults,
}

impl Family {
    /// Tokens that the UNet's attention sees beside the picture.
    pub const fn context_tokens(&self) -> usize {
        self.image_tokens + self.prompt_tokens
    }
}

/// The family of a name, where it is known.
pub fn find(name: &str) -> Option<&'static Family> {
    FAMILIES.into_iter().find(|family| family.name == name)
}

/// Roles of the tokenisers' files in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenizerRoles {
    /// Of the CLIP text encoder, which the prior reads.
    pub clip: &'static str,
    /// Of the multilingual encoder, which the UNet reads.
    pub multilingual: &'static str,
}

impl TokenizerRoles {
    /// Both.
    pub const fn all(&self) -> [&'static str; 2] {
        [self.clip, self.multilingual]
    }
}

/// Names of a checkpoint's repositories on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repositories {
    /// The prior and the two halves of CLIP.
    pub prior: &'static str,
    /// The UNet, the autoencoder and the multilingual encoder.
    pub decoder: &'static str,
    /// The UNet that inpaints.
    pub inpaint: &'static str,
}

/// Roles of schedulers in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchedulerRoles {
    /// The prior's.
    pub prior: &'static str,
    /// The decoder's, deterministic.
    pub ddim: &'static str,
    /// The decoder's, with learned variance.
    pub ddpm: &'static str,
}

/// Samplers that are taken where none is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Samplers {
    /// The prior's.
    pub prior: &'static str,
    /// The decoder's.
    pub decoder: &'static str,
    /// The decoder's in the profile `original`.
    pub original: &'static str,
}

/// Numbers of a request that neither it nor the checkpoint states.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepDefaults {
    /// Decoder steps.
    pub steps: usize,
    /// Decoder guidance.
    pub guidance: f64,
    /// Prior steps.
    pub prior_steps: usize,
    /// Prior guidance.
    pub prior_guidance: f64,
}
