//! Golden ids of both tokenisers.

use kandinsky::Kind;
use kandinsky::internal::text::{Tokenizers, Tokens};
use kandinsky_models::{Folder, manifest};
use serde::Deserialize;
use std::path::Path;

/// How a user may spell a control token; the reference parses these, and we do not.
const CONTROL: [&str; 7] = ["<|startoftext|>", "<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>"];

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    prompt: String,
    clip_ids: Vec<u32>,
    clip_mask: Vec<u32>,
    clip_untruncated: Option<Vec<u32>>,
    xlmr_ids: Vec<u32>,
    xlmr_mask: Vec<u32>,
    xlmr_untruncated: Option<Vec<u32>>,
    xlmr_full_ids: Option<Vec<u32>>,
    xlmr_full_untruncated: Option<Vec<u32>>,
}

/// Ids of one tokeniser for one prompt.
struct Golden<'a> {
    padded: &'a [u32],
    untruncated: Option<&'a [u32]>,
}

/// What was compared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Prompts whose ids through our door are the reference's, for both tokenisers.
    pub equal: usize,
    /// Prompts in which a control token is typed: the file gives the reference's ids with its control tokens
    /// on, and our door gives text.
    pub typed: usize,
    /// Prompts with a NUL, which our door refuses; the file gives the reference's ids.
    pub refused: usize,
}

/// Compares every prompt of `reference/data/tokenizers.json` with a model folder's tokenisers, both through
/// [`Tokenizers`] and, with control tokens on, through the bare files.
pub fn check_tokenizers(reference: &Path, folder: &Folder) -> Checked {
    check(reference, folder, false)
}

/// As [`check_tokenizers`], where the folder has the full vocabulary of 250,002 pieces.
pub fn check_full_vocabulary(reference: &Path, folder: &Folder) -> Checked {
    check(reference, folder, true)
}

fn check(reference: &Path, folder: &Folder, full: bool) -> Checked {
    let text = std::fs::read_to_string(reference.join("data/tokenizers.json")).unwrap();
    let goldens: Goldens = serde_json::from_str(&text).unwrap();
    let tokenizers = Tokenizers::open(folder).unwrap();
    let (clip, multilingual) = (bare(folder, "clip_tokenizer"), bare(folder, "multilingual_tokenizer"));
    let settings = &folder.manifest().text;
    let mut checked = Checked::default();
    for case in &goldens.cases {
        let prompt = case.prompt.as_str();
        let (ours, others) = (tokenizers.clip(prompt), tokenizers.multilingual(prompt));
        let golden = Golden { padded: &case.clip_ids, untruncated: case.clip_untruncated.as_deref() };
        compare_bare(&clip, prompt, &golden, &settings.clip);
        let second = case.multilingual(full);
        compare_bare(&multilingual, prompt, &second, &settings.multilingual);
        if prompt.contains('\0') {
            assert_eq!(ours.unwrap_err().kind(), Kind::BadPrompt);
            assert_eq!(others.unwrap_err().kind(), Kind::BadPrompt);
            checked.refused += 1;
        } else if CONTROL.iter().any(|token| prompt.contains(token)) {
            assert_text(prompt, &ours.unwrap(), &settings.clip);
            assert_text(prompt, &others.unwrap(), &settings.multilingual);
            checked.typed += 1;
        } else {
            compare(prompt, &ours.unwrap(), &golden, &settings.clip);
            compare(prompt, &others.unwrap(), &second, &settings.multilingual);
            checked.equal += 1;
        }
        assert_mask(&case.clip_ids, &case.clip_mask, &settings.clip);
        if !full {
            assert_mask(&case.xlmr_ids, &case.xlmr_mask, &settings.multilingual);
        }
    }
    checked
}

impl Case {
    fn multilingual(&self, full: bool) -> Golden<'_> {
        if full {
            let padded = self.xlmr_full_ids.as_deref().expect("the goldens have the full vocabulary");
            return Golden { padded, untruncated: self.xlmr_full_untruncated.as_deref() };
        }
        Golden { padded: &self.xlmr_ids, untruncated: self.xlmr_untruncated.as_deref() }
    }
}

fn bare(folder: &Folder, role: &str) -> tokenizers::Tokenizer {
    let path = folder.locate(folder.file(role).unwrap()).unwrap();
    tokenizers::Tokenizer::from_file(path).unwrap()
}

fn padded(mut ids: Vec<u32>, settings: &manifest::Tokenizer) -> Vec<u32> {
    ids.resize(settings.max_tokens, settings.pad);
    ids
}

fn compare(prompt: &str, ours: &Tokens, golden: &Golden<'_>, settings: &manifest::Tokenizer) {
    assert_eq!(padded(ours.ids.clone(), settings), golden.padded, "{prompt:?}");
    let cut = golden.untruncated.map(|all| all.len() > settings.max_tokens);
    assert!(cut.is_none_or(|cut| cut == ours.truncated.is_some()), "{prompt:?}: {:?}", ours.truncated);
    let lost = ours.truncated.as_deref().unwrap_or_default();
    assert!(prompt.ends_with(lost) && ours.truncated.is_some() != lost.is_empty(), "{prompt:?}: {lost:?}");
}

fn compare_bare(
    file: &tokenizers::Tokenizer,
    prompt: &str,
    golden: &Golden<'_>,
    settings: &manifest::Tokenizer,
) {
    let mut ids = file.encode(prompt, true).unwrap().get_ids().to_vec();
    assert!(golden.untruncated.is_none_or(|golden| golden == ids), "{prompt:?}: {ids:?}");
    if ids.len() > settings.max_tokens {
        ids.truncate(settings.max_tokens - 1);
        ids.push(settings.eos);
    }
    assert_eq!(padded(ids, settings), golden.padded, "{prompt:?}");
}

/// Both ends are where we put them, and nothing between them is a control token.
fn assert_text(prompt: &str, ours: &Tokens, settings: &manifest::Tokenizer) {
    let [first, inner @ .., last] = ours.ids.as_slice() else { panic!("{prompt:?}: {:?}", ours.ids) };
    assert_eq!((*first, *last), (settings.bos, settings.eos), "{prompt:?}");
    let control = [settings.bos, settings.eos, settings.pad];
    assert!(inner.iter().all(|id| !control.contains(id)), "{prompt:?}: {:?}", ours.ids);
    assert!(inner.len() > prompt.split_whitespace().count(), "{prompt:?}: {:?}", ours.ids);
}

/// The mask of the goldens is where our ids are: before padding.
fn assert_mask(ids: &[u32], mask: &[u32], settings: &manifest::Tokenizer) {
    let real = mask.iter().filter(|m| **m == 1).count();
    assert!(mask.iter().take(real).all(|m| *m == 1));
    assert_eq!(ids.get(real - 1), Some(&settings.eos));
    assert!(ids.iter().skip(real).all(|id| *id == settings.pad));
}
