#!/usr/bin/env bash
# Makes the cases of this folder with gpg, and one with the OpenPGP of Go that sops 3.0 to 3.6 encrypted with.
# usage: make.sh OUTPUT_DIR
#
# Each case is a header, exported keys, and a message for one of them. All keys are made for it and used nowhere else.
# ocb.case is not made here: gpg 2.2 reads such messages, and writes none.
set -euo pipefail

mkdir -p "${1:?usage: make.sh OUTPUT_DIR}" && cd "$1"
GNUPGHOME=$(mktemp -d /tmp/pgp.XXXXXX)
export GNUPGHOME
trap 'gpgconf --kill all; rm -rf "$GNUPGHOME"' EXIT
version=$(gpg --version | sed -n '1s/.* //p')
secret='an octopus knows eight passwords'

quiet() { gpg --batch --quiet --no-auto-check-trustdb --pinentry-mode loopback "$@"; }

# key NAME KIND PASSPHRASE EXPIRY
key() {
  local subkey=$2
  if [ "$subkey" = ed25519 ]; then subkey=cv25519; fi
  quiet --passphrase "$3" --quick-generate-key "$1@example.com" "$2" sign "$4"
  quiet --passphrase "$3" --quick-add-key "$(fingerprint "$1")" "$subkey" encrypt "$4"
}

fingerprint() { gpg --list-keys --with-colons "$1@example.com" | awk -F: '/^fpr/ { print $10; exit }'; }

encrypt() { printf %s "$secret" | quiet --trust-model always --armor --encrypt "$@"; }

# case_of NAME KEY EXPORT HOW FIELD... < MESSAGE
case_of() {
  local name=$1 key=$2 export=$3 how=$4 message
  shift 4
  message=$(cat)
  {
    echo "made: $how"
    echo "fingerprint: $(fingerprint "$key")"
    printf '%s\n' "$@"
    echo '--- keys'
    quiet --passphrase "$passphrase" --armor "$export" "$(fingerprint "$key")"
    echo '--- message'
    echo "$message"
  } >"$name.case"
}

passphrase=''
key rsa rsa2048 '' never
for name in curve other; do key $name ed25519 '' never; done
gpg=--export-secret-keys
encrypt -r rsa@example.com | case_of rsa rsa $gpg "gpg $version, RSA" 'expect: success'
encrypt -r curve@example.com | case_of cv25519 curve $gpg "gpg $version, Curve25519" 'expect: success'
encrypt -R curve@example.com | case_of hidden curve $gpg "gpg $version, with -R" 'expect: success'
encrypt -r rsa@example.com -r curve@example.com |
  case_of several curve $gpg "gpg $version, to two keys" 'expect: success'
encrypt --compress-algo bzip2 -r rsa@example.com |
  case_of bzip2 rsa $gpg "gpg $version, with --compress-algo bzip2" 'expect: success'
encrypt -r curve@example.com |
  case_of subkeys curve --export-secret-subkeys "gpg $version, exported without the primary secret key" \
    'expect: success'
encrypt -r other@example.com | case_of stranger curve $gpg "gpg $version, to another key" 'expect: no match'
encrypt -R other@example.com |
  case_of stranger-hidden curve $gpg "gpg $version, to another key, with -R" 'expect: no match'
head -c 200000 /dev/zero | quiet --trust-model always --armor --encrypt -r rsa@example.com |
  case_of bomb rsa $gpg "gpg $version, 200,000 zeros" 'expect: it holds more than a data key'
encrypt -r curve@example.com | sed '0,/^[0-9A-Za-z+\/]\{64\}$/! { s/^\([0-9A-Za-z+\/]\{20\}\)[^A]/\1A/ }' |
  case_of changed curve $gpg "gpg $version, changed by hand" 'expect: the message was changed'

key expired ed25519 '' 1d
encrypt -r expired@example.com |
  case_of expired expired $gpg "gpg $version, a key for a day" 'expect: success' 'wrap: has expired'

key revoked ed25519 '' never
message=$(encrypt -r revoked@example.com)
sed 's/^:-----/-----/' "$GNUPGHOME/openpgp-revocs.d/$(fingerprint revoked).rev" | quiet --import
case_of revoked revoked $gpg "gpg $version, a revoked key" 'expect: success' 'wrap: is revoked' <<<"$message"

passphrase='correct horse'
key locked ed25519 "$passphrase" never
encrypt -r locked@example.com |
  case_of passphrase locked $gpg "gpg $version, a key with a passphrase" 'expect: success' "passphrase: $passphrase"
passphrase=''

# Of the time of sops 3.2.
go=$GNUPGHOME/go
mkdir "$go"
cat >"$go/go.mod" <<'MOD'
module made
go 1.21
require golang.org/x/crypto v0.0.0-20190308221718-c2843e01d9a2
MOD
cat >"$go/main.go" <<'GO'
package main

import (
	"os"

	"golang.org/x/crypto/openpgp"
	"golang.org/x/crypto/openpgp/armor"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ring, err := openpgp.ReadArmoredKeyRing(os.Stdin)
	check(err)
	out, err := armor.Encode(os.Stdout, "PGP MESSAGE", nil)
	check(err)
	message, err := openpgp.Encrypt(out, ring[:1], nil, &openpgp.FileHints{IsBinary: true}, nil)
	check(err)
	_, err = message.Write([]byte(os.Args[1]))
	check(err)
	check(message.Close())
	check(out.Close())
}
GO
quiet --armor --export "$(fingerprint rsa)" >"$go/key"
(cd "$go" && GOFLAGS=-mod=mod go run . "$secret" <key) |
  case_of go rsa $gpg 'golang.org/x/crypto/openpgp of March 2019' 'expect: success'
