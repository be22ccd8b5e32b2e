#!/bin/sh
# Encrypts the objects plain-*.yaml with a real sops: SOPS=/path/to/sops ./make.sh
# What follows `# sops:` in the first line of each are arguments. The key in keys.txt was made for these files alone.
set -eu
cd "$(dirname "$0")"
recipient=$(sed -n 's/^# public key: //p' keys.txt)
for plain in plain-*.yaml; do
  arguments=$(sed -n '1s/^# sops: //p' "$plain")
  encrypted="encrypted-${plain#plain-}"
  sed 1d "$plain" > "$encrypted"
  # The arguments are words without spaces.
  # shellcheck disable=SC2086
  "$SOPS" --encrypt --in-place --age "$recipient" $arguments "$encrypted"
done
