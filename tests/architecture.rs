//! The shape of the code is a test: who may use whom, where unsafe may stand, what every file says.

#[path = "architecture/files.rs"]
mod files;

use files::Files;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The rooms of `src/`, lowest first, and the rooms that each may use.
#[rustfmt::skip]
const ROOMS: &[(&str, &str)] = &[
    ("error", ""),
    ("math", ""),
    ("panics", "error"),
    ("profile", ""),
    ("tensor", "error"),
    ("limits", "error"),
    ("atomic_file", "error"),
    ("system", ""),
    ("rng", "error math tensor"),
    ("priors", "error atomic_file limits math rng tensor"),
    ("text", "error limits"),
    ("image", "error atomic_file limits math profile tensor"),
    ("progress", "error image"),
    ("timing", "progress"),
    ("status", "progress"),
    ("turns", "error progress"),
    ("residency", "error progress"),
    ("schedule", "error math tensor"),
    ("predict", "error math schedule tensor"),
    ("guidance", "error math tensor"),
    ("sampler", "error math predict profile rng schedule tensor"),
    ("request", "error guidance image limits priors profile rng sampler text"),
    ("metadata", "error guidance image request"),
    ("verification", "error"),
    ("runtime", "error system residency verification tensor"),
    ("opening", "error runtime verification"),
    ("component", "error opening system math residency progress runtime status tensor text"),
    ("constants", "component error tensor"),
    ("stage", "component constants error guidance image priors profile progress request rng sampler tensor text"),
    ("pipeline", "component constants error guidance image math opening residency priors profile progress request sampler schedule stage tensor timing"),
    ("fit", "component error image limits priors progress rng stage tensor"),
    ("doctor", "error system runtime verification"),
    ("prebuild", "error opening progress request runtime"),
    ("bake", "component constants error math pipeline rng runtime tensor text"),
    ("engine", "component constants error image system metadata pipeline residency prebuild priors progress request runtime stage status turns verification tensor text timing"),
    ("jobs", "engine error panics progress request turns"),
    ("bench", "component doctor engine error guidance image limits system math pipeline progress request rng runtime sampler stage tensor text"),
];

/// Other crates that only some rooms may name.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("openvino", &["runtime"]),
    ("openvino_sys", &["runtime"]),
    ("ort", &["runtime"]),
    ("tract_linalg", &["runtime"]),
    ("tract_onnx", &["runtime"]),
    ("libloading", &["runtime"]),
    ("tokenizers", &["text"]),
    ("image", &["image"]),
    ("png", &["image"]),
];

/// Where unsafe code may stand: the doors to a foreign library and to foreign callers.
const UNSAFE: &[&str] = &["src/runtime/", "capi/src/pointer.rs"];

/// The rooms of `export/src/`, lowest first, and the rooms that each may use.
#[rustfmt::skip]
const EXPORT_ROOMS: &[(&str, &str)] = &[
    ("error", ""),
    ("number", ""),
    ("weights", "error"),
    ("target", ""),
    ("rewrites", "error target"),
    ("staging", "error"),
    ("checkpoint_file", "error weights"),
    ("manifest_file", "error"),
    ("read", "error weights"),
    ("graph", "error number rewrites target weights"),
    ("block", "error graph number rewrites"),
    ("config", "block error number"),
    ("arch", "block config error graph rewrites weights"),
    ("synthetic", "error number weights"),
    ("checkpoint", "arch error read synthetic weights"),
    ("clip_tokenizer", "checkpoint error"),
    ("tokenizers", "checkpoint clip_tokenizer error"),
    ("schedulers", "checkpoint error"),
    ("request", "checkpoint error rewrites target"),
    ("constants", "checkpoint_file error manifest_file read weights"),
    ("manifest", "arch checkpoint constants error request schedulers tokenizers"),
    ("mirror", "arch checkpoint checkpoint_file error request staging synthetic weights"),
    ("pipeline", "arch checkpoint constants error manifest manifest_file read request staging tokenizers weights"),
];

/// Our crates, lowest first: where each lies, the crates of ours that it may build on, and what it must not know.
const CRATES: &[Crate] = &[
    Crate {
        name: "kandinsky-models",
        folder: "models",
        uses: "",
        never: &[RUNTIMES, PROGRAM, HTTP, PICTURES, TEXT],
    },
    Crate {
        name: "kandinsky-export",
        folder: "export",
        uses: "kandinsky-models",
        never: &[RUNTIMES, PROGRAM, HTTP, PICTURES],
    },
    Crate { name: "kandinsky", folder: ".", uses: "kandinsky-models", never: &[PROGRAM, HTTP, C] },
    Crate {
        name: "kandinsky-capi",
        folder: "capi",
        uses: "kandinsky",
        never: &[RUNTIMES, PROGRAM, HTTP, PICTURES, TEXT],
    },
    Crate {
        name: "kandinsky-cli",
        folder: "cli",
        uses: "kandinsky kandinsky-export kandinsky-models",
        never: &[RUNTIMES, HTTP, PICTURES, TEXT, C],
    },
];

