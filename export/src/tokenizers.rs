//! The tokenisers of a model folder: files in the `tokenizer.json` format, and the ids around a prompt.

use crate::checkpoint::{Config, read_text};
use crate::clip_tokenizer::{self, Special, Token};
use crate::{Error, Result};
use kandinsky_models::KANDINSKY_2_1;
use kandinsky_models::manifest::Tokenizer;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Tokens of a multilingual prompt; the reference pipeline's `max_length`, which no config states.
const MULTILINGUAL_TOKENS: usize = KANDINSKY_2_1.prompt_tokens;

/// A tokeniser on its way into a model folder.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The text of its `tokenizer.json`.
    pub text: String,
    /// The checkpoint's files that it was made from.
    pub sources: Vec<PathBuf>,
    /// The ids around a prompt.
    pub ids: Tokenizer,
}

/// CLIP's tokeniser from the folder `tokenizer/` of the prior's repository: its `tokenizer.json`, or one
/// built from `vocab.json` and `merges.txt`. `positions` is the text encoder's number of positions.
///
/// # Errors
/// When a file is missing or damaged, or a special token has no id.
pub fn clip(folder: &Path, positions: usize) -> Result<Prepared> {
    let special = special_tokens(folder)?;
    let token = |role: &str, usual: &str| special.token(role).unwrap_or_else(|| plain(usual));
    let eos = token("eos_token", "<|endoftext|>");
    let tokens = Special {
        bos: token("bos_token", "<|startoftext|>"),
        unknown: token("unk_token", &eos.content),
        pad: token("pad_token", &eos.content),
        eos,
    };
    let whole = folder.join("tokenizer.json");
    let (text, mut sources) = if whole.is_file() {
        (read_text(&whole)?, vec![whole.clone()])
    } else {
        let built = clip_tokenizer::build(folder, &tokens)?;
        (built, vec![folder.join("vocab.json"), folder.join("merges.txt")])
    };
    let id = id_finder(&whole, &text)?;
    let ids = Tokenizer {
        bos: id(&tokens.bos.content)?,
        eos: id(&tokens.eos.content)?,
        pad: id(&tokens.pad.content)?,
        max_tokens: positions,
    };
    sources.extend(special.path);
    Ok(Prepared { text, sources, ids })
}

/// The multilingual tokeniser: `tokenizer.json` of the folder `tokenizer/` of the decoder's repository.
/// `positions` is the number of positions that the encoder has for tokens.
///
/// # Errors
/// When the file is missing or damaged, or a special token has no id.
pub fn multilingual(folder: &Path, positions: usize) -> Result<Prepared> {
    let path = folder.join("tokenizer.json");
    let text = read_text(&path)?;
    let special = special_tokens(folder)?;
    let id = id_finder(&path, &text)?;
    let find = |role: &str, usual: &str| id(&special.token(role).unwrap_or_else(|| plain(usual)).content);
    let ids = Tokenizer {
        bos: find("bos_token", "<s>")?,
        eos: find("eos_token", "</s>")?,
        pad: find("pad_token", "<pad>")?,
        max_tokens: positions.min(MULTILINGUAL_TOKENS),
    };
    let sources = std::iter::once(path).chain(special.path).collect();
    Ok(Prepared { text, sources, ids })
}

/// The ids that a text encoder's config states, for a checkpoint without tokenisers. The token limits
/// are as in [`clip`] and [`multilingual`].
///
/// # Errors
/// When the config states no such ids.
pub fn ids_of_config(config: &Config, positions: usize) -> Result<Tokenizer> {
    let id = |name: &str| {
        let id = config.need(name)?.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| config.bad(format!("{name} is not the id of a token")))
    };
    Ok(Tokenizer {
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        pad: id("pad_token_id")?,
        max_tokens: positions.min(MULTILINGUAL_TOKENS),
    })
}

/// `tokenizer_config.json` or `special_tokens_map.json`, where there is one.
struct SpecialTokens {
    path: Option<PathBuf>,
    value: Value,
}

impl SpecialTokens {
    /// A token is a text, or an object whose `content` it is.
    fn token(&self, role: &str) -> Option<Token> {
        let token = self.value.get(role)?;
        if let Some(content) = token.as_str() {
            return Some(plain(content));
        }
        let normalized = token.get("normalized").and_then(Value::as_bool).unwrap_or(false);
        Some(Token { content: token.get("content")?.as_str()?.to_owned(), normalized })
    }
}

/// A token of which nothing but the text is said.
fn plain(content: &str) -> Token {
    Token { content: content.to_owned(), normalized: false }
}

fn special_tokens(folder: &Path) -> Result<SpecialTokens> {
    let candidates = ["tokenizer_config.json", "special_tokens_map.json"].map(|name| folder.join(name));
    match candidates.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(SpecialTokens { value: Config::read(&path)?.value, path: Some(path) }),
        None => Ok(SpecialTokens { path: None, value: Value::Null }),
    }
}

/// Looks ids up among the special tokens of a `tokenizer.json`.
fn id_finder(path: &Path, text: &str) -> Result<impl Fn(&str) -> Result<u32> + use<>> {
    #[derive(Deserialize)]
    struct File {
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        content: String,
    }
    let bad = |reason: String| Error::BadConfig { path: path.to_owned(), reason };
    let file: File = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
    let path = path.to_owned();
    Ok(move |token: &str| {
        let found = file.added_tokens.iter().find(|added| added.content == token).map(|added| added.id);
        let reason = format!("it lacks the special token {token}");
        found.ok_or_else(|| Error::BadConfig { path: path.clone(), reason })
    })
}
