//! Finding the runtimes' libraries, and finding out whether one is what it should be before it is trusted.
//!
//! A missing, old, wrong or damaged library must be a named reason within a second and never a crash:
//! a truncated one kills the process that opens it. So its ELF tables are checked against its length,
//! and the program asks a child process to open it first and remembers the answer by file identity.

use crate::error::{Error, Kind, Result};
use crate::verification;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A library that is looked for.
#[derive(Debug)]
pub struct LibrarySpec {
    /// What it is called in sentences.
    title: &'static str,
    /// The file's name between `lib` and `.so`.
    stem: &'static str,
    /// The option that names it.
    flag: &'static str,
    /// The variable that names it.
    variable: &'static str,
    /// `variable` for sentences about where it was found.
    from_variable: &'static str,
    /// The oldest version (major, minor) whose interface the crates that call it are built for.
    oldest: (u32, u32),
    /// The next major version, which may have another interface; 0 where majors are years.
    newest: u32,
    /// Opens the library at a path and asks for its version.
    version: fn(&Path) -> std::result::Result<String, String>,
}

/// ONNX Runtime.
pub static ONNX_RUNTIME: LibrarySpec = LibrarySpec {
    title: "onnx runtime",
    stem: "onnxruntime",
    flag: "--ort-library",
    variable: "ORT_DYLIB_PATH",
    from_variable: "from ORT_DYLIB_PATH",
    oldest: (1, 24),
    newest: 2,
    version: ort_version,
};

/// OpenVINO, by its C interface.
pub static OPENVINO: LibrarySpec = LibrarySpec {
    title: "openvino",
    stem: "openvino_c",
    flag: "--openvino-library",
    variable: "OPENVINO_DYLIB_PATH",
    from_variable: "from OPENVINO_DYLIB_PATH",
    oldest: (2025, 1),
    newest: u32::MAX,
    version: openvino_version,
};

/// Both.
static LIBRARIES: [&LibrarySpec; 2] = [&ONNX_RUNTIME, &OPENVINO];

/// How long a child may take to open a library.
const PATIENCE: Duration = Duration::from_millis(2000);
/// The argument with which the program opens a library in place of its work; the library's stem and path follow.
const PROBE: &str = "--probe-library";
/// Whether this process is the program, which answers [`PROBE`].
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// A library that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// What it is called in sentences.
    pub title: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Its version, such as `1.31.1`.
    pub version: String,
    /// How it was found.
    pub how: &'static str,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {} ({})", self.title, self.version, self.path.display(), self.how)
    }
}

/// Finds a library: the one named, else the one in its variable, beside the executable, in `lib/` beside it,
/// and under the loader's names.
///
/// # Errors
/// [`Kind::NoRuntime`] with the reason: none was found, or the first one found does not work.
pub fn find(wanted: &LibrarySpec, named: Option<&Path>) -> Result<Library> {
    if let Some(path) = named {
        return examine(wanted, path, "named");
    }
    if let Some(path) = std::env::var_os(wanted.variable).filter(|v| !v.is_empty()) {
        return examine(wanted, Path::new(&path), wanted.from_variable);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    for (folder, how) in
        beside.iter().flat_map(|b| [(b.clone(), "beside the executable"), (b.join("lib"), "in lib/")])
    {
        if let Some(path) = wanted.in_folder(&folder) {
            return examine(wanted, &path, how);
        }
    }
    for folder in loader_folders() {
        if let Some(path) = wanted.in_folder(&folder) {
            return examine(wanted, &path, "on the loader's path");
        }
    }
    let LibrarySpec { flag, variable, .. } = wanted;
    let message = format!("{} was not found; name it with {flag} or {variable}", wanted.file_name());
    Err(Error::new(Kind::NoRuntime, message))
}

impl LibrarySpec {
    /// The library's file name on this system.
    fn file_name(&self) -> String {
        let stem = self.stem;
        if cfg!(windows) {
            format!("{stem}.dll")
        } else if cfg!(target_vendor = "apple") {
            format!("lib{stem}.dylib")
        } else {
            format!("lib{stem}.so")
        }
    }

    /// The file under its plain name, or the newest with a version behind it.
    fn in_folder(&self, folder: &Path) -> Option<PathBuf> {
        let name = self.file_name();
        let exact = folder.join(&name);
        if exact.is_file() {
            return Some(exact);
        }
        let versioned = |path: &PathBuf| {
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let version = file.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())) && path.is_file()
        };
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).filter(versioned).collect();
        found.sort();
        found.pop()
    }

    /// Whether a version has the interface that is called.
    fn matches_port(&self, version: &str) -> std::result::Result<(), String> {
        let title = self.title;
        let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return Err(format!("states the version {version:?}, which is not one of {title}"));
        };
        let (oldest_major, oldest_minor) = self.oldest;
        if major >= self.newest {
            return Err(format!(
                "states the version {version:?}, which is not one of {title} {oldest_major}"
            ));
        }
        if (major, minor) < self.oldest {
            return Err(format!("is {title} {version}; {oldest_major}.{oldest_minor} or newer is needed"));
        }
        Ok(())
    }
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
fn examine(wanted: &LibrarySpec, path: &Path, how: &'static str) -> Result<Library> {
    let bad = |reason: &str| Error::new(Kind::NoRuntime, format!("{} {reason}", path.display()));
    let path_for_good = path.canonicalize().map_err(|_| bad("does not exist"))?;
    if !path_for_good.is_file() {
        return Err(bad("is no file"));
    }
    #[cfg(target_os = "linux")]
    check_elf(&path_for_good).map_err(bad)?;
    let version = probe(wanted, &path_for_good).map_err(|reason| bad(&reason))?;
    wanted.matches_port(&version).map_err(|reason| bad(&reason))?;
    Ok(Library { title: wanted.title, path: path_for_good, version, how })
}

