#!/bin/sh
# Makes the trees beside it anew: `source` is the tree, `built` what kustomize makes of it with nothing decrypted before.
# Needs sops 3.13.3, kustomize 5.8.2 and gpg. Give their paths: SOPS=… KUSTOMIZE=… sh make.sh
# The keys are those of the cases of testdata/age and testdata/pgp: they protect nothing.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$here"
rm -rf source built
mkdir -p source built
export SOPS_DISABLE_VERSION_CHECK=true GNUPGHOME="$work/gnupg" HOME="$work"
mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --import keys/pgp.asc
age=$(sed -n 's/^# public key: //p' keys/age.agekey)
pq=$(sed -n 's/^# public key: //p' keys/age-pq.agekey)
pgp=$(sed -n 's/^fingerprint: //p' ../../pgp/rsa.case)
cd source

# seal FILE RECIPIENT_FLAG RECIPIENT [MORE...]
seal() {
    file=$1
    shift
    "$SOPS" encrypt "$@" --in-place "$file"
}

# A Secret whose keys are not in order, with a comment, as people write them.
secret() {
    cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: $1
# Of the shop.
stringData:
  key: value-$1
  another: other-$1
END
}

# kustomization FOLDER: a kustomization of what comes in.
kustomization() {
    mkdir -p "$1"
    { printf 'apiVersion: kustomize.config.k8s.io/%s\nkind: %s\n' "${2:-v1beta1}" "${3:-Kustomization}"; cat; } > "$1/kustomization.yaml"
}

kustomization . <<END
namePrefix: sops-
resources: [algorithms, envs, files, patches, inside, releases, global]
components: [component]
END

kustomization algorithms <<END
namePrefix: algo-
resources: [age.yaml, age-pq.yaml, pgp.yaml]
END
for name in age age-pq pgp; do secret "$name" > "algorithms/$name.yaml"; done
values='^(data|stringData)$'
seal algorithms/age.yaml --age "$age" --encrypted-regex "$values"
seal algorithms/age-pq.yaml --age "$pq" --encrypted-regex "$values"
seal algorithms/pgp.yaml --pgp "$pgp" --encrypted-regex "$values"

kustomization envs <<END
namePrefix: envs-
generatorOptions: {disableNameSuffixHash: true}
secretGenerator: [{name: secret, envs: [env.env]}]
configMapGenerator: [{name: configmap, envs: [env.env]}]
END
printf '# a comment\nkey=value-env\nspaced=a = b\n' > envs/env.env
seal envs/env.env --age "$age"

kustomization files <<END
namePrefix: files-
generatorOptions: {disableNameSuffixHash: true}
secretGenerator: [{name: secret, files: [key=file.txt]}]
configMapGenerator: [{name: configmap, files: [key=file.txt]}]
END
printf 'value-file\n' > files/file.txt
seal files/file.txt --age "$age"

kustomization component v1alpha1 Component <<END
generatorOptions: {disableNameSuffixHash: true}
secretGenerator: [{name: component, envs: [env.env]}]
END
printf 'key=value-component\n' > component/env.env
seal component/env.env --age "$age"

kustomization inside <<END
namePrefix: inside-
resources: [secret.yaml]
END
printf 'value-inside\n' > inside/blob
seal inside/blob --age "$age"
printf '{"auths": {"registry.example": {"auth": "value-docker"}}}' > inside/docker.json
seal inside/docker.json --age "$age"
cat > inside/secret.yaml <<END
apiVersion: v1
kind: Secret
metadata:
  name: secret
data:
  key: $(base64 -w0 inside/blob)
  .dockerconfigjson: $(base64 -w0 inside/docker.json)
END
rm inside/blob inside/docker.json

kustomization patches <<END
namePrefix: patches-
patches: [{path: merge1.yaml}, {path: merge2.yaml}]
generatorOptions: {disableNameSuffixHash: true}
secretGenerator: [{name: secret, literals: [key=base]}]
END
printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: secret\nstringData:\n  key: value-merge1\n' > patches/merge1.yaml
printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: secret\nstringData:\n  merge2: value-merge2\n' > patches/merge2.yaml
seal patches/merge1.yaml --age "$age" --encrypted-regex "$values"
seal patches/merge2.yaml --age "$age" --encrypted-regex "$values"

kustomization releases <<END
namePrefix: release-
resources: [whole.yaml, nested.yaml]
END
cat > releases/whole.yaml <<END
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: whole
spec:
  interval: 1h
  values:
    replicas: 3
    password: value-whole
    list: [value-first, true]
END
seal releases/whole.yaml --age "$age" --encrypted-regex '^values$'
printf 'password: value-nested\nport: 8080\n' > releases/values.yaml
seal releases/values.yaml --age "$age"
{
    printf 'apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: nested\nspec:\n  interval: 1h\n  values:\n'
    sed 's/^/    /' releases/values.yaml
} > releases/nested.yaml
rm releases/values.yaml

kustomization global <<END
resources: [secret.yaml]
END
secret global > global/secret.yaml
seal global/secret.yaml --age "$pq" --encrypted-regex "$values"

cd "$here"
"$KUSTOMIZE" build source > built/plain.yaml
# And with all that overlays do to objects.
overlay=$work/overlay
mkdir "$overlay"
cp -r source "$overlay/base"
kustomization "$overlay" <<END
resources: [base]
namespace: shop
nameSuffix: -v2
labels: [{pairs: {app.example/team: shop}, includeTemplates: true}]
commonAnnotations: {example.com/note: of the overlay}
buildMetadata: [originAnnotations, managedByLabel, transformerAnnotations]
END
"$KUSTOMIZE" build "$overlay" > built/overlay.yaml
