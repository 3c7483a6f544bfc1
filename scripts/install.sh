#!/usr/bin/env bash
# Builds the C library and installs it: install.sh PREFIX [LIBDIR]. LIBDIR is below PREFIX, `lib` by default; with
# DESTDIR set, files go below it, as packagers want it. The files are those of `cargo cinstall`, and those of CMake.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: scripts/install.sh PREFIX [LIBDIR]" >&2
    exit 2
fi
prefix=$(realpath -m "$1")
libdir=${2:-lib}
cd "$(dirname "$0")/.."
root=${DESTDIR:-}$prefix
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
major=${version%%.*}

scripts/build_c.sh
built=${CARGO_TARGET_DIR:-target}/release

install -d "$root/include" "$root/$libdir/pkgconfig" "$root/$libdir/cmake/kandinsky"
install -m 644 capi/include/kandinsky.h capi/include/kandinsky.hpp "$root/include"
install -m 755 "$built/libkandinsky.so" "$root/$libdir/libkandinsky.so.$version"
install -m 644 "$built/libkandinsky.a" "$root/$libdir/libkandinsky.a"
ln -sf "libkandinsky.so.$version" "$root/$libdir/libkandinsky.so.$major"
ln -sf "libkandinsky.so.$major" "$root/$libdir/libkandinsky.so"

# From the folder of CMake's files back to the prefix.
up=$(realpath -m --relative-to="$prefix/$libdir/cmake/kandinsky" "$prefix")
fill() {
    sed -e "s|@PREFIX@|$prefix|g" -e "s|@LIBDIR@|$libdir|g" -e "s|@VERSION@|$version|g" -e "s|@MAJOR@|$major|g" \
        -e "s|@UP@|$up|g" "capi/packaging/$1.in" > "$2/$1"
}
fill kandinsky.pc "$root/$libdir/pkgconfig"
fill kandinsky-config.cmake "$root/$libdir/cmake/kandinsky"
fill kandinsky-config-version.cmake "$root/$libdir/cmake/kandinsky"
echo "kandinsky $version is in $root"
