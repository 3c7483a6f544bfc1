//! Prompts to tokens, for both text encoders.
//!
//! A prompt is text and nothing else: `</s>` or `<|endoftext|>` typed by a user are encoded as the
//! characters they are. The reference parses them as control tokens; for every other text the ids are the
//! reference's.

mod plain;

use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::request::Job;
use kandinsky_models::manifest;
use kandinsky_models::{Folder, hash};
use tokenizers::Tokenizer;

/// A prompt as an encoder reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Begin-of-text, the prompt's own ids, end-of-text; no padding, at most the encoder's `max_tokens`.
    pub ids: Vec<u32>,
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
    /// Reads the files with the roles `clip_tokenizer` and `multilingual_tokenizer`.
    ///
    /// # Errors
    /// When a file is missing, is not the one that the manifest names, or does not fit the manifest's
    /// settings.
    pub fn open(folder: &Folder) -> Result<Self> {
        let settings = &folder.manifest().text;
        Ok(Self {
            clip: Encoder::open(folder, "clip_tokenizer", &settings.clip)?,
            multilingual: Encoder::open(folder, "multilingual_tokenizer", &settings.multilingual)?,
        })
    }

    /// A prompt for the CLIP text encoder, which the prior reads. The empty prompt is the two ends alone.
    ///
    /// # Errors
    /// [`Kind::BadPrompt`] for more than [`limits::PROMPT_BYTES`] or a NUL.
    pub fn clip(&self, prompt: &str) -> Result<Tokens> {
        check("the prompt", prompt)?;
        self.clip.encode(prompt)
    }

    /// A prompt for the multilingual encoder, which the UNet reads. The empty prompt is the two ends alone.
    ///
    /// # Errors
    /// As [`Tokenizers::clip`].
    pub fn multilingual(&self, prompt: &str) -> Result<Tokens> {
        check("the prompt", prompt)?;
        self.multilingual.encode(prompt)
    }

    /// What the caller should know of a job's prompts: which ends the encoders will not see.
    ///
    /// # Errors
    /// As [`Tokenizers::clip`], for the prompt and the negative prompt.
    pub fn notes(&self, job: &Job) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let texts = [("the prompt", Some(&job.prompt)), ("the negative prompt", job.negative.as_ref())];
        for (what, text) in texts.into_iter().filter_map(|(what, text)| Some((what, text?))) {
            check(what, text)?;
            for (reader, encoder) in [("the prior", &self.clip), ("the decoder", &self.multilingual)] {
                let lost = encoder.encode(text)?.truncated;
                notes.extend(lost.map(|lost| encoder.note(what, reader, &lost)));
            }
        }
        Ok(notes)
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
    fn encode(&self, prompt: &str) -> Result<Tokens> {
        let failed = |e| Error::new(Kind::BadPrompt, format!("the prompt cannot be tokenised: {e}"));
        let encoding = self.tokenizer.encode(prompt, false).map_err(failed)?;
        let room = self.settings.max_tokens.saturating_sub(2);
        let lost = encoding.get_offsets().get(room).map(|(start, _)| *start);
        let mut ids = vec![self.settings.bos];
        ids.extend(encoding.get_ids().iter().take(room));
        ids.push(self.settings.eos);
        let truncated = lost.map(|start| prompt.get(start..).unwrap_or_default().to_owned());
        Ok(Tokens { ids, truncated })
    }

    fn note(&self, what: &str, reader: &str, lost: &str) -> String {
        /// Characters of the lost text that are shown.
        const SHOWN: usize = 60;
        let mut shown: String = lost.trim().chars().take(SHOWN).collect();
        if lost.trim().chars().count() > SHOWN {
            shown.push('…');
        }
        format!("{what} is longer than {} tokens; {reader} does not see {shown:?}", self.settings.max_tokens)
    }
}

fn check(what: &str, text: &str) -> Result<()> {
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
