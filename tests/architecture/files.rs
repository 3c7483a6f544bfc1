//! Which file of a crate uses which: the paths in its sources, resolved to files, through re-exports.

use super::{is_test, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::visit::Visit;

/// A file of a crate by its place among the modules, such as `runtime::ort`; the root is empty.
pub type Module = Vec<String>;

/// The files of a crate, and for each the files that it uses.
pub struct Files {
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

impl Files {
    /// Reads the crate whose sources lie in `folder`.
    pub fn of(folder: &str) -> Self {
        let parsed: BTreeMap<Module, syn::File> =
            sources(folder).into_iter().map(|(path, file)| (module_of(&path, folder), file)).collect();
        let known: BTreeSet<Module> = parsed.keys().cloned().collect();
        let mut found = BTreeMap::new();
        for (module, file) in &parsed {
            let mut paths = Paths::new(module, &known);
            paths.visit_file(file);
            found.insert(module.clone(), paths);
        }
        let exports: BTreeMap<Module, BTreeMap<String, Vec<String>>> =
            found.iter().map(|(module, paths)| (module.clone(), paths.exports.clone())).collect();
        let resolve = |path: &Vec<String>| target(path.clone(), &known, &exports, 0);
        let uses = found.iter().map(|(module, paths)| {
            let used = paths.used.iter().map(resolve).filter(|used| used != module);
            (module.clone(), used.collect())
        });
        Self { uses: uses.collect() }
    }

    /// Every room of the crate: a file or folder beside the root.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.uses.keys().filter_map(|module| module.first().cloned()).collect()
    }

    /// Every use of one room by another: the file, its room, and the room that it uses.
    pub fn between_rooms(&self) -> Vec<(String, String, String)> {
        let mut all = Vec::new();
        for (module, uses) in &self.uses {
            for used in uses {
                if let (Some(room), Some(other)) = (module.first(), used.first())
                    && room != other
                {
                    all.push((module.join("::"), room.clone(), other.clone()));
                }
            }
        }
        all
    }

    /// A circle of files, where there is one. A folder's own file and the files in the folder may know each other.
    pub fn circle(&self) -> Option<String> {
        let apart = |a: &Module, b: &Module| !a.starts_with(b) && !b.starts_with(a);
        let mut left: BTreeMap<&Module, BTreeSet<&Module>> = self
            .uses
            .iter()
            .map(|(module, uses)| (module, uses.iter().filter(|used| apart(module, used)).collect()))
            .collect();
        loop {
            let done: Vec<&Module> =
                left.iter().filter(|(_, uses)| uses.is_empty()).map(|(m, _)| *m).collect();
            if done.is_empty() {
                break;
            }
            for module in &done {
                left.remove(module);
            }
            left.values_mut().for_each(|uses| uses.retain(|used| !done.contains(used)));
        }
        // What is left uses something that is left: following it comes back to where it was.
        let mut at = *left.keys().next()?;
        let mut way = Vec::new();
        while !way.contains(&at) {
            way.push(at);
            at = left[at].first().expect("a file that is left uses one that is left");
        }
        let start = way.iter().position(|module| *module == at).unwrap();
        let names: Vec<String> = way[start..].iter().chain([&at]).map(|module| module.join("::")).collect();
        Some(names.join(" -> "))
    }
}

fn module_of(path: &Path, folder: &str) -> Module {
    let inside = path.strip_prefix(folder).expect("a file of the crate").with_extension("");
    let parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut parts: Module = parts.collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
        parts.pop();
    }
    parts
}

/// The file that a path leads to: the longest part of it that is one, or where that re-exports the next word from.
fn target(
    path: Vec<String>,
    known: &BTreeSet<Module>,
    exports: &BTreeMap<Module, BTreeMap<String, Vec<String>>>,
    depth: usize,
) -> Module {
    let mut module = path.clone();
    while !known.contains(&module) {
        module.pop();
    }
    let exported = path.get(module.len()).and_then(|name| exports.get(&module)?.get(name));
    match exported {
        Some(other) if depth < 8 => target(other.clone(), known, exports, depth + 1),
        _ => module,
    }
}

/// Paths in a file from the root of its crate, and the names that it re-exports.
struct Paths<'a> {
    module: &'a Module,
    known: &'a BTreeSet<Module>,
    inside: usize,
    used: BTreeSet<Vec<String>>,
    exports: BTreeMap<String, Vec<String>>,
}

impl<'a> Paths<'a> {
    fn new(module: &'a Module, known: &'a BTreeSet<Module>) -> Self {
        Self { module, known, inside: 0, used: BTreeSet::new(), exports: BTreeMap::new() }
    }

    /// The path from the crate's root, for one that does not leave the crate.
    fn absolute(&self, parts: &[String]) -> Option<Vec<String>> {
        let (first, rest) = parts.split_first()?;
        let mut from = self.module.clone();
        let mut rest = rest.to_vec();
        match first.as_str() {
            "crate" => from.clear(),
            "self" => {}
            "super" => {
                // Modules inside the file stand for the file.
                let mut ups = 1 + rest.iter().take_while(|part| *part == "super").count();
                rest.drain(..ups - 1);
                ups -= self.inside.min(ups);
                from.truncate(from.len().saturating_sub(ups));
            }
            child => {
                from.push(child.to_owned());
                if !self.known.contains(&from) {
                    return None;
                }
            }
        }
        from.extend(rest);
        Some(from)
    }

    fn note(&mut self, parts: &[String]) -> Option<Vec<String>> {
        let path = self.absolute(parts)?;
        self.used.insert(path.clone());
        Some(path)
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>, exported: bool) {
        let (leaf, name) = match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before, exported);
                before.pop();
                return;
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|item| self.tree(item, before, exported));
            }
            syn::UseTree::Glob(_) => {
                self.note(before);
                return;
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            syn::UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
        };
        let mut parts = before.clone();
        if leaf != "self" {
            parts.push(leaf);
        }
        if let Some(path) = self.note(&parts)
            && exported
        {
            self.exports.insert(name, path);
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            self.inside += 1;
            syn::visit::visit_item_mod(self, item);
            self.inside -= 1;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let exported = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&item.tree, &mut Vec::new(), exported);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        syn::visit::visit_path(self, path);
    }
}
