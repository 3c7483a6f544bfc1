//! The C header, its page in the docs and the tests' bindings are what the source says; the ABI only grows.

use crate::common::c_header::{Interface, abi, bindings, compare, header, page, root};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_header_is_that_of_the_source() {
    compare(Path::new("capi/include/kandinsky.h"), &header(&Interface::read()));
}

#[test]
fn the_page_is_that_of_the_header() {
    compare(Path::new("docs/c_api.md"), &page(&Interface::read()));
}

#[test]
fn the_bindings_of_the_tests_are_those_of_the_header() {
    compare(Path::new("capi/tests/common/kd.rs"), &bindings(&Interface::read()));
}

#[test]
fn the_interface_is_small_and_says_what_it_does() {
    let interface = Interface::read();
    assert!(interface.functions().count() <= 60);
    let mut names = BTreeSet::new();
    for function in interface.functions() {
        assert!(function.name.starts_with("kd_") && names.insert(&function.name), "{}", function.name);
        assert!(!function.docs.is_empty(), "{} has no docs", function.name);
    }
}

/// The ABI only grows: a line that was published stays. `KANDINSKY_BLESS=1` publishes what is new, and takes
/// nothing back.
#[test]
fn the_abi_only_grows() {
    let path = root().join("capi/include/kandinsky.abi");
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let now: BTreeSet<String> = abi(&Interface::read()).into_iter().collect();
    let gone: Vec<_> = published.lines().filter(|line| !now.contains(*line)).collect();
    assert!(gone.is_empty(), "the ABI has lost or changed:\n{}", gone.join("\n"));
    if std::env::var_os("KANDINSKY_BLESS").is_some() {
        std::fs::write(&path, now.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
    let first = published.lines().next();
    assert!(first.is_some(), "capi/include/kandinsky.abi is empty");
}

/// What the snapshot is compared by sees a change of a type, of a name and of a number, and lets an addition pass.
#[test]
fn a_change_of_the_abi_is_seen() {
    let lines = abi(&Interface::read());
    assert!(lines.contains(&"#define KD_CANCELLED 130u".to_owned()));
    let cancel = "kd_status kd_job_cancel(kd_job job, KD_NULLABLE kd_error *error);".to_owned();
    assert!(lines.contains(&cancel), "{lines:#?}");
    let mut changed = Interface::read();
    let function =
        changed.sections.iter_mut().flat_map(|s| &mut s.functions).find(|f| f.name == "kd_job_cancel");
    function.unwrap().parameters[0].c = "uint32_t ".to_owned();
    assert!(!abi(&changed).contains(&cancel));
}
