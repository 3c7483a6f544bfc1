#!/usr/bin/env bash
# Installs what the tests need (ONNX Runtime and OpenVINO, from Python wheels; compilers and tools of C, from Debian) and runs
# every check.
#
# Needs: a Rust toolchain, Python 3 with pip; apt-get, unless gcc, clang, cmake, pkg-config and valgrind are there.
# Takes about 30 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

# wheel NAME VERSION LIBRARY: the library from a Python wheel, downloaded once.
wheel() {
    local folder=target/$1
    if ! compgen -G "$folder/$3" > /dev/null; then
        mkdir -p "$folder"
        python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$folder" "$1==$2"
        python3 -m zipfile -e "$folder"/"$1"-*.whl "$folder"
    fi
    echo "$PWD"/$folder/$3
}
if [ -z "${ORT_DYLIB_PATH:-}" ]; then
    ORT_DYLIB_PATH=$(wheel onnxruntime 1.31.1 'onnxruntime/capi/libonnxruntime.so.*')
fi
if [ -z "${OPENVINO_DYLIB_PATH:-}" ]; then
    OPENVINO_DYLIB_PATH=$(wheel openvino 2026.4.1 'openvino/libs/libopenvino_c.so.*')
fi
export ORT_DYLIB_PATH OPENVINO_DYLIB_PATH
echo "onnx runtime: $ORT_DYLIB_PATH"
echo "openvino: $OPENVINO_DYLIB_PATH"

missing=()
for tool in gcc:gcc g++:g++ clang:clang cmake:cmake pkg-config:pkg-config valgrind:valgrind nm:binutils; do
    command -v "${tool%%:*}" > /dev/null || missing+=("${tool##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${missing[@]}"
fi

cargo fmt --all --check
cargo clippy --release --locked --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps
skipped=${CARGO_TARGET_DIR:-target}/tmp/skipped.txt
rm -f "$skipped"
cargo test --release --locked --workspace
cargo test --release --locked --workspace --features kandinsky-capi/ffi-faults --test c_faults

# A debug build draws the release build's bytes.
cargo build --locked --bin kandinsky
pictures=$(mktemp -d)
trap 'rm -r "$pictures"' EXIT
for build in debug release; do
    target/$build/kandinsky generate "лиса" --runtime tract --seed 3 --steps 2 --prior-steps 2 --size 64x64 \
        --model models/emoji -o "$pictures/$build.png"
done
cmp "$pictures/debug.png" "$pictures/release.png"
echo "debug and release draw the same bytes"

if [ -s "$skipped" ]; then
    echo "not run here:"
    sort "$skipped" | sed 's/^/  /'
fi
