//! Names the shared library as the linker of a program will look for it.

fn main() {
    // The C interface only grows while the major version is the same.
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libkandinsky.so.{major}");
    println!("cargo::rerun-if-changed=build.rs");
}
