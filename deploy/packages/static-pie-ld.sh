#!/usr/bin/env bash
# Stands in for the linker of a target whose static programs Rust links for one fixed address, and links them for any.
# usage: ln -s static-pie-ld.sh TRIPLE-ld; TRIPLE-ld ARGUMENT ...
#
# The code is position-independent anyway, and Rust brings the start files of both kinds. What differs is which of them
# are taken, and two words of the linker's. rust-lld is on the search path that Rust gives a linker.
set -euo pipefail

main() {
  local argument arguments=()
  for argument in "$@"; do
    case $argument in
      */crt1.o) arguments+=("${argument%crt1.o}rcrt1.o") ;;
      */crtbegin.o) arguments+=("${argument%crtbegin.o}crtbeginS.o") ;;
      */crtend.o) arguments+=("${argument%crtend.o}crtendS.o") ;;
      -static) arguments+=(-static -pie --no-dynamic-linker -z text) ;;
      -no-pie) ;;
      *) arguments+=("$argument") ;;
    esac
  done
  exec rust-lld "${arguments[@]}"
}

main "$@"
