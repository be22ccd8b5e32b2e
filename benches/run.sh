#!/usr/bin/env bash
# Measures our programs beside the real sops, the real kubeseal, the real controller and gitleaks, keeps what it found in
# benches/data, and draws docs/performance.md and its plots of it. Takes some 40 minutes; let nothing else run meanwhile.
# The part `controller` brings up etcd and kube-apiserver, which takes root.
# usage: benches/run.sh [start|sops|keyservice|sealed|render|cores|checks|controller]...   only these parts
#        benches/run.sh --draw                                                            draws, and measures nothing
#
# SELKIE_STATIC=DIR  the folder of static programs that release.sh built: they are measured, in place of a build of its own
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = --draw ]; then
  exec cargo bench --quiet --locked --profile dev --package selkie-decryptor --bench compare -- --draw
fi
report=$(mktemp -d)
trap 'rm -rf "$report"' EXIT
tests/peers/setup.sh "$report"
set -a
# shellcheck source=/dev/null
. "$report/found"
set +a
for peer in GITLEAKS RIPGREP SOPS_3_13 KUBESEAL SEALED_SECRETS_CONTROLLER ETCD IP KUBECTL KUBE_APISERVER OPENSSL; do
  variable=SELKIE_PEER_$peer
  if [ -z "${!variable:-}" ]; then
    cat "$report/failed" "$report/absent" >&2
    exit 1
  fi
done
programs=${SELKIE_STATIC:-}
if [ -z "$programs" ]; then
  cargo build --locked --release --workspace --bins
  programs=$PWD/target/release
else
  export SELKIE_BUILD='static release build (musl)'
fi
export SELKIE_PROGRAM=$programs/kubectl-seal SELKIE_DECRYPTOR=$programs/selkie-decryptor SELKIE_HOOK=$programs/seal-hook
cargo bench --locked --package selkie-decryptor --bench compare -- "$@"
