#!/usr/bin/env bash
# Builds libkandinsky.so and libkandinsky.a in target/release. KANDINSKY_PACKAGES names what cargo builds, by default the
# C library alone; --workspace shares its crates with a build of everything.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra packages <<< "${KANDINSKY_PACKAGES:---package kandinsky-capi}"
cargo build --release --locked "${packages[@]}"
built=${CARGO_TARGET_DIR:-target}/release
for kind in so a; do cp -f "$built/libkandinsky_capi.$kind" "$built/libkandinsky.$kind"; done
