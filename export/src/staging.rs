//! A folder that appears whole or not at all: made beside its final place and renamed at the end.

use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Names tried for the folder in the making.
const ATTEMPTS: u32 = 100;

/// A folder in the making; dropped without [`Staging::commit`], it is removed.
#[derive(Debug)]
pub struct Staging {
    work: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Begins a folder that will be `target`. A `target` that is there may be an empty folder, or, with
    /// `replace`, one that holds the file named so.
    ///
    /// # Errors
    /// When `target` is there otherwise, or the folder cannot be made.
    pub fn begin(target: &Path, replace: Option<&str>) -> Result<Self> {
        check_target(target, replace)?;
        let name = target.file_name().ok_or_else(|| Error::Exists(target.to_owned()))?;
        let parent = target.parent().filter(|path| !path.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| Path::new("."));
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, "created", e))?;
        let name = name.to_string_lossy();
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            let work = parent.join(format!(".{name}.{}-{attempt}.partial", std::process::id()));
            match fs::create_dir(&work) {
                Ok(()) => return Ok(Self { work, target: target.to_owned() }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => last = Some(e),
                Err(e) => return Err(Error::io(work, "created", e)),
            }
        }
        let reason = last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into());
        Err(Error::io(target, "created", reason))
    }

    /// The folder in the making.
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Puts the folder into its place.
    ///
    /// # Errors
    /// When it cannot be renamed; what was in its place is then there still.
    pub fn commit(self) -> Result<()> {
        let io = |e| Error::io(&self.target, "replaced", e);
        if !self.target.exists() {
            return fs::rename(&self.work, &self.target).map_err(io);
        }
        let old = self.work.with_extension("old.partial");
        fs::rename(&self.target, &old).map_err(io)?;
        if let Err(e) = fs::rename(&self.work, &self.target) {
            let _ = fs::rename(&old, &self.target);
            return Err(io(e));
        }
        // The new folder is in place; a leftover of the old one is no failure of the export.
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.work);
    }
}

fn check_target(target: &Path, replace: Option<&str>) -> Result<()> {
    if !target.exists() {
        return Ok(());
    }
    let mut entries = target.read_dir().map_err(|_| Error::Exists(target.to_owned()))?;
    let empty = entries.next().is_none();
    match replace {
        _ if empty => Ok(()),
        Some(mark) if target.join(mark).is_file() => Ok(()),
        Some(_) => Err(Error::NotReplaced(target.to_owned())),
        None => Err(Error::Exists(target.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_not_committed_vanishes() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("model");
        let staging = Staging::begin(&target, None).unwrap();
        fs::write(staging.path().join("a"), "x").unwrap();
        drop(staging);
        assert_eq!(root.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn only_what_may_be_replaced_is() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("model");
        fs::create_dir(&target).unwrap();
        Staging::begin(&target, None).unwrap().commit().unwrap();
        fs::write(target.join("mine"), "x").unwrap();
        assert!(matches!(Staging::begin(&target, None), Err(Error::Exists(_))));
        assert!(matches!(Staging::begin(&target, Some("model.json")), Err(Error::NotReplaced(_))));
        fs::write(target.join("model.json"), "x").unwrap();
        assert!(matches!(Staging::begin(&target, None), Err(Error::Exists(_))));
        Staging::begin(&target, Some("model.json")).unwrap().commit().unwrap();
        assert_eq!(target.read_dir().unwrap().count(), 0);
        assert_eq!(root.path().read_dir().unwrap().count(), 1);
        fs::write(root.path().join("file"), "x").unwrap();
        assert!(matches!(Staging::begin(&root.path().join("file"), Some("m")), Err(Error::Exists(_))));
    }
}
