#!/usr/bin/env bash
# Runs every test, those against real peers included, and ends with `N passed, N failed, N skipped`.
# usage: tests/run.sh [--long N]
#
#   --long N   compare N generated documents with sops, instead of the few of a usual run
#
# It fetches and builds what it needs (Rust, and for the peers Go, pip and npm) and keeps it in the
# user's cache folder. A peer that could not be had is named, and its tests count as skipped; with
# CI=true a peer that failed to come up although the machine has the means for it is a failure.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
long=''
case ${1:-} in
  --long) long=${2:?usage: tests/run.sh --long N}; shift 2 ;;
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit ;;
esac

# Peers are built beside the first tests, in a process group of their own, so that they can be ended.
scratch=$(mktemp -d)
set -m
"$here/peers/setup.sh" "$scratch" </dev/null >"$scratch/setup.log" 2>&1 &
peers=$!
set +m
trap 'kill -- "-$peers" 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

passed=0 failed=0 skipped=0

# run_tests CARGO_TEST_ARGUMENT ...: runs them and adds what their closing lines count.
run_tests() {
  local log=$scratch/tests.log status before=$failed counts
  cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  counts=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.*/\1 \2 \3/p' "$log")
  while read -r good bad left; do
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + left))
  done < <(grep . <<<"$counts")
  # Something did not compile, or a test took its whole process with it.
  if [ "$status" -ne 0 ] && [ "$failed" -eq "$before" ]; then failed=$((failed + 1)); fi
}

echo '== without peers'
run_tests --workspace -- --skip live::

echo '== peers'
wait "$peers" || cat "$scratch/setup.log"
while IFS='=' read -r variable path; do
  echo "have $variable=$path"
  export "$variable=$path"
done <"$scratch/found"
sed 's/^/cannot have /' "$scratch/absent"
sed 's/^/FAILED /' "$scratch/failed"
if [ "${CI:-}" = true ]; then failed=$((failed + $(wc -l <"$scratch/failed"))); fi

echo '== against peers'
if [ -n "$long" ]; then export SELKIE_LONG=$long; fi
run_tests --package selkie-decryptor --test main -- live::

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
