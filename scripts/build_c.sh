#!/usr/bin/env bash
# Builds libkandinsky.so and libkandinsky.a in target/release, apart from ordinary builds, which need neither.
set -euo pipefail
cd "$(dirname "$0")/.."
major=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\([0-9]*\)\..*"/\1/p' Cargo.toml)
cargo rustc --release --locked --package kandinsky-capi --lib --crate-type cdylib,staticlib -- -C "link-arg=-Wl,-soname,libkandinsky.so.$major"
built=${CARGO_TARGET_DIR:-target}/release
for kind in so a; do cp -f "$built/libkandinsky_capi.$kind" "$built/libkandinsky.$kind"; done
