#!/bin/sh
# Encrypts the objects plain-*.yaml with a real sops: SOPS=/path/to/sops ./make.sh [NAME…]
# What follows `# sops:` in the first line of each are arguments. The key in keys.txt was made for these files alone.
# With names, only those are encrypted anew. The examples are also in docs/sops-in-the-cluster.md.
set -eu
cd "$(dirname "$0")"
recipient=$(sed -n 's/^# public key: //p' keys.txt)
if [ $# = 0 ]; then set -- plain-*.yaml; fi
for name; do
  name=${name#plain-}
  name=${name%.yaml}
  plain="plain-$name.yaml"
  encrypted="encrypted-$name.yaml"
  arguments=$(sed -n '1s/^# sops://p' "$plain")
  sed 1d "$plain" > "$encrypted"
  # The arguments are words without spaces.
  # shellcheck disable=SC2086
  "$SOPS" --encrypt --in-place --age "$recipient" $arguments "$encrypted"
done
# The object of ours carries the file as it is.
{ cat example-head.yaml; sed 's/^/    /' encrypted-example.yaml; } > example.yaml
