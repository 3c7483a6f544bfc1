#!/usr/bin/env bash
# Calls the C interface in random sequences with everything instrumented by AddressSanitizer: the library, Rust's and C's.
#
# usage: scripts/fuzz_c.sh [SEQUENCES] [SEED]
#
# The suite runs a shorter course (capi/tests/c_library.rs, with the C side instrumented); this one, by default of 1,000,000
# sequences over all cores, is for changes to capi/src. Needs clang and ORT_DYLIB_PATH; builds for about 12 minutes the first
# time, in target/asan.
set -euo pipefail
cd "$(dirname "$0")/.."
sequences=${1:-1000000}
seed=${2:-1}
: "${ORT_DYLIB_PATH:?must name the onnx runtime that draws the pictures}"

target=$(rustc -vV | sed -n 's/^host: //p')
folder=target/asan
# The sanitizer of a stable compiler is behind this word; nothing else of the nightly language is used.
RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=$folder \
    cargo build --release --locked --package kandinsky-capi --target "$target"
library=$folder/$target/release
cp -f "$library/libkandinsky_capi.so" "$library/libkandinsky.so"
clang -std=c11 -g -O1 -fsanitize=address -Icapi/include capi/tests/c/fuzz.c -o "$folder/fuzz" -L"$library" -lkandinsky -lpthread

model=$folder/tiny
[ -e "$model/model.json" ] || cargo run --release --locked --quiet -- export \
    --synthetic tests/reference/configs --out "$model"
workers=$(nproc)
for worker in $(seq "$workers"); do
    # Leaks are tests/c_memory.rs's; the runtime keeps its environment until the process ends.
    ASAN_OPTIONS=detect_leaks=0 LD_LIBRARY_PATH="$library" \
        "$folder/fuzz" "$model" $((sequences / workers)) $((seed + worker * 2654435761)) &
done
failed=0
for worker in $(jobs -p); do wait "$worker" || failed=1; done
exit $failed
