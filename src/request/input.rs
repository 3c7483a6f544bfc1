//! Pictures that a request reads.

use crate::error::{Error, Kind, Result};
use crate::image::{Mask, Picture, Size};
use kandinsky_models::hash;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A picture that a request reads: a file, or pixels in memory.
///
/// In JSON, and in the files that carry a request, it is the file's path and the SHA-256 of its pixels: a
/// request is replayed only on the very pixels that it was drawn from.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip)]
    held: Option<Arc<Held>>,
}

struct Held {
    picture: Picture,
    /// Where it is transparent.
    transparent: Option<Mask>,
}

impl Input {
    /// A picture in a file, read when the request runs.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// A picture in memory, and where it is transparent.
    pub fn pixels(picture: Picture, transparent: Option<Mask>) -> Self {
        let sha256 = Some(fingerprint(&picture));
        Self { path: None, sha256, held: Some(Arc::new(Held { picture, transparent })) }
    }

    /// Its file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads the file unless the pixels are here, and compares them with the hash that the request names.
    ///
    /// # Errors
    /// When the file cannot be used, holds other pixels, or there is none.
    pub fn load(&mut self) -> Result<()> {
        if self.held.is_some() {
            return Ok(());
        }
        let Some(path) = &self.path else {
            let message =
                "a picture of the request was given in memory and is not in its JSON; name its file";
            return Err(Error::new(Kind::BadRequest, message));
        };
        let (picture, transparent) = Picture::open_with_alpha(path)?;
        let found = fingerprint(&picture);
        if self.sha256.as_ref().is_some_and(|expected| *expected != found) {
            let message = format!("{} holds another picture than the request was made with", path.display());
            return Err(Error::new(Kind::BadImage, message));
        }
        self.sha256 = Some(found);
        self.held = Some(Arc::new(Held { picture, transparent }));
        Ok(())
    }

    /// Its pixels.
    ///
    /// # Errors
    /// When it has not been loaded.
    pub fn picture(&self) -> Result<&Picture> {
        self.held().map(|held| &held.picture)
    }

    /// Where it is transparent, as a mask of what is to be painted.
    ///
    /// # Errors
    /// When it has not been loaded.
    pub fn transparent(&self) -> Result<Option<&Mask>> {
        self.held().map(|held| held.transparent.as_ref())
    }

    /// Its size in pixels.
    ///
    /// # Errors
    /// When it has not been loaded.
    pub fn size(&self) -> Result<Size> {
        self.picture().map(Picture::size)
    }

    /// SHA-256 of its size and pixels, where it is known.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Whether it names pixels by their hash alone, which are not here.
    pub(super) fn is_missing(&self) -> bool {
        self.path.is_none() && self.held.is_none()
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "the picture".to_owned(), |path| path.display().to_string())
    }

    fn held(&self) -> Result<&Held> {
        let missing = || Error::new(Kind::Internal, format!("{} has not been read", self.name()));
        self.held.as_deref().ok_or_else(missing)
    }
}

/// SHA-256 of the size and the pixels.
fn fingerprint(picture: &Picture) -> String {
    let mut bytes = format!("{} ", picture.size()).into_bytes();
    bytes.extend_from_slice(picture.bytes());
    hash::of_bytes(&bytes)
}

impl From<Picture> for Input {
    fn from(picture: Picture) -> Self {
        Self::pixels(picture, None)
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&str> for Input {
    fn from(path: &str) -> Self {
        Self::file(path)
    }
}

impl PartialEq for Input {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.sha256) == (&other.path, &other.sha256)
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("path", &self.path)
            .field("sha256", &self.sha256)
            .finish_non_exhaustive()
    }
}
