//! Prompts to tokens, for both text encoders.
//!
//! A prompt is text and nothing else: `</s>` or `<|endoftext|>` typed by a user are encoded as the
//! characters they are. The reference parses them as control tokens; for every other text the ids are the
//! reference's.

mod plain;
mod truncation;
mod weights;

pub use truncation::{Prompt, Reader, Truncation};
pub use weights::Weighted;

use crate::error::{Error, Kind, Result};
use crate::limits;
use kandinsky_models::manifest;
use kandinsky_models::{Folder, KANDINSKY_2_1, hash};
use tokenizers::Tokenizer;

/// A prompt as an encoder reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// Begin-of-text, the prompt's own ids, end-of-text; no padding, at most the encoder's `max_tokens`.
    pub ids: Vec<u32>,
    /// The weight of each id where one of them is not 1; both ends are at 1.
    pub weights: Option<Vec<f32>>,
    /// Ids of the whole prompt with both ends, those included for which there was no room.
    pub total: usize,
    /// The end of the prompt for which there was no room.
    pub truncated: Option<String>,
}

/// The tokenisers of a model folder.
#[derive(Debug)]
pub struct Tokenizers {
    clip: Encoder,
    multilingual: Encoder,
}

impl Tokenizers {
    /// Reads the two files whose roles the family states.
    ///
    /// # Errors
    /// When a file is missing, is not the one that the manifest names, or does not fit the manifest's
    /// settings.
    pub fn open(folder: &Folder) -> Result<Self> {
        let settings = &folder.manifest().text;
        let roles = &KANDINSKY_2_1.tokenizers;
        Ok(Self {
            clip: Encoder::open(folder, roles.clip, &settings.clip)?,
            multilingual: Encoder::open(folder, roles.multilingual, &settings.multilingual)?,
        })
    }

    /// A prompt for the CLIP text encoder, which the prior reads. The empty prompt is the two ends alone.
    ///
    /// # Errors
    /// [`Kind::BadPrompt`] for more than [`limits::PROMPT_BYTES`] or a NUL.
    pub fn clip(&self, prompt: &str) -> Result<Tokens> {
        self.clip_weighted(&Weighted::plain(prompt))
    }

    /// A prompt for the multilingual encoder, which the UNet reads. The empty prompt is the two ends alone.
    ///
    /// # Errors
    /// As [`Tokenizers::clip`].
    pub fn multilingual(&self, prompt: &str) -> Result<Tokens> {
        self.multilingual_weighted(&Weighted::plain(prompt))
    }

    /// As [`Tokenizers::clip`], with a weight for each token.
    ///
    /// # Errors
    /// As [`Tokenizers::clip`].
    pub fn clip_weighted(&self, prompt: &Weighted) -> Result<Tokens> {
        check(Prompt::Prompt, prompt.text())?;
        self.clip.encode(prompt)
    }

    /// As [`Tokenizers::multilingual`], with a weight for each token.
    ///
    /// # Errors
    /// As [`Tokenizers::clip`].
    pub fn multilingual_weighted(&self, prompt: &Weighted) -> Result<Tokens> {
        check(Prompt::Prompt, prompt.text())?;
        self.multilingual.encode(prompt)
    }

    /// Which ends of a prompt the encoders will not see. `weighted` says whether it is in the notation of
    /// [`Weighted`].
    ///
    /// # Errors
    /// As [`Tokenizers::clip`] and [`Weighted::parse`], which name the prompt.
    pub fn truncations(&self, which: Prompt, text: &str, weighted: bool) -> Result<Vec<Truncation>> {
        check(which, text)?;
        let what = which.in_words();
        let text = if weighted { Weighted::parse_named(what, text)? } else { Weighted::plain(text) };
        let mut all = Vec::new();
        for (reader, encoder) in [(Reader::Prior, &self.clip), (Reader::Decoder, &self.multilingual)] {
            let Tokens { truncated, total, .. } = encoder.encode(&text)?;
            let limit = encoder.settings.max_tokens;
            let cut = |lost| Truncation { prompt: which, encoder: reader, tokens: total, limit, lost };
            all.extend(truncated.map(cut));
        }
        Ok(all)
    }
}

#[derive(Debug)]
struct Encoder {
    tokenizer: Tokenizer,
    settings: manifest::Tokenizer,
}

impl Encoder {
    fn open(folder: &Folder, role: &str, settings: &manifest::Tokenizer) -> Result<Self> {
        let entry = folder.file(role)?;
        let bad = |reason: String| Error::new(Kind::BadModel, format!("{}: {reason}", entry.path));
        if entry.bytes > limits::TOKENIZER_BYTES {
            return Err(bad(format!(
                "it has {} bytes; the limit is {}",
                entry.bytes,
                limits::TOKENIZER_BYTES
            )));
        }
        let path = folder.locate(entry)?;
        // The very bytes that are parsed are hashed: nothing can be exchanged in between.
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, "read", &e))?;
        if hash::of_bytes(&bytes) != entry.sha256 {
            return Err(bad("its sha-256 is not the manifest's".to_owned()));
        }
        let tokenizer = plain::tokenizer(&bytes).map_err(&bad)?;
        for id in [settings.bos, settings.eos, settings.pad] {
            if tokenizer.id_to_token(id).is_none() {
                return Err(bad(format!("it has no token {id}, which the manifest names")));
            }
        }
        if settings.max_tokens < 2 {
            return Err(bad(format!("{} tokens do not hold both ends of a text", settings.max_tokens)));
        }
        Ok(Self { tokenizer, settings: settings.clone() })
    }

    /// Truncates as the reference does: first the text to two tokens less than the maximum, then both ends.
    fn encode(&self, prompt: &Weighted) -> Result<Tokens> {
        let failed = |e| Error::new(Kind::BadPrompt, format!("the prompt cannot be tokenised: {e}"));
        let encoding = self.tokenizer.encode(prompt.text(), false).map_err(failed)?;
        let room = self.settings.max_tokens.saturating_sub(2);
        let offsets = encoding.get_offsets();
        let lost = offsets.get(room).map(|(start, _)| *start);
        let mut ids = vec![self.settings.bos];
        ids.extend(encoding.get_ids().iter().take(room));
        ids.push(self.settings.eos);
        let truncated = lost.map(|start| prompt.text().get(start..).unwrap_or_default().to_owned());
        let own: Vec<f32> = offsets.iter().take(room).map(|token| prompt.weight_of(*token)).collect();
        let weighs = own.iter().any(|weight| *weight != 1.0);
        let weights = weighs.then(|| [&[1.0], own.as_slice(), &[1.0]].concat());
        Ok(Tokens { ids, weights, total: offsets.len() + 2, truncated })
    }
}

/// Passes a text that the encoders read.
///
/// # Errors
/// [`Kind::BadPrompt`] for more than [`limits::PROMPT_BYTES`] or a NUL.
pub fn check(which: Prompt, text: &str) -> Result<()> {
    check_named(which.in_words(), text)
}

fn check_named(what: &str, text: &str) -> Result<()> {
    let (bytes, limit) = (text.len(), limits::PROMPT_BYTES);
    if bytes > limit {
        return Err(Error::new(Kind::BadPrompt, format!("{what} has {bytes} bytes; the limit is {limit}")));
    }
    match text.find('\0') {
        Some(offset) => {
            Err(Error::new(Kind::BadPrompt, format!("{what} has a NUL at byte {offset}, which is no text")))
        }
        None => Ok(()),
    }
}
