#!/bin/sh
# Makes the cases beside it anew. Needs age, age-keygen and age-plugin-batchpass 1.3.1 (filippo.io/age)
# and ssh-keygen. All keys are thrown away: they protect nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
secret='0123456789abcdef0123456789abcdef'

# make_case NAME EXPECT RECIPIENT IDENTITY_FILE AGE_FILE [PASSPHRASE...]
make_case() {
    name=$1 expect=$2 recipient=$3 identity=$4 file=$5
    shift 5
    {
        echo "expect: $expect"
        echo "made: $(age --version | sed 's/^/age /') and ssh-keygen, by make.sh"
        echo "recipient: $recipient"
        for passphrase in "$@"; do echo "passphrase: $passphrase"; done
        echo "--- identity"
        cat "$identity"
        echo "--- file"
        cat "$file"
    } > "$here/$name.case"
}

encrypt() { printf '%s' "$secret" | age -a -r "$1"; }

age-keygen -o x25519 2> /dev/null
age-keygen -pq -o hybrid 2> /dev/null
cat x25519 hybrid > both
x25519=$(age-keygen -y x25519)
hybrid=$(age-keygen -y hybrid)
age-keygen -o other 2> /dev/null
age-keygen -pq -o otherhybrid 2> /dev/null
encrypt "$x25519" > x25519.age
encrypt "$hybrid" > hybrid.age

make_case x25519 success "$x25519" x25519 x25519.age
make_case x25519-second-of-the-file success "$x25519" both x25519.age
make_case x25519-of-another 'no match' "$x25519" other x25519.age
make_case hybrid success "$hybrid" hybrid hybrid.age
make_case hybrid-second-of-the-file success "$hybrid" both hybrid.age
make_case hybrid-of-another 'no match' "$hybrid" otherhybrid hybrid.age

sed '3s/^......../AAAAAAAA/' hybrid.age > file
make_case hybrid-body-changed malformed "$hybrid" hybrid file
sed '$d' x25519.age > file
make_case armor-cut-off malformed "$x25519" x25519 file
sed '4s/^..../AAAA/' x25519.age > file
make_case x25519-body-changed malformed "$x25519" x25519 file

for kind in ed25519 rsa; do
    ssh-keygen -q -t $kind -b 2048 -N '' -C throw-away@example.org -f $kind
    ssh-keygen -q -t $kind -b 2048 -a 2 -N 'open sesame' -C throw-away@example.org -f $kind-protected
    for key in $kind $kind-protected; do
        encrypt "$(cat $key.pub)" > file
        case $key in
            *protected)
                make_case ssh-$key success "$(cat $key.pub)" $key file 'wrong' 'open sesame'
                make_case ssh-$key-wrong-passphrase 'failed' "$(cat $key.pub)" $key file a b c
                make_case ssh-$key-of-another 'no match' "$x25519" $key x25519.age
                ;;
            *) make_case ssh-$key success "$(cat $key.pub)" $key file ;;
        esac
    done
done
ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -C throw-away@example.org -f pem
encrypt "$(cat pem.pub)" > file
make_case ssh-rsa-pem success "$(cat pem.pub)" pem file
ssh-keygen -q -t rsa -b 2048 -m PEM -N 'open sesame' -C throw-away@example.org -f pemp
encrypt "$(cat pemp.pub)" > file
make_case ssh-rsa-pem-protected 'identity refused' "$(cat pemp.pub)" pemp file

export AGE_PASSPHRASE='open sesame' AGE_PASSPHRASE_WORK_FACTOR=10
age -a -e -j batchpass both > protected
make_case protected-file success "$hybrid" protected hybrid.age 'wrong' 'open sesame'
make_case protected-file-wrong-passphrase failed "$x25519" protected x25519.age a b c
age -a -e -j batchpass other > protected
make_case protected-file-of-another 'no match' "$x25519" protected x25519.age 'open sesame'
AGE_PASSPHRASE_WORK_FACTOR=10 age -a -r "$x25519" other > protected
make_case protected-file-without-passphrase 'identity refused' "$x25519" protected x25519.age
