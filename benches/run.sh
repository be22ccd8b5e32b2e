#!/usr/bin/env bash
# Measures our program beside the real sops and writes docs/performance.md. Takes some ten minutes; let nothing else
# run meanwhile.
# usage: benches/run.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
tests/peers/setup.sh "$report"
set -a
# shellcheck source=/dev/null
. "$report/found"
set +a
if [ -z "${SELKIE_PEER_SOPS_3_13:-}" ]; then
  cat "$report/failed" "$report/absent" >&2
  exit 1
fi
cargo build --locked --release --package kubectl-seal
SELKIE_PROGRAM=$PWD/target/release/kubectl-seal cargo bench --locked --package selkie-decryptor --bench compare
