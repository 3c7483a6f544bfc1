//! Kandinsky 2.1: CLIP and XLM-R for the prompt, a diffusion prior, a UNet in latents, MoVQ.

use super::{Family, Repositories, Samplers, SchedulerRoles, StepDefaults, TokenizerRoles};
use crate::Component;

/// Kandinsky 2.1 (Razzhigaev et al., 2023).
pub const KANDINSKY_2_1: Family = Family {
    name: "kandinsky-2.1",
    title: "Kandinsky 2.1",
    components: &Component::ALL,
    tokenizers: TokenizerRoles { clip: "clip_tokenizer", multilingual: "multilingual_tokenizer" },
    prompt_tokens: 77,
    image_tokens: 10,
    repositories: Repositories {
        prior: "kandinsky-2-1-prior",
        decoder: "kandinsky-2-1",
        inpaint: "kandinsky-2-1-inpaint",
    },
    schedulers: SchedulerRoles { prior: "prior", ddim: "ddim", ddpm: "ddpm" },
    samplers: Samplers { prior: "unclip", decoder: "ddim", original: "ddpm" },
    defaults: StepDefaults { steps: 50, guidance: 4.0, prior_steps: 25, prior_guidance: 4.0 },
};
