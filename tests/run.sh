#!/usr/bin/env bash
# Runs every test, those against real peers included, and ends with `N passed, N failed, N skipped`.
# usage: tests/run.sh [--long N]
#
#   --long N   compare N generated documents with sops, instead of the few of a usual run
#
# It fetches and builds what it needs (Rust, and for the peers Go, pip, npm and apt-get) and keeps it in the
# user's cache folder. A peer that could not be had is named, and its tests count as skipped; with
# CI=true a peer that failed to come up although the machine has the means for it is a failure. Run by
# root, it installs the packages `age`, `chromium`, `chromium-driver`, `git`, `gnupg`, `iproute2`, `openssl`, `postgresql` and `redis-tools` with apt-get where their programs are missing.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; }

refuse() {
  echo "tests/run.sh: $1" >&2
  usage >&2
  exit 2
}

long=''
while [ $# -gt 0 ]; do
  case $1 in
    --long)
      long=${2:-}
      [[ $long =~ ^[1-9][0-9]*$ ]] || refuse '--long takes a number'
      shift 2
      ;;
    -h | --help) usage; exit ;;
    *) refuse "there is no option $1" ;;
  esac
done

# Peers are built beside the first tests, in a process group of their own, so that they can be ended.
scratch=$(mktemp -d) peers=''
trap 'if [ -n "$peers" ]; then kill -- "-$peers" 2>/dev/null; fi; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set -m
"$here/peers/setup.sh" "$scratch" </dev/null >"$scratch/setup.log" 2>&1 &
peers=$!
set +m

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
if ! wait "$peers"; then
  cat "$scratch/setup.log"
  echo 'FAILED tests/peers/setup.sh'
  failed=$((failed + 1))
fi
# Its number may be that of another group from here on.
peers=''
touch "$scratch/found" "$scratch/absent" "$scratch/failed"
while IFS='=' read -r variable path; do
  echo "have $variable=$path"
  export "$variable=$path"
done <"$scratch/found"
sed 's/^/cannot have /' "$scratch/absent"
sed 's/^/FAILED /' "$scratch/failed"
if [ "${CI:-}" = true ]; then failed=$((failed + $(wc -l <"$scratch/failed"))); fi

echo '== against peers'
if [ -n "$long" ]; then export SELKIE_LONG=$long; fi
passed_before=$passed failed_before=$failed
# Many of them wait for somebody else most of the time.
run_tests --package selkie-decryptor --test main -- live:: --test-threads=3
if [ -s "$scratch/found" ] && [ "$passed" -eq "$passed_before" ] && [ "$failed" -eq "$failed_before" ]; then
  echo 'FAILED there are peers, and no test ran against them'
  failed=$((failed + 1))
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
