//! Files that appear whole or not at all.

use crate::error::{Error, Kind, Result};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Says before the work whether a file may be written to `path`.
///
/// # Errors
/// [`Kind::BadRequest`] for a path without a file name, [`Kind::Io`] for a folder that is missing or closed to
/// us, [`Kind::Exists`] for a file that is there and may not be replaced.
pub fn check_target(path: &Path, replace: bool) -> Result<()> {
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

/// Writes `bytes` to a temporary file in the same folder, flushes it to the disk and renames it. What is at
/// `path` before stays until then, and stays for good unless it may be replaced.
///
/// # Errors
/// As [`check_target`], and [`Kind::Io`] when the file cannot be written; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8], replace: bool) -> Result<()> {
    check_target(path, replace)?;
    let io = |e: std::io::Error| Error::io(path, "written", &e);
    let folder = folder_of(path);
    let mut file = temporary(folder).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    let done = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    match done {
        Err(e) if !replace && e.error.kind() == ErrorKind::AlreadyExists => return Err(exists(path)),
        done => done.map_err(|e| io(e.error))?,
    };
    // The name is on the disk once the folder is; not every system lets folders be flushed.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn files_appear_whole_and_are_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_whole(&path, b"one", false).unwrap();
        assert_eq!(write_whole(&path, b"two", false).unwrap_err().kind(), Kind::Exists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(write_whole(folder.path(), b"x", true).unwrap_err().kind(), Kind::Io);
        let nowhere = folder.path().join("none").join("a.bin");
        assert_eq!(write_whole(&nowhere, b"x", true).unwrap_err().kind(), Kind::Io);
        assert_eq!(check_target(Path::new(".."), true).unwrap_err().kind(), Kind::BadRequest);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
