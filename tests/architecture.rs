//! The shape of the code is a test: who may use whom, where unsafe may stand, what every file says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// The rooms of `src/`, lowest first, and the rooms that each may use.
#[rustfmt::skip]
const ROOMS: &[(&str, &str)] = &[
    ("error", ""),
    ("math", ""),
    ("profile", ""),
    ("tensor", "error"),
    ("limits", "error"),
    ("atomic_file", "error"),
    ("system", ""),
    ("rng", "error math tensor"),
    ("priors", "error atomic_file limits math rng tensor"),
    ("text", "error limits"),
    ("image", "error atomic_file limits profile tensor"),
    ("progress", "error image"),
    ("timing", "progress"),
    ("residency", "error progress"),
    ("schedule", "error math tensor"),
    ("predict", "error math schedule tensor"),
    ("guidance", "error math tensor"),
    ("sampler", "error math predict profile rng schedule tensor"),
    ("request", "error guidance image limits priors profile rng sampler text"),
    ("metadata", "error image request"),
    ("verification", "error"),
    ("runtime", "error system residency verification tensor"),
    ("opening", "error runtime verification"),
    ("component", "error opening system math residency progress runtime tensor text"),
    ("constants", "component error tensor"),
    ("stage", "component constants error guidance image priors profile progress request rng sampler tensor text"),
    ("pipeline", "component constants error guidance image math opening residency priors profile progress request sampler schedule stage tensor timing"),
    ("fit", "component error image limits priors progress rng stage tensor"),
    ("doctor", "error system runtime verification"),
    ("prebuild", "error opening progress request runtime"),
    ("bake", "component constants error math pipeline rng runtime tensor text"),
    ("engine", "component constants error image system metadata pipeline residency prebuild priors progress request runtime stage verification tensor text timing"),
    ("bench", "component doctor engine error guidance limits system math pipeline progress request rng runtime sampler stage tensor text"),
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

#[test]
fn rooms_use_only_what_the_table_allows() {
    let rooms: BTreeMap<&str, Vec<&str>> =
        ROOMS.iter().map(|(room, uses)| (*room, uses.split_whitespace().collect())).collect();
    let mut wrong = Vec::new();
    for (path, file) in sources("src") {
        let room = room_of(&path);
        if room == "lib" || room == "bin" {
            continue;
        }
        let Some(allowed) = rooms.get(room.as_str()) else {
            wrong.push(format!("{}: the room {room} is not in the table", path.display()));
            continue;
        };
        let mut paths = Paths::default();
        paths.visit_file(&file);
        for used in paths.own.iter().filter(|used| **used != room) {
            if !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {room} may not use {used}", path.display()));
            }
        }
        for (outside, may) in OUTSIDE {
            if paths.names(outside) && !may.contains(&room.as_str()) {
                wrong.push(format!("{}: {room} may not use the crate {outside}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle_and_no_room_that_is_gone() {
    let mut known = BTreeSet::new();
    for (room, uses) in ROOMS {
        for used in uses.split_whitespace() {
            assert!(known.contains(used), "{room} uses {used}, which stands at its height or above");
        }
        known.insert(*room);
        let file = root().join("src").join(format!("{room}.rs"));
        let folder = root().join("src").join(room);
        assert!(file.exists() || folder.exists(), "there is no room {room}");
    }
}

#[test]
fn crates_point_one_way() {
    for (file, source) in sources("models/src") {
        let mut paths = Paths::default();
        paths.visit_file(&source);
        for other in ["kandinsky", "kandinsky_export", "ort", "tract_onnx"] {
            assert!(!paths.first.contains(other), "{}: models may not use {other}", file.display());
        }
    }
    for (file, source) in sources("export/src") {
        let mut paths = Paths::default();
        paths.visit_file(&source);
        for other in ["kandinsky", "ort", "tract_onnx"] {
            assert!(!paths.first.contains(other), "{}: export may not use {other}", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for room in ["src", "models/src", "export/src", "tests"] {
        for (path, _) in sources(room) {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            assert!(text.starts_with("//!"), "{} does not begin with //!", path.display());
        }
    }
}

#[test]
fn unsafe_stands_only_at_the_foreign_doors() {
    for room in ["src", "models/src", "export/src"] {
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
    for room in ["src", "models/src", "export/src", "tests"] {
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

/// Paths in a file: rooms behind `crate::`, first parts of all paths, and what `use` brought in from our own
/// rooms, which may be called as a crate is.
#[derive(Default)]
struct Paths {
    own: BTreeSet<String>,
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
        if parts.first().is_some_and(|p| p == "crate")
            && let Some(room) = parts.get(1)
        {
            self.own.insert(room.clone());
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