/// The library's version: remembered, else from a child where this process is the program, else
/// from opening it here.
fn probe(wanted: &LibrarySpec, path: &Path) -> std::result::Result<String, String> {
    let note = verification::note(&format!("libraries/{}", wanted.stem), path);
    if let Some(version) = note.as_ref().and_then(|note| std::fs::read_to_string(note).ok()) {
        return Ok(version);
    }
    let here = || (wanted.version)(path);
    let version = if ANSWERS.load(Ordering::Relaxed) { probe_in_child(wanted, path)? } else { here()? };
    if let Some(note) = note {
        // A verdict that cannot be kept is asked for again.
        let _ = verification::remember(&note, &version);
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
    let stem = arguments.next()?;
    let wanted = LIBRARIES.into_iter().find(|wanted| stem == wanted.stem)?;
    let path = arguments.next()?;
    match (wanted.version)(Path::new(&path)) {
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

fn probe_in_child(wanted: &LibrarySpec, path: &Path) -> std::result::Result<String, String> {
    let executable = std::env::current_exe().map_err(|e| format!("cannot be probed: {e}"))?;
    let mut command = Command::new(executable);
    command.arg(PROBE).arg(wanted.stem).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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

/// Opens ONNX Runtime's library here and asks for its version.
#[expect(unsafe_code, reason = "a foreign library is opened")]
fn ort_version(path: &Path) -> std::result::Result<String, String> {
    let library = open(path)?;
    // SAFETY: the symbol has this type in every version of ONNX Runtime's C API.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const ApiBase>(b"OrtGetApiBase\0") };
    let base = base.map_err(|_| "is not onnx runtime: it has no OrtGetApiBase".to_owned())?;
    // SAFETY: it takes nothing and returns a pointer to a structure that lives as long as the library.
    let base = unsafe { base().as_ref() }.ok_or_else(|| "is not onnx runtime: it has no API".to_owned())?;
    // SAFETY: as above; the text is static and ends with a NUL.
    let version = unsafe { CStr::from_ptr((base.version)()) };
    Ok(version.to_string_lossy().into_owned())
}

/// What `ov_get_openvino_version` fills in.
#[repr(C)]
struct OpenVinoVersion {
    build: *const c_char,
    description: *const c_char,
}

/// Opens OpenVINO's library here and asks for its version: the numbers before the build's.
#[expect(unsafe_code, reason = "a foreign library is opened")]
fn openvino_version(path: &Path) -> std::result::Result<String, String> {
    let library = open(path)?;
    type Ask = unsafe extern "C" fn(*mut OpenVinoVersion) -> c_int;
    // SAFETY: the symbol has this type in every version of OpenVINO's C API.
    let ask = unsafe { library.get::<Ask>(b"ov_get_openvino_version\0") };
    let ask = ask.map_err(|_| "is not openvino: it has no ov_get_openvino_version".to_owned())?;
    let mut version = OpenVinoVersion { build: std::ptr::null(), description: std::ptr::null() };
    // SAFETY: it fills in the structure that it is given.
    let status = unsafe { ask(&raw mut version) };
    if status != 0 || version.build.is_null() {
        return Err(format!("is not openvino: asked for its version it answers {status}"));
    }
    // SAFETY: a text that ends with a NUL, made for this call and left to the process: it is asked once.
    let text = unsafe { CStr::from_ptr(version.build) }.to_string_lossy().into_owned();
    Ok(text.split('-').next().unwrap_or_default().to_owned())
}

/// Opens a library for the rest of the process: closing it could leave threads behind in memory that is gone.
#[expect(unsafe_code, reason = "a foreign library is opened")]
fn open(path: &Path) -> std::result::Result<std::mem::ManuallyDrop<libloading::Library>, String> {
    // SAFETY: opening a library runs its initialisers; those of the libraries looked for have no preconditions.
    let library = unsafe { libloading::Library::new(path) };
    library.map(std::mem::ManuallyDrop::new).map_err(|_| "is no library that opens here".to_owned())
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
