//! `THIRD_PARTY_NOTICES.md` is generated from the crates that the lock file names; this test writes it
//! when `KANDINSKY_BLESS` is set and otherwise fails when it is not what would be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Licences that may be linked into the program.
const ALLOWED: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "bzip2-1.0.6",
];

#[test]
fn notices_are_those_of_the_lock_file() {
    let root = kandinsky_testing::root();
    let file = root.join("THIRD_PARTY_NOTICES.md");
    let expected = notices(&root);
    if std::env::var_os("KANDINSKY_BLESS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "THIRD_PARTY_NOTICES.md is stale: run KANDINSKY_BLESS=1 cargo test --release --test engine notices"
    );
}

fn notices(root: &Path) -> String {
    let mut text = String::from(
        "# Third-party notices\n\nGenerated from the lock file by `tests/notices.rs`. The bundled model's own \
         notices are in `models/emoji/NOTICE.md`.\n\n| crate | version | licence | authors |\n| --- | --- | --- | --- |\n",
    );
    let mut by_licence: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked(root) {
        let field = |key: &str| package.get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        let (name, version, licence) = (field("name"), field("version"), field("license"));
        assert!(
            is_allowed(&licence),
            "{name} {version} has the licence {licence:?}, which is not on the list"
        );
        let authors: Vec<_> =
            package["authors"].as_array().unwrap().iter().filter_map(|a| a.as_str()).collect();
        let authors = authors.join(", ").replace('|', "/").replace('<', "(").replace('>', ")");
        writeln!(text, "| {name} | {version} | {licence} | {authors} |").unwrap();
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        for words in licence_texts(&folder) {
            by_licence.entry(words).or_default().insert(format!("{name} {version}"));
        }
    }
    for (words, crates) in by_licence {
        let crates: Vec<_> = crates.into_iter().collect();
        writeln!(text, "\n## {}\n\n```text\n{}\n```", crates.join(", "), words.trim_end()).unwrap();
    }
    text
}

/// Packages that end up in the program: those from a registry, without what only tests or other
/// systems need.
fn linked(root: &Path) -> Vec<serde_json::Value> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "kandinsky-cli",
            "--package",
            "kandinsky-capi",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let listed = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<(String, String)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .collect();
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut packages: Vec<_> = metadata["packages"].as_array().unwrap().clone();
    packages.retain(|p| {
        let key = (p["name"].as_str().unwrap().to_owned(), p["version"].as_str().unwrap().to_owned());
        !p["source"].is_null() && names.contains(&key)
    });
    packages
        .sort_by_key(|p| (p["name"].as_str().unwrap().to_owned(), p["version"].as_str().unwrap().to_owned()));
    packages
}

/// At least one alternative of an SPDX expression is allowed whole.
fn is_allowed(licence: &str) -> bool {
    let plain = licence.replace('/', " OR ").replace(['(', ')'], " ");
    plain.split(" OR ").any(|one| one.split(" AND ").all(|part| ALLOWED.contains(&part.trim())))
}

/// The texts of licence and notice files of a crate, the Apache licence apart, which is in LICENSE.
fn licence_texts(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let wanted = |path: &&std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().to_uppercase();
        let kind = ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|k| name.starts_with(k));
        kind && path.is_file()
    };
    let texts = files.iter().filter(wanted).filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .map(|t| t.replace("\r\n", "\n"))
        .filter(|t| !(t.contains("Apache License") && t.contains("TERMS AND CONDITIONS")))
        .collect()
}
