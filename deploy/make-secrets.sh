#!/bin/sh
# Makes the secrets of a gateway as files with one value each, for `*_FILE` settings.
#
#   deploy/make-secrets.sh FOLDER                         # one node, on the memory bus
#   deploy/make-secrets.sh FOLDER redis://redis.example:6379   # nodes that share a Redis
#
# The keys come from `oscc-gateway keys`: of the path, or of the .venv beside this folder (`make venv`). For
# another command set OSCC_GATEWAY:
#   OSCC_GATEWAY="docker run --rm oscc-gateway" deploy/make-secrets.sh deploy/compose/secrets redis://valkey:6379
#
# Only the owner may open the folder. The files in it are readable for all, because containers run under other
# user ids. Existing files are never overwritten: with new keys every session would end.
set -eu

folder=${1:?usage: make-secrets.sh FOLDER [redis://HOST:PORT]}
bus=${2:-memory://}
case $bus in
    *://*) ;;
    *)
        echo "make-secrets.sh: $bus is no address, as in redis://redis.example:6379." >&2
        exit 1
        ;;
esac
beside=$(dirname "$0")/../.venv/bin/oscc-gateway
make_keys() {
    if [ -n "${OSCC_GATEWAY:-}" ]; then
        # shellcheck disable=SC2086 # the command may have words of its own
        $OSCC_GATEWAY keys
    elif command -v oscc-gateway > /dev/null; then
        oscc-gateway keys
    elif [ -x "$beside" ]; then
        "$beside" keys
    else
        echo "make-secrets.sh: oscc-gateway is not installed: run make venv, or set OSCC_GATEWAY to its command." >&2
        return 1
    fi
}
keys=$(make_keys)

umask 077
mkdir -p "$folder"
chmod 0700 "$folder"
for name in sealing_keys pseudonym_key admin_token redis_password redis_admin_password bus_url grafana_password; do
    if [ -e "$folder/$name" ]; then
        echo "make-secrets.sh: $folder/$name is there already; nothing was changed." >&2
        exit 1
    fi
done

random() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
put() {
    cat > "$folder/$1"
    chmod 0444 "$folder/$1"
}

printf '%s\n' "$keys" | sed -n 's/^ *"\(k[0-9]*:.*\)",$/\1/p' | put sealing_keys
printf '%s\n' "$keys" | sed -n 's/^pseudonym_key = "\(.*\)"$/\1/p' | put pseudonym_key
random | put admin_token
random | put grafana_password
random | put redis_password
random | put redis_admin_password
case $bus in
    memory://*) printf %s "$bus" ;;
    *) printf '%s://oscc-gateway:%s@%s' "${bus%%://*}" "$(cat "$folder/redis_password")" "${bus#*://}" ;;
esac | put bus_url
echo "made in $folder: sealing_keys pseudonym_key admin_token redis_password redis_admin_password bus_url grafana_password"
