//! Pictures to files, written whole or not at all.

use super::{Format, Picture};
use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
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
        let bytes = self.encode(format)?;
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
    Format::of(path)?;
    if path.file_name().is_none() {
        return Err(Error::new(Kind::BadRequest, format!("{} is no name for a file", path.display())));
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
