#!/usr/bin/env bash
# make demo: the main job from beginning to end, on a simulated AWS and a real API server.
#   demo.sh              starts an API server of its own
#   demo.sh KUBECONFIG   uses the cluster of that kubeconfig, in the namespace amishare-demo
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly owner=999988887777 region=us-east-1 image=ami-0123456789abcdef0 rogue=666655554444
readonly bin=${CARGO_TARGET_DIR:-target}/debug
tmp=$(mktemp -d)
children=()

finish() {
    local status=$?
    trap - EXIT INT TERM
    if [[ -n ${namespace:-} && -n ${installed:-} ]]; then
        # While the operator still runs: it takes back what the shares gave.
        kubectl delete amidistributions,amishares --all --timeout=30s >/dev/null 2>&1 || true
        [[ $namespace == default ]] || kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1 || true
        [[ -n $had_definition ]] || kubectl delete --kustomize crds --wait=false >/dev/null 2>&1 || true
    fi
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if ((status != 0 && status != 130)); then
        for log in "$tmp"/*.log; do [[ -s $log ]] && { echo "--- ${log##*/}"; tail -n 15 "$log"; } >&2; done
    fi
    rm -rf "$tmp"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step() { printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"; }
show() { printf '%s$ %s%s\n' "$dim" "$*" "$plain"; "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }

# until_true SECONDS WHAT COMMAND...: waits for a condition, with a deadline.
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$what did not happen within the time it should take"
        sleep 0.1
    done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

assets=$("$bin/envtest" build --only-servers)
venv=$(tests/python/venv.sh)
kubectl() { "$assets/kubectl" ${namespace:+--namespace "$namespace"} "$@"; }
aws() { "$venv/bin/aws" "$@"; }

started=$SECONDS
if [[ -n ${1:-} ]]; then
    step "Using the cluster of $1, namespace amishare-demo"
    export KUBECONFIG=$1 namespace=amishare-demo
    kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
else
    step "Starting etcd, kube-apiserver and kube-controller-manager"
    "$bin/envtest" start --with-parent --kubeconfig "$tmp/kubeconfig" >"$tmp/cluster.log" 2>&1 &
    children+=($!)
    until_true 120 "the start of the API server" test -s "$tmp/kubeconfig"
    export KUBECONFIG=$tmp/kubeconfig namespace=default
fi
export KUBECACHEDIR=$tmp/kubectl-cache

step "Starting a simulated AWS and the operator"
aws_port=$(free_port)
export AWS_ENDPOINT_URL=http://127.0.0.1:$aws_port AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
export AWS_ACCESS_KEY_ID=$owner AWS_SECRET_ACCESS_KEY=simulated
"$bin/amishare" simulate --listen "127.0.0.1:$aws_port" --scenario tests/demo/aws.yaml >"$tmp/simulator.log" 2>&1 &
children+=($!)
had_definition=$(kubectl get crd amishares.amishare.dev --ignore-not-found --output name)
kubectl apply --server-side --kustomize crds
kubectl wait --for=condition=Established crd/amishares.amishare.dev crd/amidistributions.amishare.dev --timeout=30s >/dev/null
installed=yes
probe_port=$(free_port)
"$bin/amishare" run --namespaces "$namespace" --health-address "127.0.0.1:$probe_port" --metrics-address "127.0.0.1:$probe_port" \
    --log-format text >"$tmp/operator.log" 2>&1 &
children+=($!)
ready() { python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$probe_port/readyz')"; }
until_true 60 "the start of the operator" ready

step "Sharing: kubectl apply -k config/samples"
show kubectl apply -k config/samples
kubectl wait amishares base partner organization encrypted --for=condition=Ready --timeout=30s >/dev/null
observed() { [[ $(kubectl get amishare audit -o 'jsonpath={.status.pendingChanges}') ]]; }
until_true 30 "the report of the observing share" observed
show kubectl get amishares
echo
echo "One image, two shares: AWS holds their union."
permissions() {
    aws ec2 describe-image-attribute --image-id "$image" --attribute launchPermission \
        --query 'LaunchPermissions[].UserId' --output text
}
show_permissions() {
    printf '%s$ aws ec2 describe-image-attribute --image-id %s --attribute launchPermission%s\n' "$dim" "$image" "$plain"
    permissions
}
show_permissions
echo
echo "The share in mode Observe changes nothing and says what it would do:"
kubectl get amishare audit -o 'jsonpath={.status.pendingChanges[*]}{"\n"}'

step "Encrypted: who is given an image gets a grant on its key first"
key=$(kubectl get amishare encrypted -o 'jsonpath={.status.image.kmsKeyArns[0]}')
show aws kms list-grants --key-id "$key" --query 'Grants[].[Name,GranteePrincipal]' --output text
show kubectl get amishare encrypted -o 'jsonpath=can launch it: {.status.consumers.able}, cannot: {.status.consumers.unable}{"\n"}'

step "Copies: an AmiDistribution has an image in other Regions, and shares each copy"
kubectl wait amidistribution/base --for=condition=Ready --timeout=30s >/dev/null || fail "the copies are not there: $(kubectl get amidistribution base -o "jsonpath={.status}")"
show kubectl get amidistributions
kubectl get amidistribution base -o 'jsonpath={range .status.targets[*]}{.name}{"\t"}{.region}{"\t"}{.imageId}{"\n"}{end}'

step "Drift: somebody shares the image with account $rogue, past Git"
show aws ec2 modify-image-attribute --image-id "$image" --launch-permission "Add=[{UserId=$rogue}]"
show_permissions
permissions | grep -q "$rogue" || fail "the rogue account was gone before it was shown"
corrected() { ! permissions | grep -q "$rogue"; }
echo "The share is checked every 10 minutes by itself (spec.interval). Or now, when asked:"
show kubectl annotate --overwrite amishare base "reconcile.amishare.dev/requestedAt=$(date --iso-8601=seconds)"
until_true 30 "the removal of the rogue account" corrected
told() { kubectl get events --field-selector reason=DriftCorrected -o 'jsonpath={.items[*].message}' | grep -q "$rogue"; }
until_true 10 "the event" told
show_permissions
kubectl get events --field-selector reason=DriftCorrected -o custom-columns=REASON:.reason,MESSAGE:.message

step "Refusals: AWS refuses the whole call for one closed account; the others are served all the same"
kubectl apply -f tests/demo/closed-account.yaml
kubectl wait amishare/closed-account --for=condition=Stalled --timeout=30s >/dev/null
show kubectl get amishare closed-account
kubectl get amishare closed-account -o 'jsonpath={.status.conditions[?(@.type=="Ready")].message}{"\n"}'
echo
echo "And a manifest with mistakes does not get past kubectl apply:"
show kubectl apply -f tests/demo/mistake.yaml || true

step "Done in $((SECONDS - started)) s"
if [[ -t 0 && -t 1 ]]; then
    cat <<TEXT
Everything goes on running until you press Ctrl-C. In another terminal:

  export KUBECONFIG=$KUBECONFIG AWS_ENDPOINT_URL=$AWS_ENDPOINT_URL AWS_REGION=$region AWS_ACCESS_KEY_ID=$owner AWS_SECRET_ACCESS_KEY=simulated
  $assets/kubectl -n $namespace get amishares -o wide
  $assets/kubectl -n $namespace describe amishare base
  $venv/bin/aws ec2 describe-image-attribute --image-id $image --attribute launchPermission

TEXT
    wait "${children[-1]}" || true
else
    echo "Not a terminal: cleaning up. On a terminal it goes on running for you to try."
fi
