#!/usr/bin/env bash
# Makes the page that seals in the browser: one file, with the compiled library in it.
# usage: build.sh [--out FILE]
#
#   --out FILE   write the page there, instead of target/browser/selkie.html
#
# It adds the target wasm32-unknown-unknown with rustup if it is missing. The same sources give the same bytes
# with the same Rust, wherever they are. It prints the SHA-256 of the page.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
target=${CARGO_TARGET_DIR:-$root/target}
triple=wasm32-unknown-unknown
usage() { sed -n '3,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

main() {
  local out=''
  while [ $# -gt 0 ]; do
    case $1 in
      --out) out=$(absolute "${2:?--out takes a file}") && shift 2 ;;
      -h | --help) usage && exit ;;
      *) echo "build.sh: there is no option $1" >&2 && usage >&2 && exit 2 ;;
    esac
  done
  cd "$root"
  out=${out:-$(absolute "$target/browser/selkie.html")}
  mkdir -p "$(dirname "$out")"
  add_target
  compile
  cargo run --quiet --locked --manifest-path lib/browser/bundle/Cargo.toml --target-dir "$target/bundle" -- \
    "$target/$triple/browser/selkie_browser.wasm" lib/browser/page "$(version)" "$out" "$HOME"
}

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }

add_target() {
  [ -d "$(rustc --print target-libdir --target "$triple")" ] || rustup target add "$triple" >&2
}

# Without the folders of this machine in messages: they would be in the page, and make it another one elsewhere.
compile() {
  local flags=() separator=$'\x1f' registry=${CARGO_HOME:-$HOME/.cargo} folder
  flags+=("--remap-path-prefix=$registry=/cargo" "--remap-path-prefix=$root=/selkie")
  # The folder of a registry has the registry's name, which is another one behind a mirror; the last match counts.
  cargo fetch --quiet --locked --target "$triple"
  shopt -s nullglob
  for folder in "$registry"/registry/src/*/; do flags+=("--remap-path-prefix=${folder%/}=/crates"); done
  flags+=("--remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust=/rust")
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$separator && echo "${flags[*]}") cargo build --quiet --locked \
    --package selkie-browser --lib --target "$triple" --target-dir "$target" --profile browser
}

version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml; }

main "$@"
