//! CLIP's `vocab.json` and `merges.txt` as one `tokenizer.json`.
//!
//! The result splits text as the reference's CLIPTokenizer (transformers 5) does: NFC, runs of white
//! space to one space, lower case; words by a pattern, bytes to letters, byte-pair merges with `</w>` at
//! the end of a word. OpenAI's own code also ran `ftfy` first; the reference does not.

use crate::checkpoint::{bad_config, read_text};
use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Words: the two special tokens, English contractions, letters, single digits, the rest.
const WORDS: &str = concat!(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|",
    r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
);

/// A special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text.
    pub content: String,
    /// Whether it is looked for in the normalised text, where special tokens are looked for at all.
    pub normalized: bool,
}

/// The special tokens of a CLIP tokeniser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Special {
    /// Put first.
    pub bos: Token,
    /// Put last.
    pub eos: Token,
    /// Stands for what is not in the vocabulary.
    pub unknown: Token,
    /// Padding.
    pub pad: Token,
}

/// Reads `vocab.json` and `merges.txt` of `folder` and gives the text of a `tokenizer.json`.
///
/// # Errors
/// When a file is missing or damaged, a merge or a special token is not in the vocabulary.
pub fn build(folder: &Path, special: &Special) -> Result<String> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let bad = |e: serde_json::Error| bad_config(&vocab_path, e.to_string());
    let vocab: Map<String, Value> = serde_json::from_str(&read_text(&vocab_path)?).map_err(bad)?;
    let merges_text = read_text(&merges_path)?;
    let merges = read_merges(&merges_text).map_err(|e| bad_config(&merges_path, e))?;
    check_vocab(&vocab).map_err(|e| bad_config(&vocab_path, e))?;
    check_merges(&vocab, &merges).map_err(|e| bad_config(&merges_path, e))?;
    let id = |token: &str| {
        let found = vocab.get(token).and_then(Value::as_u64);
        found.ok_or_else(|| bad_config(&vocab_path, format!("it lacks the special token {token}")))
    };
    let mut added = BTreeMap::new();
    // Where two roles share a token, the later role's settings win, as in the reference.
    for token in [&special.bos, &special.eos, &special.unknown, &special.pad] {
        added.insert(id(&token.content)?, token);
    }
    let added: Vec<_> = added.into_iter().map(|(id, token)| added_token(id, token)).collect();
    let ends = [&special.bos.content, &special.eos.content];
    let [bos, eos] = ends.map(|end| id(end).map(|id| (end, id)));
    let merges = merges.into_iter().map(|(a, b)| json!([a, b])).collect();
    let file = document(&added, &[bos?, eos?], &special.unknown.content);
    finish(file, vocab, merges)
}

/// Vocabulary and merges are moved in, not copied: they are most of the file.
fn finish(mut file: Value, vocab: Map<String, Value>, merges: Vec<Value>) -> Result<String> {
    if let Some(model) = file.get_mut("model").and_then(Value::as_object_mut) {
        model.insert("vocab".to_owned(), Value::Object(vocab));
        model.insert("merges".to_owned(), Value::Array(merges));
    }
    serde_json::to_string(&file)
        .map_err(|e| Error::Drawing { graph: "clip_tokenizer".to_owned(), reason: e.to_string() })
}

fn added_token(id: u64, token: &Token) -> Value {
    json!({
        "id": id, "content": token.content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": token.normalized, "special": true
    })
}

fn document(added: &[Value], [bos, eos]: &[(&String, u64); 2], unknown: &str) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"}
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [eos.0, eos.1], "cls": [bos.0, bos.1],
            "trim_offsets": false, "add_prefix_space": false
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false
        }
    })
}

/// Every line but a leading `#version` is two pieces with a space between.
fn read_merges<'a>(text: &'a str) -> std::result::Result<Vec<(&'a str, &'a str)>, String> {
    let lines = text.lines().enumerate().filter(|(i, line)| !(*i == 0 && line.starts_with("#version")));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let pair = |(i, line): (usize, &'a str)| match line.split_once(' ') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(' ') => Ok((a, b)),
        _ => Err(format!("line {} is {line:?}, which is not two pieces", i + 1)),
    };
    lines.map(pair).collect()
}

/// Ids are 0 to n-1, each once.
fn check_vocab(vocab: &Map<String, Value>) -> std::result::Result<(), String> {
    let mut seen = vec![false; vocab.len()];
    for (token, id) in vocab {
        let slot = id.as_u64().and_then(|id| usize::try_from(id).ok()).and_then(|id| seen.get_mut(id));
        match slot {
            Some(slot) if !*slot => *slot = true,
            _ => {
                return Err(format!(
                    "the token {token:?} has the id {id}, and each of 0 to {} is had once",
                    vocab.len() - 1
                ));
            }
        }
    }
    Ok(())
}

fn check_merges(vocab: &Map<String, Value>, merges: &[(&str, &str)]) -> std::result::Result<(), String> {
    let unknown = |piece: &str| !vocab.contains_key(piece);
    let bad = merges.iter().find(|(a, b)| unknown(a) || unknown(b) || unknown(&format!("{a}{b}")));
    match bad {
        Some((a, b)) => Err(format!("the merge of {a:?} and {b:?} is not in vocab.json")),
        None => Ok(()),
    }
}
