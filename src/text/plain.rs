//! A tokeniser without control tokens: whatever is typed is encoded as text.

use serde::Deserialize;
use tokenizers::models::ModelWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::{AddedVocabulary, PostProcessorWrapper, Tokenizer};

/// The parts of `tokenizer.json` that the crate reads and does not give back.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    unk_id: Option<serde_json::Value>,
    #[serde(default)]
    ignore_merges: Option<bool>,
}

/// Reads a `tokenizer.json` and takes from it every way to write a control token: the added tokens, which
/// are looked for before anything else, and their pieces of a unigram vocabulary, which would match like
/// any other. (A merge list never leads to them.) Truncation, padding and both ends are ours, so they go as
/// well.
pub(super) fn tokenizer(bytes: &[u8]) -> Result<Tokenizer, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| e.to_string())?;
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    tokenizer.with_padding(None);
    tokenizer.with_post_processor(None::<PostProcessorWrapper>);
    tokenizer.with_added_vocabulary(AddedVocabulary::new());
    let without = match tokenizer.get_model() {
        ModelWrapper::BPE(_) if file.model.ignore_merges == Some(true) => {
            return Err(
                "it matches whole tokens without merging, which would match control tokens".to_owned()
            );
        }
        ModelWrapper::BPE(_) => None,
        ModelWrapper::Unigram(model) => Some(without_control_pieces(model, &file)?),
        _ => return Err("it is neither a byte-pair nor a unigram tokeniser".to_owned()),
    };
    if let Some(model) = without {
        tokenizer.with_model(model);
    }
    Ok(tokenizer)
}

/// The same model, its control pieces replaced by texts that no prompt contains: a prompt has no NUL.
fn without_control_pieces(model: &Unigram, file: &File) -> Result<Unigram, String> {
    let mut pieces: Vec<(String, f64)> = model.iter().cloned().collect();
    for token in file.added_tokens.iter().filter(|token| token.special) {
        if let Some((piece, _)) = pieces.get_mut(token.id) {
            *piece = format!("\0{}", token.id);
        }
    }
    let unknown = file.model.unk_id.as_ref().and_then(serde_json::Value::as_u64);
    let unknown = unknown.map(usize::try_from).transpose().map_err(|e| e.to_string())?;
    Unigram::from(pieces, unknown, model.byte_fallback()).map_err(|e| e.to_string())
}
