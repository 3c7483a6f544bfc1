//! Finding ONNX Runtime's library, and finding out whether it is one before it is trusted.
//!
//! A missing, old, wrong or damaged library must be a named reason within a second and never a crash:
//! a truncated one kills the process that opens it. So its ELF tables are checked against its length,
//! and the program asks a child process to open it first and remembers the answer by file identity.

use crate::error::{Error, Kind, Result};
use crate::store;
use std::ffi::{CStr, c_char, c_void};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The oldest minor version whose API the `ort` crate is built for here.
pub const OLDEST_MINOR: u32 = 24;
/// How long a child may take to open a library.
const PATIENCE: Duration = Duration::from_millis(2000);
/// The argument with which the program opens a library in place of its work.
const PROBE: &str = "--probe-onnx-runtime";
/// Whether this process is the program, which answers [`PROBE`].
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// A library that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Where it is.
    pub path: PathBuf,
    /// Its version, such as `1.31.1`.
    pub version: String,
    /// How it was found.
    pub how: &'static str,
}

/// Finds the library: the one named, else `ORT_DYLIB_PATH`, beside the executable, in `lib/` beside it,
/// and under the loader's names.
///
/// # Errors
/// [`Kind::NoRuntime`] with the reason: none was found, or the first one found does not work.
pub fn find(named: Option<&Path>) -> Result<Library> {
    if let Some(path) = named {
        return examine(path, "named");
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()) {
        return examine(Path::new(&path), "from ORT_DYLIB_PATH");
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    for (folder, how) in
        beside.iter().flat_map(|b| [(b.clone(), "beside the executable"), (b.join("lib"), "in lib/")])
    {
        if let Some(path) = in_folder(&folder) {
            return examine(&path, how);
        }
    }
    for folder in loader_folders() {
        if let Some(path) = in_folder(&folder) {
            return examine(&path, "on the loader's path");
        }
    }
    let message = format!("{NAME} was not found; name it with --ort-library or ORT_DYLIB_PATH");
    Err(Error::new(Kind::NoRuntime, message))
}

/// The library's name on this system.
const NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// `libonnxruntime.so`, or one with a version behind it.
fn in_folder(folder: &Path) -> Option<PathBuf> {
    let exact = folder.join(NAME);
    if exact.is_file() {
        return Some(exact);
    }
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(&format!("{NAME}.1")) && path.is_file()
    };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).filter(named).collect();
    found.sort();
    found.pop()
}

/// The version behind the name of a library on the loader's path, such as `10.16.1` of `libnvinfer.so`.
pub(super) fn version_of(name: &str) -> Option<String> {
    let versions = loader_folders().into_iter().filter_map(|folder| version_in(&folder, name));
    versions.max_by_key(String::len)
}

