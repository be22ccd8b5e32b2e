#!/usr/bin/env bash
# Measures our program beside the real sops and the real kubeseal, and writes docs/performance.md. Takes about a
# quarter of an hour; let nothing else run meanwhile. With the names of parts, only those are measured, and the page
# stays as it is.
# usage: benches/run.sh [sops|keyservice|sealed|cores]...
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
tests/peers/setup.sh "$report"
set -a
# shellcheck source=/dev/null
. "$report/found"
set +a
if [ -z "${SELKIE_PEER_SOPS_3_13:-}" ] || [ -z "${SELKIE_PEER_KUBESEAL:-}" ]; then
  cat "$report/failed" "$report/absent" >&2
  exit 1
fi
cargo build --locked --release --package kubectl-seal
export SELKIE_PROGRAM=$PWD/target/release/kubectl-seal
cargo bench --locked --package selkie-decryptor --bench compare -- "$@"
