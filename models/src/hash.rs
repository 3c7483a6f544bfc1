//! SHA-256 of files and of streams, as lower-case hexadecimal.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes read at a time; large enough for disks, small enough for caches.
const CHUNK: usize = 1 << 20;

/// SHA-256 of everything that `reader` gives, and how many bytes that was.
pub fn of_reader(mut reader: impl Read) -> io::Result<(String, u64)> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = match reader.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(bytes) = chunk.get(..n).filter(|b| !b.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(hasher.finish())
}

/// SHA-256 and size of the file at `path`.
pub fn of_file(path: &Path) -> Result<(String, u64)> {
    std::fs::File::open(path).and_then(of_reader).map_err(|e| Error::io(path, "read", e))
}

/// SHA-256 of `bytes`.
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish().0
}

/// Hashes what is fed to it and counts the bytes.
#[derive(Default)]
pub struct Hasher {
    sha: Sha256,
    bytes: u64,
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// The hash in hexadecimal and the number of bytes.
    pub fn finish(self) -> (String, u64) {
        let mut text = String::with_capacity(64);
        for byte in self.sha.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        (text, self.bytes)
    }
}

/// A writer that hashes what passes through it.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// Gives back the inner writer, the hash and the number of bytes written.
    pub fn finish(self) -> (W, String, u64) {
        let (hash, bytes) = self.hasher.finish();
        (self.inner, hash, bytes)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..n).unwrap_or(bytes));
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
