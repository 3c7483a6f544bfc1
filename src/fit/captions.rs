//! A folder of pictures with captions: `captions.jsonl`, `captions.tsv`, or a text file beside each picture.

use crate::error::{Error, Kind, Result};
use crate::limits;
use kandinsky_models::path;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file of lines `{"file": …, "caption": …}`.
const JSONL: &str = "captions.jsonl";
/// A file of lines `file<TAB>caption`.
const TSV: &str = "captions.tsv";
/// How pictures' names end.
const PICTURES: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// A picture and what it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captioned {
    /// Where it lies, after links.
    pub picture: PathBuf,
    /// At least one caption, none twice.
    pub captions: Vec<String>,
}

/// The captioned pictures of a folder, by name.
///
/// With `captions.jsonl` or `captions.tsv` each line gives one caption, and a picture can have several lines;
/// without them each line of `NAME.txt` is a caption of the picture `NAME.png` (jpg, jpeg, webp) beside it.
/// Pictures without a caption are left out.
///
/// # Errors
/// [`Kind::BadRequest`] that names the line: for captions without a picture, empty captions, names that leave
/// the folder; also for folders with both files, or with too few or too many pictures.
pub fn read(folder: &Path) -> Result<Vec<Captioned>> {
    if !folder.is_dir() {
        return Err(Error::new(Kind::BadRequest, format!("{} is not a folder", folder.display())));
    }
    let (jsonl, tsv) = (folder.join(JSONL), folder.join(TSV));
    let found = match (jsonl.exists(), tsv.exists()) {
        (true, true) => return Err(bad(format!("{} has both {JSONL} and {TSV}", folder.display()))),
        (true, false) => listed(folder, JSONL, json_line)?,
        (false, true) => listed(folder, TSV, tab_line)?,
        (false, false) => beside(folder)?,
    };
    limits::FIT_PICTURES
        .check(found.0.len())
        .map_err(|e| bad(format!("{}: {e} with captions", folder.display())))?;
    Ok(found.0.into_iter().map(|(picture, captions)| Captioned { picture, captions }).collect())
}

/// Captions by picture, and how many there are.
#[derive(Default)]
struct Found(BTreeMap<PathBuf, Vec<String>>, usize);

impl Found {
    /// Notes a caption; `place` is where it stands.
    fn add(&mut self, place: &dyn Fn() -> String, picture: PathBuf, caption: &str) -> Result<()> {
        let caption = caption.trim();
        if caption.is_empty() {
            return Err(bad(format!("{} is empty", place())));
        }
        if caption.len() > limits::PROMPT_BYTES {
            let (bytes, limit) = (caption.len(), limits::PROMPT_BYTES);
            return Err(bad(format!("{} has {bytes} bytes; the limit is {limit}", place())));
        }
        let captions = self.0.entry(picture).or_default();
        if !captions.iter().any(|known| known == caption) {
            captions.push(caption.to_owned());
            self.1 += 1;
        }
        let most = limits::FIT_CAPTIONS.max;
        if self.1 > most { Err(bad(format!("there are more than {most} captions"))) } else { Ok(()) }
    }
}

/// A line's picture and caption, or what is wrong with it.
type Line = fn(&str) -> std::result::Result<(String, String), String>;

/// Captions of a file with a line each.
fn listed(folder: &Path, name: &str, line: Line) -> Result<Found> {
    let text = text(&inside(folder, name)?)?;
    let mut found = Found::default();
    for (number, content) in (1..).zip(text.lines()).filter(|(_, content)| !content.trim().is_empty()) {
        let place = || format!("the caption in line {number} of {name}");
        let (file, caption) = line(content).map_err(|e| bad(format!("line {number} of {name}: {e}")))?;
        let picture = path::resolve(folder, &file)
            .map_err(|e| bad(format!("{} has no picture: {}", place(), reason(&e, folder))))?;
        found.add(&place, picture, &caption)?;
    }
    Ok(found)
}

fn json_line(line: &str) -> std::result::Result<(String, String), String> {
    #[derive(Deserialize)]
    struct Row {
        file: String,
        caption: String,
    }
    let Row { file, caption } = serde_json::from_str(line).map_err(|e| e.to_string())?;
    Ok((file, caption))
}

fn tab_line(line: &str) -> std::result::Result<(String, String), String> {
    let (file, caption) = line.split_once('\t').ok_or("there is no tab between file and caption")?;
    Ok((file.to_owned(), caption.to_owned()))
}

/// Captions of text files that lie beside their pictures.
fn beside(folder: &Path) -> Result<Found> {
    let io = |e: std::io::Error| Error::io(folder, "read", &e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let mut found = Found::default();
    for (stem, name) in names.iter().filter_map(|name| Some((name.strip_suffix(".txt")?, name))) {
        let is_own = |other: &&String| {
            let end = other.strip_prefix(stem).and_then(|end| end.strip_prefix('.'));
            end.is_some_and(|end| PICTURES.iter().any(|known| end.eq_ignore_ascii_case(known)))
        };
        let mut own = names.iter().filter(is_own);
        let picture = own.next().ok_or_else(|| bad(format!("the caption {name} has no picture")))?;
        if let Some(other) = own.next() {
            return Err(bad(format!("the caption {name} has two pictures, {picture} and {other}")));
        }
        let (picture, file) = (inside(folder, picture)?, inside(folder, name)?);
        let text = text(&file)?;
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        let place = || format!("the caption {name}");
        if lines.peek().is_none() {
            return Err(bad(format!("{} is empty", place())));
        }
        for line in lines {
            found.add(&place, picture.clone(), line)?;
        }
    }
    Ok(found)
}

/// Where a file of the folder lies, after links.
fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    path::resolve(folder, name).map_err(|e| bad(format!("{name}: {}", reason(&e, folder))))
}

/// Why a name leads to no file, in the words of this room.
fn reason(error: &kandinsky_models::Error, folder: &Path) -> String {
    use kandinsky_models::Error as E;
    match error {
        E::EscapingPath(name) => format!("the path {name:?} leaves the folder {}", folder.display()),
        E::Missing(name) => format!("there is no file {name:?}"),
        other => other.to_string(),
    }
}

/// A text file within the limit.
fn text(path: &Path) -> Result<String> {
    let io = |e: std::io::Error| Error::io(path, "read", &e);
    let limit = limits::CAPTION_FILE_BYTES;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    let length = file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > limit {
        return Err(bad(format!("{} has more than {limit} bytes", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| bad(format!("{} is not UTF-8", path.display())))
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadRequest, message)
}
