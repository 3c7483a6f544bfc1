//! `model.json` on disk, written as a whole or not at all.

use crate::{Error, Result};
use kandinsky_models::Manifest;
use kandinsky_models::manifest::FILE_NAME;
use std::path::Path;

/// Writes `model.json` as a whole.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(folder: &Path, manifest: &Manifest) -> Result<()> {
    let (path, partial) = (folder.join(FILE_NAME), folder.join(format!("{FILE_NAME}.partial")));
    let text = serde_json::to_string_pretty(manifest)
        .map_err(|e| Error::Drawing { graph: FILE_NAME.to_owned(), reason: e.to_string() })?;
    let written = std::fs::write(&partial, text + "\n").and_then(|()| std::fs::rename(&partial, &path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&partial);
        Error::io(&path, "written", e)
    })
}
