#!/usr/bin/env bash
# Stands in for the C compiler or the archiver of a target, and lets Zig do the work.
# usage: ln -s zig-tool.sh TRIPLE-cc; TRIPLE-cc ARGUMENT ...
#        ln -s zig-tool.sh TRIPLE-ar; TRIPLE-ar ARGUMENT ...
#
# SELKIE_ZIG is the path of the program of Zig. What is asked for is told by the name that this is called by.
set -euo pipefail

main() {
  local name target
  name=$(basename "$0")
  target=${name%-*}
  case $name in
    *-ar) exec "$SELKIE_ZIG" ar "$@" ;;
    *-cc) compile "${target/-unknown-/-}" "$@" ;;
    *) echo "zig-tool.sh: call it TRIPLE-cc or TRIPLE-ar, not $name" >&2; exit 2 ;;
  esac
}

# compile TARGET ARGUMENT ...: without the target that the caller gives, as Zig writes its names in another way, and
# without the checks that Zig adds to what it takes for a build to look for faults with.
compile() {
  local target=$1 argument arguments=()
  shift
  for argument in "$@"; do
    case $argument in
      --target=*) ;;
      *) arguments+=("$argument") ;;
    esac
  done
  exec "$SELKIE_ZIG" cc -target "$target" -fno-sanitize=undefined "${arguments[@]}"
}

main "$@"
