#!/usr/bin/env bash
# Measures our programs beside the real sops, the real kubeseal, the real controller and gitleaks, and writes
# docs/performance.md. Takes less than half an hour; let nothing else run meanwhile. With the names of parts, only those
# are measured, and the page stays as it is. The part `controller` brings up etcd and kube-apiserver, which takes root.
# usage: benches/run.sh [sops|keyservice|sealed|render|cores|checks|controller]...
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
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
cargo build --locked --release --workspace --bins
export SELKIE_PROGRAM=$PWD/target/release/kubectl-seal SELKIE_DECRYPTOR=$PWD/target/release/selkie-decryptor \
  SELKIE_HOOK=$PWD/target/release/seal-hook
cargo bench --locked --package selkie-decryptor --bench compare -- "$@"
