//! Pictures to PNG files that carry their request, written whole or not at all.

use super::Picture;
use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::request::{Job, Request};
use png::text_metadata::ITXtChunk;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Write};
use std::path::Path;

/// The chunk that viewers of generation parameters show.
const PARAMETERS: &str = "parameters";
/// The chunk that [`Metadata::request`] reads.
const EXACT: &str = "kandinsky";

/// How a picture was made, as its file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// For people and common viewers: the prompt, `Negative prompt: …`, `Steps: …, Sampler: …, …`.
    pub parameters: String,
    /// For programs: JSON with `program`, `model` and `request`.
    pub exact: String,
}

impl Metadata {
    /// Of a picture that `model` drew for `job`, whose seed is the picture's own.
    ///
    /// # Errors
    /// When the job holds a number that JSON cannot.
    pub fn new(model: &str, job: &Job) -> Result<Self> {
        let exact = Exact {
            program: concat!("kandinsky ", env!("CARGO_PKG_VERSION")).to_owned(),
            model: model.to_owned(),
            request: job,
        };
        let exact = serde_json::to_string(&exact)
            .map_err(|e| Error::new(Kind::Internal, format!("the request cannot be written down: {e}")))?;
        Ok(Self { parameters: parameters(model, job), exact })
    }

    /// The request that draws the picture again, on the same model.
    ///
    /// # Errors
    /// [`Kind::BadImage`] when the JSON is not that of this program.
    pub fn request(&self) -> Result<Request> {
        let exact: Exact<Request> = serde_json::from_str(&self.exact)
            .map_err(|e| Error::new(Kind::BadImage, format!("the picture's request cannot be read: {e}")))?;
        Ok(exact.request)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Exact<R> {
    program: String,
    model: String,
    request: R,
}

fn parameters(model: &str, job: &Job) -> String {
    let negative = job.negative.as_ref().map(|text| format!("\nNegative prompt: {text}")).unwrap_or_default();
    let Job { prompt, steps, sampler, guidance, seed, size, prior_steps, prior_guidance, .. } = job;
    format!(
        "{prompt}{negative}\nSteps: {steps}, Sampler: {sampler}, CFG scale: {guidance}, Seed: {seed}, \
         Size: {size}, Model: {model}, Prior steps: {prior_steps}, Prior CFG scale: {prior_guidance}"
    )
}

impl Picture {
    /// Writes a PNG to `path`, which must not exist.
    ///
    /// # Errors
    /// [`Kind::Exists`] when it does, [`Kind::Io`] when it cannot be written; nothing is left behind then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write(path.as_ref(), false)
    }

    /// Writes a PNG to `path` in place of what is there; that stays until the new file is whole.
    ///
    /// # Errors
    /// As [`Picture::save`], but for files that exist.
    pub fn replace(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write(path.as_ref(), true)
    }

    /// The PNG: 8-bit RGB, and the request where the picture has one. Equal pictures give equal bytes.
    ///
    /// # Errors
    /// When the picture is too large for the format.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let failed =
            |e: png::EncodingError| Error::new(Kind::Internal, format!("PNG cannot be written: {e}"));
        let side = |side: usize| u32::try_from(side).map_err(|e| Error::new(Kind::Internal, e.to_string()));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.size.width)?, side(self.size.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let texts = self.metadata.iter().flat_map(|m| [(PARAMETERS, &m.parameters), (EXACT, &m.exact)]);
        for (keyword, text) in texts {
            // tEXt is Latin-1 and everyone reads it; iTXt is UTF-8.
            let (keyword, text) = (keyword.to_owned(), text.clone());
            let plain = text.is_ascii();
            let add = if plain { png::Encoder::add_text_chunk } else { png::Encoder::add_itxt_chunk };
            add(&mut encoder, keyword, text).map_err(failed)?;
        }
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(self.bytes()).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }

    /// A temporary file in the same folder, flushed to the disk, then renamed.
    fn write(&self, path: &Path, replace: bool) -> Result<()> {
        check_target(path, replace)?;
        let bytes = self.to_png()?;
        let io = |e: std::io::Error| Error::io(path, "written", &e);
        let folder = folder_of(path);
        let mut file = temporary(folder).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
        let done = if replace { file.persist(path) } else { file.persist_noclobber(path) };
        match done {
            Err(e) if !replace && e.error.kind() == ErrorKind::AlreadyExists => return Err(exists(path)),
            done => done.map_err(|e| io(e.error))?,
        };
        // The name is on the disk once the folder is; not every system lets folders be flushed.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Says before the work whether a picture may be written to `path`.
///
/// # Errors
/// [`Kind::BadRequest`] for a name of another format, [`Kind::Io`] for a folder that is missing or closed
/// to us, [`Kind::Exists`] for a file that is there and may not be replaced.
pub fn check_target(path: &Path, replace: bool) -> Result<()> {
    let png = path.extension().is_none_or(|extension| extension.eq_ignore_ascii_case("png"));
    if !png || path.file_name().is_none() {
        let message =
            format!("{} is no name for a PNG file, the only format that is written", path.display());
        return Err(Error::new(Kind::BadRequest, message));
    }
    let taken = path.symlink_metadata();
    if taken.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
        let message = format!("{} cannot be written: it is a folder", path.display());
        return Err(Error::new(Kind::Io, message));
    }
    if taken.is_ok() && !replace {
        return Err(exists(path));
    }
    let folder = folder_of(path);
    temporary(folder).map(drop).map_err(|e| Error::io(folder, "written to", &e))
}

/// Reads what a PNG file says of how it was made; `None` when it says nothing.
///
/// # Errors
/// [`Kind::Io`] when there is no such file, [`Kind::BadImage`] when it is no PNG or its texts are too long.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<Option<Metadata>> {
    let path = path.as_ref();
    let bad = |e: png::DecodingError| Error::new(Kind::BadImage, format!("{}: {e}", path.display()));
    let file = File::open(path).map_err(|e| Error::io(path, "read", &e))?;
    let limits = png::Limits { bytes: limits::PICTURE_TEXT_BYTES };
    let reader = png::Decoder::new_with_limits(BufReader::new(file), limits).read_info().map_err(bad)?;
    let info = reader.info();
    let plain = |keyword: &str| {
        let chunk = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == keyword);
        chunk.map(|chunk| chunk.text.clone())
    };
    let unicode = |keyword: &str| {
        let chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == keyword)?;
        let mut chunk: ITXtChunk = chunk.clone();
        chunk.decompress_text_with_limit(limits::PICTURE_TEXT_BYTES).ok()?;
        chunk.get_text().ok()
    };
    let text = |keyword: &str| plain(keyword).or_else(|| unicode(keyword));
    Ok(text(PARAMETERS).zip(text(EXACT)).map(|(parameters, exact)| Metadata { parameters, exact }))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file that disappears unless it is renamed; readable as any file that the user makes.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kandinsky-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn exists(path: &Path) -> Error {
    Error::new(Kind::Exists, format!("{} exists and is not replaced unasked", path.display()))
}
