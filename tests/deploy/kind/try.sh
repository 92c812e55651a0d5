#!/usr/bin/env bash
# The chart in a real cluster: image, Valkey and a simulated OSCC-E Server in kind; installed, tested, rolled,
# upgraded by a notice, and removed. Needs docker, kind, kubectl and helm. `make kind` runs it.
set -euo pipefail
cd "$(dirname "$0")/../../.."

for tool in docker kind kubectl helm; do
    command -v "$tool" >/dev/null || { echo "kind: $tool is not installed" >&2; exit 2; }
done
docker info >/dev/null 2>&1 || { echo "kind: no Docker daemon answers" >&2; exit 2; }

cluster=${KIND_CLUSTER:-oscc-gateway}
version=${KUBERNETES:+--image=kindest/node:$KUBERNETES}
image=oscc-gateway:kind
work=$(mktemp -d)
finish() {
    code=$?
    if ((code)); then
        kubectl get pods,events --all-namespaces || true
        kubectl --namespace voice logs --selector app.kubernetes.io/name=oscc-gateway --tail 50 || true
    fi
    [ -n "${KEEP:-}" ] || kind delete cluster --name "$cluster" || true
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

docker build --file deploy/Dockerfile --tag "$image" .
docker build --file deploy/Dockerfile --target simulator --tag oscc-gateway-simulator:kind .
# shellcheck disable=SC2086 # no version is no word
kind create cluster --name "$cluster" --wait 120s $version
kind load docker-image "$image" oscc-gateway-simulator:kind --name "$cluster"
kubectl create namespace voice
# admission holds every pod to the standard that the chart promises
kubectl label namespace voice pod-security.kubernetes.io/enforce=restricted

OSCC_GATEWAY="docker run --rm $image" deploy/make-secrets.sh "$work/secrets" redis://valkey:6379
kubectl --namespace voice create secret generic oscc-gateway \
    --from-file "$work/secrets/sealing_keys" --from-file "$work/secrets/pseudonym_key"
kubectl --namespace voice create secret generic redis --from-file redis-password="$work/secrets/redis_password"
sed "s|PASSWORD|$(cat "$work/secrets/redis_password")|" tests/deploy/kind/around.yaml | kubectl --namespace voice apply --filename -
kubectl --namespace voice rollout status deployment/valkey deployment/simulator --timeout 180s

chart() {
    helm upgrade --install gateway helm/oscc-gateway --namespace voice --wait --timeout 10m \
        --values tests/deploy/kind/values.yaml "$@"
}
chart
helm test gateway --namespace voice --timeout 5m

pods() { kubectl --namespace voice get pods --selector app.kubernetes.io/component=node --output name | sort; }
before=$(pods)
chart --set-string 'notices.upkeep\.toml=id = "upkeep"
version = 1
category = "maintenance"
effective_at = 2026-01-01T00:00:00Z
texts.en = {title = "Upkeep"\, summary = "On Sunday."}'
[ "$before" = "$(pods)" ] || { echo "kind: a notice replaced pods" >&2; exit 1; }

chart --set settings.log.level=debug
[ "$before" != "$(pods)" ] || { echo "kind: other settings replaced no pod" >&2; exit 1; }
helm test gateway --namespace voice --timeout 5m
helm rollback gateway --namespace voice --wait --timeout 10m
helm uninstall gateway --namespace voice --wait
echo "kind: installed, tested, rolled, rolled back and removed"
