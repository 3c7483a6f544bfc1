//! Prompt weights: `(word:1.3)` gives a part of a prompt more or less say (the notation of the AUTOMATIC1111
//! web interface).
//!
//! Parentheses without a number weigh 1.1, nested ones multiply, and a group's number follows its last
//! colon, so that `(12:30:1.2)` is `12:30` at 1.2. `\(`, `\)` and `\\` are the characters themselves;
//! everything else, other backslashes included, is text.

use super::check_named;
use crate::error::{Error, Kind, Result};
use crate::limits::PROMPT_WEIGHT;
use std::ops::Range;

/// The weight of parentheses without a number.
const BARE: f32 = 1.1;

/// A prompt's text without its notation, and how much each part of it weighs.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    text: String,
    spans: Vec<Span>,
}

/// A part of the text; parts follow each other without a gap.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    /// Bytes of the text.
    bytes: Range<usize>,
    weight: f32,
    /// Where the part begins in the prompt as it was written.
    written: usize,
}

impl Weighted {
    /// All of `prompt` as it is written, at weight 1.
    pub fn plain(prompt: &str) -> Self {
        let all = Span { bytes: 0..prompt.len(), weight: 1.0, written: 0 };
        let spans = if prompt.is_empty() { Vec::new() } else { vec![all] };
        Self { text: prompt.to_owned(), spans }
    }

    /// Reads the notation in `prompt`.
    ///
    /// # Errors
    /// [`Kind::BadPrompt`] with the byte offset for a parenthesis without its partner, a weight that is no
    /// number, and weights, also as nested ones multiply, outside [`PROMPT_WEIGHT`]; and for more than
    /// [`PROMPT_BYTES`](crate::limits::PROMPT_BYTES) or a NUL.
    pub fn parse(prompt: &str) -> Result<Self> {
        Self::parse_named("the prompt", prompt)
    }

    /// As [`Weighted::parse`]; errors call the prompt `what`.
    pub(super) fn parse_named(what: &str, prompt: &str) -> Result<Self> {
        check_named(what, prompt)?;
        Parser::new(what, prompt).parse()
    }

    /// The text that the encoders read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text's parts in order: their bytes in [`Weighted::text`] and their weights.
    pub fn parts(&self) -> impl Iterator<Item = (Range<usize>, f32)> {
        self.spans.iter().map(|span| (span.bytes.clone(), span.weight))
    }

    /// The weight of a token that was read from bytes `start..end`: that of its first byte which is no
    /// space, since a piece may carry the space before its word.
    pub(super) fn weight_of(&self, (start, end): (usize, usize)) -> f32 {
        let piece = self.text.as_bytes().get(start..end).unwrap_or_default();
        let space = piece.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
        let first = start + space;
        self.spans.iter().find(|span| span.bytes.contains(&first)).map_or(1.0, |span| span.weight)
    }
}

struct Parser<'a> {
    what: &'a str,
    prompt: &'a str,
    text: String,
    spans: Vec<Span>,
    /// Where the part that is being read begins: in the text and as it was written.
    begun: (usize, usize),
    groups: Vec<Group>,
}

/// A parenthesis that is open.
struct Group {
    /// Where it stands in the prompt.
    offset: usize,
    /// Parts before it.
    before: usize,
    /// The last colon after which nothing but text came: where it stands in the text and in the prompt.
    colon: Option<(usize, usize)>,
}

impl<'a> Parser<'a> {
    fn new(what: &'a str, prompt: &'a str) -> Self {
        let text = String::with_capacity(prompt.len());
        Self { what, prompt, text, spans: Vec::new(), begun: (0, 0), groups: Vec::new() }
    }

    fn parse(mut self) -> Result<Weighted> {
        let mut characters = self.prompt.char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            match character {
                '(' => self.open(offset),
                ')' => self.close(offset)?,
                '\\' => {
                    let escaped = characters.next_if(|(_, next)| matches!(next, '(' | ')' | '\\'));
                    self.text.push(escaped.map_or('\\', |(_, next)| next));
                }
                ':' => {
                    self.colon(offset);
                    self.text.push(':');
                }
                _ => self.text.push(character),
            }
        }
        self.finish()
    }

    fn open(&mut self, offset: usize) {
        self.end_part(offset);
        // What comes after a group inside is no number of the group outside.
        if let Some(outer) = self.groups.last_mut() {
            outer.colon = None;
        }
        self.groups.push(Group { offset, before: self.spans.len(), colon: None });
    }

    fn colon(&mut self, offset: usize) {
        let place = (self.text.len(), offset);
        if let Some(group) = self.groups.last_mut() {
            group.colon = Some(place);
        }
    }

    fn close(&mut self, offset: usize) -> Result<()> {
        let Some(group) = self.groups.pop() else {
            return Err(self.bad(&format!("closes a parenthesis at byte {offset} that is not open")));
        };
        let weight = match group.colon {
            Some((text, colon)) => {
                self.text.truncate(text);
                self.number(colon + 1, offset)?
            }
            None => BARE,
        };
        self.end_part(offset);
        self.spans.iter_mut().skip(group.before).for_each(|span| span.weight *= weight);
        Ok(())
    }

    /// The weight that is written in bytes `start..end`.
    fn number(&self, start: usize, end: usize) -> Result<f32> {
        let written = self.prompt.get(start..end).unwrap_or_default().trim();
        let plain = written.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
        let weight = written.parse::<f32>().ok().filter(|_| plain);
        let Some(weight) = weight else {
            return Err(self.bad(&format!("has a weight at byte {start} that is no number")));
        };
        if !is_allowed(weight) {
            return Err(self.bad(&format!("has the weight {weight} at byte {start}{}", limit())));
        }
        Ok(weight)
    }

    /// Ends the part before byte `offset` of the prompt, which is a parenthesis.
    fn end_part(&mut self, offset: usize) {
        let (start, written) = self.begun;
        if start < self.text.len() {
            self.spans.push(Span { bytes: start..self.text.len(), weight: 1.0, written });
        }
        self.begun = (self.text.len(), offset + 1);
    }

    fn finish(mut self) -> Result<Weighted> {
        if let Some(group) = self.groups.last() {
            return Err(
                self.bad(&format!("opens a parenthesis at byte {} and never closes it", group.offset))
            );
        }
        self.end_part(self.prompt.len());
        if let Some(Span { weight, written, .. }) = self.spans.iter().find(|span| !is_allowed(span.weight)) {
            let product = format!("has weights around byte {written} that multiply to {weight}{}", limit());
            return Err(self.bad(&product));
        }
        Ok(Weighted { text: self.text, spans: self.spans })
    }

    fn bad(&self, fault: &str) -> Error {
        Error::new(Kind::BadPrompt, format!("{} {fault}", self.what))
    }
}