/// A crate of the workspace.
struct Crate {
    name: &'static str,
    folder: &'static str,
    uses: &'static str,
    never: &'static [&'static [&'static str]],
}

/// What runs graphs.
const RUNTIMES: &[&str] = &["ort", "openvino", "openvino-sys", "tract-linalg", "tract-onnx", "libloading"];
/// What a command line is made of.
const PROGRAM: &[&str] = &["clap", "clap_complete", "ctrlc", "indicatif"];
/// What talks to other machines.
const HTTP: &[&str] = &["axum", "curl", "hyper", "reqwest", "tiny_http", "tokio", "ureq"];
/// What reads and writes pictures.
const PICTURES: &[&str] = &["image", "png"];
/// What cuts texts into tokens.
const TEXT: &[&str] = &["tokenizers"];
/// What speaks C.
const C: &[&str] = &["cbindgen", "libc"];

#[test]
fn crates_use_only_what_the_table_allows() {
    let mut known = BTreeSet::new();
    for krate in CRATES {
        let text = std::fs::read_to_string(root().join(krate.folder).join("Cargo.toml")).unwrap();
        assert!(
            text.contains(&format!("name = \"{}\"", krate.name)),
            "{} is not in {}",
            krate.name,
            krate.folder
        );
        let used = dependencies(&text);
        let allowed: BTreeSet<&str> = krate.uses.split_whitespace().collect();
        assert!(allowed.is_subset(&known), "{} uses a crate at its height or above", krate.name);
        known.insert(krate.name);
        for own in used.iter().filter(|name| name.starts_with("kandinsky")) {
            assert!(allowed.contains(own.as_str()), "{} may not use {own}", krate.name);
        }
        for outside in krate.never.iter().copied().flatten() {
            assert!(!used.contains(*outside), "{} may not use the crate {outside}", krate.name);
        }
    }
}

/// Names of the crates that a `Cargo.toml` builds on, without those of its tests.
fn dependencies(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-") && !line.contains("workspace");
        } else if inside
            && let Some(name) = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty())
        {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn rooms_use_only_what_the_tables_allow() {
    let mut wrong = Vec::new();
    for (folder, table) in [("src", ROOMS), ("export/src", EXPORT_ROOMS)] {
        let files = Files::of(folder);
        for room in files.rooms() {
            if table.iter().all(|(known, _)| *known != room) {
                wrong.push(format!("{folder}: the room {room} is not in the table"));
            }
        }
        for (file, room, used) in files.between_rooms() {
            let allowed = table.iter().find(|(known, _)| *known == room).map_or("", |(_, uses)| *uses);
            if allowed.split_whitespace().all(|allowed| allowed != used) {
                wrong.push(format!("{folder}: {file}: {room} may not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_have_no_cycle_and_no_room_that_is_gone() {
    for (folder, table) in [("src", ROOMS), ("export/src", EXPORT_ROOMS)] {
        let mut known = BTreeSet::new();
        for (room, uses) in table {
            for used in uses.split_whitespace() {
                assert!(
                    known.contains(used),
                    "{folder}: {room} uses {used}, which stands at its height or above"
                );
            }
            known.insert(*room);
            let file = root().join(folder).join(format!("{room}.rs"));
            assert!(
                file.exists() || root().join(folder).join(room).exists(),
                "{folder}: there is no room {room}"
            );
        }
    }
}

#[test]
fn no_file_uses_itself_in_a_circle() {
    let circles = ["models/src", "export/src", "src", "capi/src", "cli/src"]
        .map(|folder| (folder, Files::of(folder).circle()));
    let found: Vec<String> =
        circles.into_iter().filter_map(|(folder, circle)| Some(format!("{folder}: {}", circle?))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn documents_name_every_runtime() {
    let names: Vec<String> = kandinsky::internal::runtime::names().map(|name| format!("`{name}`")).collect();
    let listed = format!("`runtime` ({})", names.join(", "));
    for document in ["docs/c_api.md", "capi/include/kandinsky.h", "capi/src/engine.rs"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        assert!(text.contains(&listed), "{document} does not list {listed}");
    }
}

#[test]
fn outside_crates_are_known_to_their_rooms_alone() {
    let mut wrong = Vec::new();
    for (path, file) in sources("src") {
        let room = room_of(&path);
        let mut paths = Paths::default();
        paths.visit_file(&file);
        for (outside, may) in OUTSIDE {
            if paths.names(outside) && !may.contains(&room.as_str()) {
                wrong.push(format!("{}: {room} may not use the crate {outside}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    for room in ["src", "models/src", "export/src", "capi/src", "cli/src", "tests"] {
        for (path, _) in sources(room) {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        }
    }
}

#[test]
fn unsafe_stands_only_at_the_foreign_doors() {
    for room in ["src", "models/src", "export/src", "capi/src", "cli/src"] {
        for (path, file) in sources(room) {
            let mut found = Unsafe::default();
            found.visit_file(&file);
            let allowed = UNSAFE.iter().any(|door| path.starts_with(door));
            assert!(allowed || !found.0, "{} has unsafe code", path.display());
        }
    }
}

#[test]
fn every_exception_to_a_lint_has_a_reason() {
    for room in ["src", "models/src", "export/src", "capi/src", "cli/src", "tests"] {
        for (path, file) in sources(room) {
            let mut found = Exceptions::default();
            found.visit_file(&file);
            assert!(found.without_reason == 0, "{} has an exception without a reason", path.display());
            let outside_tests = room != "tests";
            assert!(
                !outside_tests || found.broad.is_empty(),
                "{} switches off {:?} outside a test module",
                path.display(),
                found.broad
            );
        }
    }
}

/// Paths in a file: first parts of all paths, and what `use` brought in from our own rooms, which may be called as a
/// crate is.
#[derive(Default)]
struct Paths {
    first: BTreeSet<String>,
    brought: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        collect(tree, &mut Vec::new(), self);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        syn::visit::visit_path(self, path);
    }
}

impl Paths {
    /// Whether the file names the crate `outside`.
    fn names(&self, outside: &str) -> bool {
        self.first.contains(outside) && !self.brought.contains(outside)
    }

    fn note(&mut self, parts: &[String]) {
        if let Some(first) = parts.first() {
            self.first.insert(first.clone());
        }
    }
}

fn collect(tree: &syn::UseTree, before: &mut Vec<String>, paths: &mut Paths) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            collect(&path.tree, before, paths);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|item| collect(item, before, paths)),
        syn::UseTree::Name(name) => note_leaf(&name.ident, before, paths),
        syn::UseTree::Rename(name) => note_leaf(&name.ident, before, paths),
        syn::UseTree::Glob(_) => paths.note(before),
    }
}

fn note_leaf(leaf: &syn::Ident, before: &[String], paths: &mut Paths) {
    let mut parts = before.to_vec();
    if parts.first().is_some_and(|first| first == "crate" || first == "super" || first == "self") {
        let name = if leaf == "self" { parts.last().cloned().unwrap_or_default() } else { leaf.to_string() };
        paths.brought.insert(name);
    }
    parts.push(leaf.to_string());
    paths.note(&parts);
}

#[derive(Default)]
struct Unsafe(bool);

impl<'ast> Visit<'ast> for Unsafe {
    fn visit_expr_unsafe(&mut self, _: &'ast syn::ExprUnsafe) {
        self.0 = true;
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.0 |= item.unsafety.is_some();
        syn::visit::visit_item_impl(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.0 |= signature.unsafety.is_some();
    }
}

/// `#[allow]` and `#[expect]`: those without a reason, and those of the lints that keep us from panics.
#[derive(Default)]
struct Exceptions {
    without_reason: usize,
    broad: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Exceptions {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let path = attribute.path();
        if !path.is_ident("allow") && !path.is_ident("expect") {
            return;
        }
        let text = quote(attribute);
        self.without_reason += usize::from(!text.contains("reason"));
        for lint in ["unwrap_used", "expect_used", "clippy :: panic", "clippy::panic"] {
            if text.contains(lint) {
                self.broad.insert(lint.to_owned());
            }
        }
    }
}

fn quote(attribute: &syn::Attribute) -> String {
    match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && quote(a).contains("test"))
}

fn room_of(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    parts.get(1).map(|p| p.trim_end_matches(".rs").to_owned()).unwrap_or_default()
}

fn root() -> PathBuf {
    kandinsky_testing::root()
}

/// Every Rust file below a folder, relative to the repository, parsed.
fn sources(folder: &str) -> Vec<(PathBuf, syn::File)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                files.push((path.strip_prefix(root()).unwrap().to_owned(), parsed));
            }
        }
    }
    assert!(!files.is_empty(), "there are no sources in {folder}");
    files
}
