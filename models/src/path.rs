//! The one safe way to join a name from a file to a folder.

use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Joins `name`, a relative path with forward slashes that came from a manifest or a graph, to
/// `folder`, and resolves links.
///
/// # Errors
/// When the name is empty, absolute, has `..`, a backslash, a colon or a NUL, when the file does not
/// exist, is not a plain file, or lies outside the folder after all links are resolved.
pub fn resolve(folder: &Path, name: &str) -> Result<PathBuf> {
    let escaping = || Error::EscapingPath(name.to_owned());
    check_name(name)?;
    let root = folder.canonicalize().map_err(|e| Error::io(folder, "read", e))?;
    let path = match root.join(name).canonicalize() {
        Ok(path) => path,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing(name.to_owned()));
        }
        Err(e) => return Err(Error::io(name, "read", e)),
    };
    if !path.starts_with(&root) {
        return Err(escaping());
    }
    let plain = path.metadata().map_err(|e| Error::io(&path, "read", e))?.is_file();
    if plain { Ok(path) } else { Err(escaping()) }
}

/// Checks the text of a relative name without touching the disk.
pub fn check_name(name: &str) -> Result<()> {
    let bad_text = name.is_empty() || name.contains(['\\', ':', '\0']);
    let bad_parts = Path::new(name).components().any(|part| !matches!(part, Component::Normal(_)));
    if bad_text || bad_parts { Err(Error::EscapingPath(name.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", "..", "../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\b", "\\\\?\\x", "a\0b", "./x"]
        {
            assert!(matches!(check_name(name), Err(Error::EscapingPath(_))), "{name:?}");
        }
        check_name("unet_step.onnx").unwrap();
        check_name("tokenizers/clip.json").unwrap();
    }

    #[test]
    fn links_out_of_the_folder_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
            std::os::unix::fs::symlink(outside.path(), folder.path().join("dir")).unwrap();
            assert!(matches!(resolve(folder.path(), "link"), Err(Error::EscapingPath(_))));
            assert!(matches!(resolve(folder.path(), "dir/secret"), Err(Error::EscapingPath(_))));
        }
        assert!(matches!(resolve(folder.path(), "none"), Err(Error::Missing(_))));
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        assert!(matches!(resolve(folder.path(), "sub"), Err(Error::EscapingPath(_))));
    }
}
