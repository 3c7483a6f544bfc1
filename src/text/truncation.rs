//! What was cut from a prompt, for programs and for people.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of a prompt for which an encoder had no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncation {
    /// The prompt that is too long.
    pub prompt: Prompt,
    /// Who does not see its end.
    pub encoder: Reader,
    /// Tokens of the whole prompt, both ends included.
    pub tokens: usize,
    /// Tokens that the encoder has room for.
    pub limit: usize,
    /// The text that is not seen.
    pub lost: String,
}

/// Which of a request's prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prompt {
    /// What the picture shows.
    Prompt,
    /// What it shall not show.
    Negative,
    /// A part of a mix.
    Mix,
}

impl Prompt {
    /// How a sentence names it.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Prompt => "the prompt",
            Self::Negative => "the negative prompt",
            Self::Mix => "a text of the mix",
        }
    }
}

/// Whose text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// The prior's: CLIP.
    Prior,
    /// The decoder's: the multilingual encoder.
    Decoder,
}

impl fmt::Display for Truncation {
    /// One sentence with the beginning of what is lost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, limit) = (self.prompt.in_words(), self.limit);
        let reader = match self.encoder {
            Reader::Prior => "the prior",
            Reader::Decoder => "the decoder",
        };
        let shown = beginning(self.lost.trim());
        write!(f, "{what} is longer than {limit} tokens; {reader} does not see {shown:?}")
    }
}

/// As much of a text as a sentence shows.
fn beginning(text: &str) -> String {
    /// Characters that are shown.
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    shown
}
