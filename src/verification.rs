//! Trust in files: hashed at first open, remembered by identity in a cache outside the model folder.

use crate::error::{Error, Kind, Result};
use kandinsky_models::{FileEntry, Folder, hash};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// Checks files of model folders against their manifests.
pub struct Verified {
    cache: Option<PathBuf>,
}

/// Where the cache keeps what it knows of the file at `path` in its present state.
pub fn note(room: &str, path: &Path) -> Option<PathBuf> {
    let meta = path.metadata().ok()?;
    Some(cache_folder()?.join(room).join(identity(path, &meta)))
}

impl Verified {
    /// With the user's cache folder, where there is one.
    pub fn new() -> Self {
        Self { cache: cache_folder().map(|folder| folder.join("verified")) }
    }

    /// Without what was remembered: every file is read and hashed at each check.
    pub const fn reading_every_byte() -> Self {
        Self { cache: None }
    }

    /// Where the file lies; its bytes are those that the manifest names. Hashes it unless a file of
    /// the same device, inode, size and times was hashed before.
    ///
    /// # Errors
    /// When it is missing, outside the folder, or another file than the manifest names.
    pub fn check(&self, folder: &Folder, entry: &FileEntry) -> Result<PathBuf> {
        let path = folder.locate(entry)?;
        let meta = path.metadata().map_err(|e| Error::io(&path, "read", &e))?;
        let note = self.cache.as_ref().map(|cache| cache.join(identity(&path, &meta)));
        let remembered = note.as_ref().and_then(|note| std::fs::read_to_string(note).ok());
        if remembered.as_deref() == Some(entry.sha256.as_str()) {
            return Ok(path);
        }
        let path = folder.verify(entry)?;
        let after = path.metadata().map_err(|e| Error::io(&path, "read", &e))?;
        if identity(&path, &after) != identity(&path, &meta) {
            return Err(Error::new(Kind::BadModel, format!("{} changed while it was read", entry.path)));
        }
        if let Some(note) = note {
            // A cache that cannot be written costs time at the next start and nothing else.
            let _ = remember(&note, &entry.sha256);
        }
        Ok(path)
    }
}

impl Default for Verified {
    fn default() -> Self {
        Self::new()
    }
}

/// The folder for what can be computed again: `KANDINSKY_CACHE`, else the user's cache folder.
pub fn cache_folder() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let user = || {
        let windows = if cfg!(windows) { var("LOCALAPPDATA") } else { None };
        let home = || var("HOME").map(|home| home.join(".cache"));
        windows.or_else(|| var("XDG_CACHE_HOME")).or_else(home)
    };
    var("KANDINSKY_CACHE").or_else(|| user().map(|folder| folder.join("kandinsky")))
}

/// Writes a note whole or not at all.
///
/// # Errors
/// When the cache folder cannot be written.
pub fn remember(note: &Path, text: &str) -> std::io::Result<()> {
    let folder = note.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(file.path(), text)?;
    file.persist(note).map_err(|e| e.error)?;
    Ok(())
}

/// A name for this very file in this very state.
fn identity(path: &Path, meta: &Metadata) -> String {
    #[cfg(unix)]
    let state = {
        use std::os::unix::fs::MetadataExt;
        (
            meta.dev(),
            meta.ino(),
            meta.size(),
            [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()],
        )
    };
    #[cfg(not(unix))]
    let state = (meta.len(), meta.modified().ok());
    hash::of_bytes(format!("{}|{state:?}", path.display()).as_bytes())
}
