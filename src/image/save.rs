//! Pictures to files, written whole or not at all.

use super::{Format, Picture};
use crate::atomic_file;
use crate::error::{Error, Kind, Result};
use std::mem::discriminant;
use std::path::Path;

impl Picture {
    /// Writes the format of its name ([`Format::of`]) to `path`, which must not exist. The file carries
    /// [`Picture::metadata`].
    ///
    /// # Errors
    /// [`Kind::BadRequest`] for a name of another format, [`Kind::Exists`] when the file exists,
    /// [`Kind::Io`] when it cannot be written; nothing is left behind then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.write(path, Format::of(path)?, false)
    }

    /// Writes to `path` in place of what is there; that stays until the new file is whole.
    ///
    /// # Errors
    /// As [`Picture::save`], but for files that exist.
    pub fn replace(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.write(path, Format::of(path)?, true)
    }

    /// The bytes of a file of `format`, with the request where the picture has one. Equal pictures give equal
    /// bytes.
    ///
    /// # Errors
    /// When the picture is too large for the format.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>> {
        format.encode(self)
    }

    /// [`Picture::encode`] to PNG.
    ///
    /// # Errors
    /// As [`Picture::encode`].
    pub fn to_png(&self) -> Result<Vec<u8>> {
        self.encode(Format::Png)
    }

    /// Writes `format` to `path`, in place of what is there where `replace` says so. The name must be one of
    /// the format. A temporary file in the same folder, flushed to the disk, then renamed.
    ///
    /// # Errors
    /// As [`Picture::save`].
    pub fn write(&self, path: &Path, format: Format, replace: bool) -> Result<()> {
        check_target(path, replace)?;
        if discriminant(&Format::of(path)?) != discriminant(&format) {
            let message = format!("{} is no name for {format:?}", path.display());
            return Err(Error::new(Kind::BadRequest, message));
        }
        atomic_file::write_whole(path, &self.encode(format)?, replace)
    }
}

/// Says before the work whether a picture may be written to `path`.
///
/// # Errors
/// [`Kind::BadRequest`] for a name of another format, [`Kind::Io`] for a folder that is missing or closed
/// to us, [`Kind::Exists`] for a file that is there and may not be replaced.
pub fn check_target(path: &Path, replace: bool) -> Result<()> {
    Format::of(path)?;
    atomic_file::check_target(path, replace)
}
