#!/usr/bin/env bash
# A Kubernetes API for the live tests: etcd and kube-apiserver, in a network namespace of their own.
# usage: cluster.sh      by root, with the variables SELKIE_PEER_{ETCD,IP,KUBECTL,KUBE_APISERVER,OPENSSL}
#
# Prints `FOLDER NAMESPACE INSIDE OUTSIDE` when the API answers: a folder with `kubeconfig`, `ca.crt` and the logs,
# the name of the network namespace, the address at which all that listens in it is reached (the API on port 6443),
# and the address of this machine as seen from there. Both are of the range that is set aside for benchmarks, which
# no network of the machine uses: the API server proxies to no loopback address.
# It lasts until standard input ends, so until whoever holds it is gone in whatever way. Then everything that runs in
# the namespace is ended and folder and namespace are removed. A run that could not do so is cleaned up by the next.
set -euo pipefail

ip=$SELKIE_PEER_IP
prefix=selkie-
name=$prefix$$
scratch=${TMPDIR:-/tmp}

main() {
  remove_leftovers
  trap 'remove "$name"' EXIT
  trap 'exit 143' TERM HUP INT
  folder=$scratch/$name
  mkdir -m 700 "$folder"
  make_network
  start_programs >&2
  echo "$folder $name $inside $outside"
  # The end of whoever started this is the end of its input.
  cat >/dev/null
}

# What belongs to a process that is gone.
remove_leftovers() {
  local left
  for left in $("$ip" netns list | sed -n "s/^\($prefix[0-9]\{1,\}\)\( .*\)\{0,1\}$/\1/p"); do
    kill -0 "${left#"$prefix"}" 2>/dev/null || remove "$left"
  done
}

# Nothing but what a run started is in its namespace.
remove() {
  local left pids
  for left in TERM TERM KILL; do
    pids=$("$ip" netns pids "$1" 2>/dev/null) || break
    [ -n "$pids" ] || break
    # Some may be gone by themselves.
    kill -"$left" $pids 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ -n "$("$ip" netns pids "$1" 2>/dev/null)" ] || break
      sleep 0.1
    done
  done
  # The ends of the pair of links go with the namespace.
  "$ip" netns del "$1" 2>/dev/null || true
  rm -rf "${scratch:?}/$1"
}

make_network() {
  # One of the 32768 networks of four addresses in 198.18.0.0/15, another one for every process that runs.
  local number=$((4 * ($$ % 32768)))
  local network=198.$((18 + number / 65536)).$((number / 256 % 256))
  inside=$network.$((number % 256 + 1)) outside=$network.$((number % 256 + 2))
  "$ip" netns add "$name"
  "$ip" link add "$name" type veth peer name veth netns "$name"
  "$ip" addr add "$outside/30" dev "$name"
  "$ip" link set "$name" up
  "$ip" -n "$name" link set lo up
  "$ip" -n "$name" addr add "$inside/30" dev veth
  "$ip" -n "$name" link set veth up
  # Leads nowhere: the API server does not start without a default route.
  "$ip" -n "$name" route add default via "$outside"
}

start_programs() {
  local token
  token=$("$SELKIE_PEER_OPENSSL" rand -hex 16)
  "$SELKIE_PEER_OPENSSL" genrsa -out "$folder/accounts.key" 2048
  echo "$token,admin,1,system:masters" >"$folder/tokens.csv"
  start etcd "$SELKIE_PEER_ETCD" --data-dir="$folder/etcd" --unsafe-no-fsync \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380
  start kube-apiserver "$SELKIE_PEER_KUBE_APISERVER" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address="$inside" --advertise-address="$inside" --secure-port=6443 --cert-dir="$folder/certificates" \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=RBAC --token-auth-file="$folder/tokens.csv" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$folder/accounts.key" \
    --service-account-signing-key-file="$folder/accounts.key"
  cat >"$folder/kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$inside:6443", certificate-authority: ca.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML
  wait_until_ready
}

start() {
  local log=$folder/$1.log
  shift
  "$ip" netns exec "$name" "$@" </dev/null >"$log" 2>&1 &
}

wait_until_ready() {
  local deadline=$((SECONDS + 120))
  until cp "$folder/certificates/apiserver.crt" "$folder/ca.crt" 2>/dev/null &&
    "$SELKIE_PEER_KUBECTL" --kubeconfig="$folder/kubeconfig" get --raw=/readyz >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ] || [ "$(jobs -rp | wc -l)" -lt 2 ]; then
      tail -n 5 "$folder"/*.log
      return 1
    fi
    sleep 0.3
  done
}

main
