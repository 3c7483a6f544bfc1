//! Prompts to what the prior and the UNet read. The empty prompt is a constant of the model.

use crate::component::text::{self, ClipText, MultilingualText};
use crate::component::{Networks, image_encoder, prior::Prefix};
use crate::constants::Constants;
use crate::error::{Error, Kind, Result};
use crate::tensor::{Tensor, concat, rows};
use crate::text::{Prompt, Tokenizers, Truncation, Weighted};
use std::collections::{BTreeMap, BTreeSet};

/// Prompts of a call of the text encoder whose states are not kept.
pub const TOGETHER: usize = 16;

/// Encodes prompts, each distinct prompt once.
pub struct Encoder<'a> {
    /// The two tokenisers.
    pub tokenizers: &'a Tokenizers,
    /// The model's constants.
    pub constants: &'a Constants,
    /// Whether prompts are in the notation of [`Weighted`]; else they are text as they are.
    pub weighted: bool,
}

impl Encoder<'_> {
    /// Which ends of a request's texts will not be seen.
    ///
    /// # Errors
    /// When a text cannot be used, which is then named.
    pub fn truncations(&self, texts: &[(Prompt, &str)]) -> Result<Vec<Truncation>> {
        let of = |(which, text): &(Prompt, &str)| self.tokenizers.truncations(*which, text, self.weighted);
        Ok(texts.iter().map(of).collect::<Result<Vec<_>>>()?.concat())
    }

    /// The prior's prefix for prompts, a row each.
    ///
    /// # Errors
    /// When a prompt cannot be used or a network fails.
    pub fn prior_text(&self, networks: &mut Networks, prompts: &[&str]) -> Result<Prefix> {
        let mut known: BTreeMap<&str, Prefix> = BTreeMap::new();
        for prompt in prompts {
            if !known.contains_key(prompt) {
                let text = self.clip(networks, prompt)?;
                known.insert(prompt, crate::component::prior::prefix(networks, &text)?);
            }
        }
        let mut rows = prompts.iter().filter_map(|prompt| known.get(prompt));
        let first = rows.next().ok_or_else(|| Error::new(Kind::Internal, "no prompt was given"))?;
        rows.try_fold(first.clone(), |joined, row| joined.joined(row))
    }

    /// What the UNet reads of prompts, a row each.
    ///
    /// # Errors
    /// When a prompt cannot be used or a network fails.
    pub fn unet_text(&self, networks: &mut Networks, prompts: &[&str]) -> Result<MultilingualText> {
        let mut known: BTreeMap<&str, MultilingualText> = BTreeMap::new();
        for prompt in prompts {
            if !known.contains_key(prompt) {
                known.insert(prompt, self.multilingual(networks, prompt)?);
            }
        }
        let parts: Vec<_> = prompts.iter().filter_map(|prompt| known.get(prompt).cloned()).collect();
        MultilingualText::concat(&parts)
    }

    /// CLIP's pooled states f32\[B,D\] of prompts, a row each: what a fitted prior reads. Distinct prompts are
    /// encoded together, up to [`TOGETHER`] at once.
    ///
    /// # Errors
    /// When a prompt cannot be used or the text encoder fails.
    pub fn clip_pooled(&self, networks: &mut Networks, prompts: &[&str]) -> Result<Tensor> {
        let mut known: BTreeMap<&str, Tensor> = BTreeMap::new();
        if let Some(empty) = &self.constants.empty_clip {
            known.insert("", empty.pooled.clone());
        }
        let new: BTreeSet<&str> = prompts.iter().copied().filter(|p| !known.contains_key(p)).collect();
        let new: Vec<&str> = new.into_iter().collect();
        for part in new.chunks(TOGETHER) {
            let tokens = part.iter().map(|prompt| self.tokenizers.clip_weighted(&self.read(prompt)?));
            let tokens: Result<Vec<_>> = tokens.collect();
            let pooled = text::clip(networks, &tokens?)?.pooled;
            for (row, prompt) in part.iter().enumerate() {
                known.insert(prompt, rows(&pooled, row, row + 1)?);
            }
        }
        let parts: Vec<_> = prompts.iter().filter_map(|prompt| known.get(prompt).cloned()).collect();
        concat(&parts, 0)
    }

    /// The image embedding f32\[1,D\] of a picture of zeros: a constant of the model, else computed.
    ///
    /// # Errors
    /// When the image encoder fails.
    pub fn zero_image(&self, networks: &mut Networks) -> Result<Tensor> {
        self.constants.zero_image.clone().map_or_else(|| image_encoder::encode_zeros(networks), Ok)
    }

    fn clip(&self, networks: &mut Networks, prompt: &str) -> Result<ClipText> {
        let prompt = self.read(prompt)?;
        match &self.constants.empty_clip {
            Some(empty) if prompt.text().is_empty() => Ok(empty.clone()),
            _ => text::clip(networks, &[self.tokenizers.clip_weighted(&prompt)?]),
        }
    }

    fn multilingual(&self, networks: &mut Networks, prompt: &str) -> Result<MultilingualText> {
        let prompt = self.read(prompt)?;
        match &self.constants.empty_multilingual {
            Some(empty) if prompt.text().is_empty() => Ok(empty.clone()),
            _ => text::multilingual(networks, &[self.tokenizers.multilingual_weighted(&prompt)?]),
        }
    }

    fn read(&self, prompt: &str) -> Result<Weighted> {
        if self.weighted { Weighted::parse(prompt) } else { Ok(Weighted::plain(prompt)) }
    }
}
