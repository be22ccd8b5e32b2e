#!/usr/bin/env bash
# Makes everything that people install, for Linux on x86-64 and arm64, and writes down how.
# usage: release.sh [--target TRIPLE]... [--program NAME]... [--out DIR] [--verify]
#        release.sh --binaries DIR [--target TRIPLE]... [--program NAME]... [--out DIR] [--uncompressed]
#
#   --target TRIPLE  build for this one alone: x86_64-unknown-linux-musl or aarch64-unknown-linux-musl
#   --program NAME   make this one alone: kubectl-seal, seal-hook or selkie-decryptor
#   --out DIR        write there; target/packages/out if it is not given
#   --verify         build twice, from two copies of the commit in two folders, and compare all bytes
#   --binaries DIR   build nothing: pack the programs DIR/TRIPLE/PROGRAM
#   --uncompressed   for trials, which take no time to make archives small
#
# It takes rustup, Python 3.11 with pip, and readelf. The compilers are pinned in pins.sh and zig.txt, and kept in the user's
# cache folder. For arm64 alone on another machine it takes qemu-user-static too, which writes completions.
set -Eeuo pipefail
trap 'echo "release.sh: line $LINENO: \`$BASH_COMMAND\` failed" >&2' ERR

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/selkie/release
# shellcheck source-path=SCRIPTDIR source=pins.sh
. "$here/pins.sh"

targets=() programs=() out=$source/target/packages/out binaries='' is_verifying=''

main() {
  read_arguments "$@"
  needs python3
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  if [ -n "$is_verifying" ]; then
    verify
  elif [ -n "$binaries" ]; then
    pack "$binaries" --binaries-given
  else
    refuse_changes
    set_up
    build
    pack "$source/target/packages/programs"
  fi
}

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --target) targets+=("${2:?--target takes a triple}"); shift 2 ;;
      --program) programs+=("${2:?--program takes a name}"); shift 2 ;;
      --out) out=${2:?--out takes a folder}; shift 2 ;;
      --binaries) binaries=${2:?--binaries takes a folder}; shift 2 ;;
      --uncompressed) export SELKIE_RELEASE_UNCOMPRESSED=yes; shift ;;
      --verify) is_verifying=yes; shift ;;
      -h | --help) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
      *) fail "there is no option $1; see release.sh --help" 2 ;;
    esac
  done
  if [ -n "$binaries" ] && [ -n "$is_verifying" ]; then fail '--verify builds, and --binaries does not: choose one' 2; fi
  if [ -z "$binaries" ] && [ ${#targets[@]} -eq 0 ]; then
    targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
  fi
}

# What is released is a commit. What differs from it could not be built by anybody else.
refuse_changes() {
  if [ -n "$(git -C "$source" status --porcelain)" ]; then
    fail "$source: has changes that are not committed; commit or stash them, or pack a trial with --binaries"
  fi
}

# set_up: the compilers, and in SELKIE_ZIG the program of Zig.
set_up() {
  local folder
  needs rustup
  needs readelf
  rustup toolchain install --profile minimal --no-self-update "$rust_toolchain" >&2
  rustup target add --toolchain "$rust_toolchain" "${targets[@]}" >&2
  folder=$cache/zig-$zig_version-$(sha256sum <"$here/zig.txt" | cut -c 1-16)
  if [ ! -x "$folder/ziglang/zig" ]; then
    rm -rf "$folder.new"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
      --require-hashes --only-binary :all: --target "$folder.new" -r "$here/zig.txt" >&2
    mv "$folder.new" "$folder"
  fi
  export SELKIE_ZIG=$folder/ziglang/zig
}

build() {
  local target
  for target in "${targets[@]}"; do "$here/build.sh" "$target" "$source/target/packages/programs/$target" "${programs[@]}"; done
}

# pack FOLDER [OPTION ...]
pack() {
  local folder options=()
  folder=$(cd "$1" && pwd)
  shift
  choose options
  tell_toolchain
  PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 \
    python3 -m pack --binaries "$folder" --out "$out" "${options[@]}" "$@"
}

# choose ARRAY: adds the targets and programs that are asked for, as options.
choose() {
  local -n chosen=$1
  local word
  for word in "${targets[@]}"; do chosen+=(--target "$word"); done
  for word in "${programs[@]}"; do chosen+=(--program "$word"); done
}

# tell_toolchain: what lists of parts and the statement about the release say about the compilers.
tell_toolchain() {
  local libraries
  export SELKIE_RELEASE_RUST=$rust_toolchain SELKIE_RELEASE_ZIG=$zig_version SELKIE_RELEASE_ZIG_SHA256=''
  export SELKIE_RELEASE_RUST_VERSION='' SELKIE_RELEASE_MUSL=''
  if [ -n "$binaries" ]; then return; fi
  # The same hash on every machine: that of the wheel that the release is made with.
  SELKIE_RELEASE_ZIG_SHA256=$(sed -n '/--hash=sha256:/{s/.*--hash=sha256:\([0-9a-f]*\).*/\1/p;q}' "$here/zig.txt")
  SELKIE_RELEASE_RUST_VERSION=$(rustup run "$rust_toolchain" rustc --version)
  libraries=$(rustup run "$rust_toolchain" rustc --print sysroot)/lib/rustlib/${targets[0]}/lib/self-contained
  # To its end, as what writes into a pipe that nobody reads any more fails.
  SELKIE_RELEASE_MUSL=$(strings "$libraries/libc.a" | awk '/^1\.[0-9]+\.[0-9]+$/ && !is_told { print; is_told = 1 }')
}

# Each copy is built and packed by its own release.sh, so that nothing of this folder has a part in it.
verify() {
  local folder copy options=()
  refuse_changes
  choose options
  folder=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$folder'" EXIT
  for copy in one another/place; do
    git clone --quiet --no-hardlinks "$source" "$folder/$copy"
    (unset CARGO_TARGET_DIR && "$folder/$copy/deploy/packages/release.sh" "${options[@]}" --out "$folder/out-${copy%%/*}")
    # The first is not needed any more but for what was made, and there may be little room.
    rm -rf "$folder/$copy/target/packages"
  done
  if ! diff -r "$folder/out-one" "$folder/out-another"; then
    fail 'the two builds differ; the files above are not reproducible'
  fi
  cp -R "$folder/out-one/." "$out"
  echo "both builds have the same bytes: $(find "$out" -type f | wc -l) files" >&2
}

needs() {
  command -v "$1" >/dev/null || fail "there is no $1 on this machine; install it and run this again"
}

# fail MESSAGE [STATUS]
fail() {
  echo "release.sh: $1" >&2
  exit "${2:-1}"
}

main "$@"
