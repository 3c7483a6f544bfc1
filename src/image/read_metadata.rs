//! Reads from a file's bytes how its picture was made.

use super::{Metadata, decode, format};
use crate::error::{Error, Kind, Result};
use std::path::Path;

impl Metadata {
    /// What the bytes of a PNG, JPEG or WebP file say of how it was made; `None` when they say nothing.
    ///
    /// # Errors
    /// [`Kind::BadImage`], as [`read_metadata`].
    pub fn of(bytes: &[u8]) -> Result<Option<Self>> {
        let read = || format::recognise(bytes)?.metadata(bytes);
        read().map_err(|reason| Error::new(Kind::BadImage, format!("the picture: {reason}")))
    }
}

/// Reads what a PNG, JPEG or WebP file says of how it was made; `None` when it says nothing.
///
/// # Errors
/// [`Kind::Io`] when there is no such file, [`Kind::BadImage`] when it is of no such format, beyond the
/// limits of [`Picture::open`](super::Picture::open), or its texts are too long.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<Option<Metadata>> {
    let path = path.as_ref();
    let bytes = decode::read(path, |head| format::recognise(head)?.check_size(head).map(drop))?;
    let read = || format::recognise(&bytes)?.metadata(&bytes);
    read().map_err(|reason| Error::new(Kind::BadImage, format!("{}: {reason}", path.display())))
}
