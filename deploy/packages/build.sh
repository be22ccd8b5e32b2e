#!/usr/bin/env bash
# Builds the static programs of a target, the same bytes wherever the sources lie.
# usage: build.sh TRIPLE OUTPUT_DIR [PROGRAM ...]
#
# Takes SELKIE_ZIG, the program of Zig, from release.sh, and builds below CARGO_TARGET_DIR, or else target/packages.
# SOURCE_DATE_EPOCH is the time that C has for __DATE__ and __TIME__; without it, that of the commit.
# The linker is the one that comes with Rust, and so are the C library and its start files.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=pins.sh
. "$here/pins.sh"

main() {
  local target=${1:?usage: build.sh TRIPLE OUTPUT_DIR [PROGRAM ...]} output=${2:?an OUTPUT_DIR is missing} program
  shift 2
  if [ $# -eq 0 ]; then set -- seal-hook kubectl-seal selkie-decryptor; fi
  mkdir -p "$output"
  output=$(cd "$output" && pwd)
  set_up "$target"
  # Packages that are built at once share their features. The hook is to be small, so it is built alone.
  if [[ " $* " == *' seal-hook '* ]]; then compile "$target" seal-hook; fi
  if [[ " $* " == *' kubectl-seal '* || " $* " == *' selkie-decryptor '* ]]; then
    compile "$target" kubectl-seal selkie-decryptor
  fi
  for program in "$@"; do
    install -m 755 "$CARGO_TARGET_DIR/$target/release/$program" "$output/$program"
    statically_linked "$output/$program"
    position_independent "$output/$program"
  done
}

# set_up TARGET: no path of this machine and no time but that of the commit are to be in what is built.
set_up() {
  local target=$1 name upper cargo_home system_root tools flags compiler_flags folder epoch
  export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$source/target/packages}
  export RUSTUP_TOOLCHAIN=$rust_toolchain SELKIE_ZIG CARGO_INCREMENTAL=0
  epoch=${SOURCE_DATE_EPOCH:-$(git -C "$source" log -1 --format=%ct)}
  export SOURCE_DATE_EPOCH=$epoch
  mkdir -p "$CARGO_TARGET_DIR/tools"
  CARGO_TARGET_DIR=$(cd "$CARGO_TARGET_DIR" && pwd)
  export ZIG_LOCAL_CACHE_DIR=$CARGO_TARGET_DIR/tools/cache ZIG_GLOBAL_CACHE_DIR=$CARGO_TARGET_DIR/tools/cache
  cargo_home=${CARGO_HOME:-$HOME/.cargo}
  system_root=$(rustc --print sysroot)
  tools=$CARGO_TARGET_DIR/tools
  ln -sf "$here/zig-tool.sh" "$tools/$target-cc"
  ln -sf "$here/zig-tool.sh" "$tools/$target-ar"
  name=${target//-/_}
  upper=${name^^}
  export "CC_$name=$tools/$target-cc" "AR_$name=$tools/$target-ar"
  # The last that fits is the one that counts: what lies inside comes after what it lies in.
  compiler_flags="-ffile-prefix-map=$source=/selkie -ffile-prefix-map=$CARGO_TARGET_DIR=/target"
  compiler_flags+=" -ffile-prefix-map=$cargo_home=/cargo"
  export "CARGO_TARGET_${upper}_LINKER=rust-lld"
  # Those of x86-64 are position-independent without it.
  if [[ $target != x86_64-* ]]; then
    ln -sf "$here/static-pie-ld.sh" "$tools/$target-ld"
    export "CARGO_TARGET_${upper}_LINKER=$tools/$target-ld"
  fi
  flags="-Clink-self-contained=yes -Clinker-flavor=ld.lld -Ctarget-feature=+crt-static"
  flags+=" --remap-path-prefix=$source=/selkie --remap-path-prefix=$CARGO_TARGET_DIR=/target"
  flags+=" --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$system_root=/rust"
  # The folder of a registry has the registry's name, which is another one behind a mirror.
  (cd "$source" && cargo fetch --quiet --locked --target "$target")
  shopt -s nullglob
  for folder in "$cargo_home"/registry/src/*/; do
    flags+=" --remap-path-prefix=${folder%/}=/crates"
    compiler_flags+=" -ffile-prefix-map=${folder%/}=/crates"
  done
  shopt -u nullglob
  export "CFLAGS_$name=$compiler_flags" "CARGO_TARGET_${upper}_RUSTFLAGS=$flags"
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CFLAGS
}

# compile TARGET PACKAGE ...
compile() {
  local target=$1 package packages=()
  shift
  for package in "$@"; do packages+=(--package "$package"); done
  (cd "$source" && cargo build --locked --release --target "$target" "${packages[@]}" --bins)
}

# statically_linked PROGRAM: one that names an interpreter looks for libraries of the machine that it runs on.
statically_linked() {
  # All is read of what readelf prints, as it fails where nobody does: here and below.
  if readelf --program-headers "$1" | grep INTERP >/dev/null; then
    echo "build.sh: $1 looks for libraries when it starts; it was to be linked with all that it needs" >&2
    exit 1
  fi
}

# position_independent PROGRAM: one that always lies at the same addresses helps whoever makes it jump to one.
position_independent() {
  if ! LC_ALL=C readelf --file-header "$1" | grep 'Type: *DYN' >/dev/null; then
    echo "build.sh: $1 runs at one fixed address; it was to be position-independent" >&2
    exit 1
  fi
}

main "$@"