/// The longest version of a library in a folder, where links such as `.so.10` point to it.
fn version_in(folder: &Path, name: &str) -> Option<String> {
    let files =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = files.filter_map(|file| file.strip_prefix(name)?.strip_prefix('.').map(str::to_owned));
    versions.max_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

fn loader_folders() -> Vec<PathBuf> {
    let variable = if cfg!(windows) { "PATH" } else { "LD_LIBRARY_PATH" };
    let listed = std::env::var_os(variable).unwrap_or_default();
    let usual = [
        "/usr/local/lib",
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    std::env::split_paths(&listed)
        .chain(usual.map(PathBuf::from))
        .filter(|p| !p.as_os_str().is_empty())
        .collect()
}

/// Finds out whether `path` is a library that this program can use.
fn examine(path: &Path, how: &'static str) -> Result<Library> {
    let bad = |reason: &str| Error::new(Kind::NoRuntime, format!("{} {reason}", path.display()));
    let path_for_good = path.canonicalize().map_err(|_| bad("does not exist"))?;
    if !path_for_good.is_file() {
        return Err(bad("is no file"));
    }
    #[cfg(target_os = "linux")]
    check_elf(&path_for_good).map_err(bad)?;
    let version = probe(&path_for_good).map_err(|reason| bad(&reason))?;
    match minor(&version) {
        Some(minor) if minor >= OLDEST_MINOR => Ok(Library { path: path_for_good, version, how }),
        Some(_) => Err(bad(&format!("is onnx runtime {version}; 1.{OLDEST_MINOR} or newer is needed"))),
        None => Err(bad(&format!("states the version {version:?}, which is not one of onnx runtime 1"))),
    }
}

fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

/// The library's version: remembered, else from a child where this process is the program, else
/// from opening it here.
fn probe(path: &Path) -> std::result::Result<String, String> {
    let note = store::note("libraries", path);
    if let Some(version) = note.as_ref().and_then(|note| std::fs::read_to_string(note).ok()) {
        return Ok(version);
    }
    let version = if ANSWERS.load(Ordering::Relaxed) { probe_in_child(path)? } else { version(path)? };
    if let Some(note) = note {
        // A verdict that cannot be kept is asked for again.
        let _ = store::remember(&note, &version);
    }
    Ok(version)
}

/// Answers a parent that wants to know whether a library opens; the program's `main` calls it first.
pub fn answer_probe() -> Option<ExitCode> {
    ANSWERS.store(true, Ordering::Relaxed);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()?.as_os_str() != PROBE {
        return None;
    }
    let path = arguments.next()?;
    match version(Path::new(&path)) {
        Ok(version) => {
            println!("{version}");
            Some(ExitCode::SUCCESS)
        }
        Err(reason) => {
            eprintln!("{reason}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn probe_in_child(path: &Path) -> std::result::Result<String, String> {
    let executable = std::env::current_exe().map_err(|e| format!("cannot be probed: {e}"))?;
    let mut command = Command::new(executable);
    command.arg(PROBE).arg(path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot be probed: {e}"))?;
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                // A child that hangs or cannot be asked is ended; its fate changes nothing.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not open within {} ms", PATIENCE.as_millis()));
            }
        }
    }
    let output = child.wait_with_output().map_err(|e| format!("cannot be probed: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    match output.status.code() {
        Some(_) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        None => Err("is damaged: opening it ends the process".to_owned()),
    }
}

/// The first fields of ONNX Runtime's `OrtApiBase`, the one structure whose layout never changes.
#[repr(C)]
struct ApiBase {
    get_api: *const c_void,
    version: unsafe extern "C" fn() -> *const c_char,
}

/// Opens the library here and asks for its version.
#[expect(unsafe_code, reason = "a foreign library is opened")]
fn version(path: &Path) -> std::result::Result<String, String> {
    // SAFETY: opening a library runs its initialisers; ONNX Runtime's have no preconditions.
    let library =
        unsafe { libloading::Library::new(path) }.map_err(|_| "is no library that opens here".to_owned())?;
    // SAFETY: the symbol has this type in every version of ONNX Runtime's C API.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| "is not onnx runtime: it has no OrtGetApiBase".to_owned())?;
    // SAFETY: it takes nothing and returns a pointer to a structure that lives as long as the library.
    let base = unsafe { base().as_ref() }.ok_or_else(|| "is not onnx runtime: it has no API".to_owned())?;
    // SAFETY: as above; the text is static and ends with a NUL.
    let version = unsafe { CStr::from_ptr((base.version)()) };
    let version = version.to_string_lossy().into_owned();
    // Closing the library could leave threads behind in memory that is gone.
    std::mem::forget(library);
    Ok(version)
}

/// Compares an ELF file's tables with its length: the loader maps what the tables say and dies on
/// what is not there.
#[cfg(target_os = "linux")]
fn check_elf(path: &Path) -> std::result::Result<(), &'static str> {
    const UNREADABLE: &str = "cannot be read";
    const TRUNCATED: &str = "is damaged: it is shorter than its own tables say";
    let mut file = std::fs::File::open(path).map_err(|_| UNREADABLE)?;
    let length = file.metadata().map_err(|_| UNREADABLE)?.len();
    let mut header = [0; 64];
    file.read_exact(&mut header).map_err(|_| "is no library: it is too short")?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err("is no library for this system: it is not a 64-bit ELF file");
    }
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
    };
    let half = |at: usize| {
        header
            .get(at..at + 2)
            .and_then(|b| b.try_into().ok())
            .map_or(u64::MAX, |b| u64::from(u16::from_le_bytes(b)))
    };
    let (segments, sections) = (word(&header, 32), word(&header, 40));
    let (segment_size, segment_count, section_size, section_count) = (half(54), half(56), half(58), half(60));
    let ends = |start: u64, bytes: u64| start.checked_add(bytes).is_some_and(|end| end <= length);
    if !ends(segments, segment_size * segment_count) || !ends(sections, section_size * section_count) {
        return Err(TRUNCATED);
    }
    let mut table = vec![0; usize::try_from(segment_size * segment_count).map_err(|_| TRUNCATED)?];
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(segments)).map_err(|_| UNREADABLE)?;
    file.read_exact(&mut table).map_err(|_| TRUNCATED)?;
    let size = usize::try_from(segment_size).unwrap_or(usize::MAX).max(1);
    let whole = |segment: &[u8]| ends(word(segment, 8), word(segment, 32));
    if table.chunks_exact(size).all(whole) { Ok(()) } else { Err(TRUNCATED) }
}