/// Whether a weight is within the limit; NaN is not.
fn is_allowed(weight: f32) -> bool {
    (PROMPT_WEIGHT.min..=PROMPT_WEIGHT.max).contains(&weight)
}

fn limit() -> String {
    format!("; the limit is {} to {}", PROMPT_WEIGHT.min, PROMPT_WEIGHT.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(prompt: &str) -> Vec<(String, f32)> {
        let parsed = Weighted::parse(prompt).unwrap();
        let covered: Vec<_> = parsed.parts().collect();
        let ends = covered.iter().map(|(bytes, _)| bytes.end);
        assert!(
            covered
                .iter()
                .map(|(bytes, _)| bytes.start)
                .eq(std::iter::once(0).chain(ends).take(covered.len()))
        );
        covered.into_iter().map(|(bytes, weight)| (parsed.text()[bytes].to_owned(), weight)).collect()
    }

    fn refusal(prompt: &str) -> String {
        let error = Weighted::parse(prompt).unwrap_err();
        assert_eq!(error.kind(), Kind::BadPrompt);
        error.to_string()
    }

    #[test]
    fn the_notation_is_read() {
        let cases: &[(&str, &[(&str, f32)])] = &[
            ("", &[]),
            ("a cat", &[("a cat", 1.0)]),
            ("a (cat:1.3)", &[("a ", 1.0), ("cat", 1.3)]),
            ("(a) b", &[("a", BARE), (" b", 1.0)]),
            ("(a (b:1.5) c:0.5)", &[("a ", 0.5), ("b", 1.5 * 0.5), (" c", 0.5)]),
            ("((a))", &[("a", BARE * BARE)]),
            ("(12:30:1.2)", &[("12:30", 1.2)]),
            ("12:30", &[("12:30", 1.0)]),
            ("(a: (b:1.5))", &[("a: ", BARE), ("b", 1.5 * BARE)]),
            ("(кот: +1.25 )!", &[("кот", 1.25), ("!", 1.0)]),
            (r"\(a\) \\ \b \", &[(r"(a) \ \b \", 1.0)]),
            (r"(\(a:1\):.5)", &[("(a:1)", 0.5)]),
            ("()(:1)(a:0)", &[("a", 0.0)]),
        ];
        for (prompt, expected) in cases {
            let expected: Vec<_> =
                expected.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect();
            assert_eq!(parts(prompt), expected, "{prompt}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        for (prompt, message) in [
            ("a) b", "the prompt closes a parenthesis at byte 1 that is not open"),
            ("кот (b", "the prompt opens a parenthesis at byte 7 and never closes it"),
            (r"(b\)", "the prompt opens a parenthesis at byte 0 and never closes it"),
            ("(a:x)", "the prompt has a weight at byte 3 that is no number"),
            ("(a:)", "the prompt has a weight at byte 3 that is no number"),
            ("(a:inf)", "the prompt has a weight at byte 3 that is no number"),
            ("(a:1e0)", "the prompt has a weight at byte 3 that is no number"),
            ("(a:NaN)", "the prompt has a weight at byte 3 that is no number"),
            ("(a:2.01)", "the prompt has the weight 2.01 at byte 3; the limit is 0 to 2"),
            ("(a:-1)", "the prompt has the weight -1 at byte 3; the limit is 0 to 2"),
            ("((a:2):1.5)", "the prompt has weights around byte 2 that multiply to 3; the limit is 0 to 2"),
            ("(a\0)", "the prompt has a NUL at byte 2, which is no text"),
        ] {
            assert_eq!(refusal(prompt), message, "{prompt}");
        }
        for boundary in ["(a:0)", "(a:2)", "(a:-0)", "((a:2):0.5)", "(((a:2):2):0.5)"] {
            Weighted::parse(boundary).unwrap();
        }
        let digits = format!("(a:{})", "9".repeat(100));
        assert!(refusal(&digits).contains("the weight inf at byte 3"));
        let deep = format!("{}a{}", "(".repeat(2000), ")".repeat(2000));
        assert!(refusal(&deep).contains("multiply to inf"));
        assert!(refusal(&"(".repeat(4097)).contains("the limit is 4096"));
    }

    #[test]
    fn a_token_has_the_weight_of_its_first_letter() {
        let parsed = Weighted::parse("a (red:1.5)dish (кот:0.5)").unwrap();
        assert_eq!(parsed.text(), "a reddish кот");
        let weights = [(0, 1), (1, 5), (2, 9), (5, 9), (9, 16), (10, 11), (16, 16), (40, 50)];
        let weights = weights.map(|token| parsed.weight_of(token));
        assert_eq!(weights, [1.0, 1.5, 1.5, 1.0, 0.5, 0.5, 1.0, 1.0]);
    }
}
