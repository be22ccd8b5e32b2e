#!/usr/bin/env bash
# Makes the files of the cases that are not there yet, with a real sops.
# usage: make.sh SOPS VERSION      for example: make.sh ~/bin/sops 3.13.3
#
# In each folder it encrypts `plain.*` with the `arguments` that `about` gives (root mode of the command,
# which alone has all of them), changes the result with the sed script `change`, and keeps it as
# `encrypted-VERSION.*`; if VERSION is to decrypt that, what it prints is kept as `decrypted-VERSION.*`.
# To make a file anew, remove it first.
set -euo pipefail

sops=$(realpath "${1:?usage: make.sh SOPS VERSION}") version=${2:?usage: make.sh SOPS VERSION}
cd "$(dirname "${BASH_SOURCE[0]}")"
export SOPS_AGE_KEY_FILE=$PWD/keys.txt SOPS_DISABLE_VERSION_CHECK=true
recipient=age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8

field() { sed -n "s/^$2: *//p" "$1/about"; }

for about in */about; do
  case=${about%/about}
  made_by=$(field "$case" made-by)
  [[ -z $made_by || $made_by == "$version" ]] || continue
  plain=$(cd "$case" && ls plain.*)
  encrypted=$case/encrypted-$version.${plain#plain.}
  decrypted=$case/decrypted-$version.${plain#plain.}
  if [[ ! -e $encrypted ]]; then
    arguments=$(field "$case" arguments)
    (cd "$case" && eval "$sops" -e "${arguments:---age $recipient}" "$plain") >"$encrypted.new"
    change=$(field "$case" change)
    if [[ -n $change ]]; then sed -i -zE "$change" "$encrypted.new"; fi
    mv "$encrypted.new" "$encrypted"
    echo "$encrypted"
  fi
  expected=$(field "$case" "expect-$version")
  if [[ ! -e $decrypted && ${expected:-$(field "$case" expect)} == success ]]; then
    "$sops" -d "$encrypted" >"$decrypted.new"
    mv "$decrypted.new" "$decrypted"
    echo "$decrypted"
  fi
done
