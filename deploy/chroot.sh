#!/usr/bin/env bash
# The steps of Containerfile without a container runtime, in a chroot on Debian (3.11 is Debian 12's Python): what is built
# is what the image would hold, and at last it answers as another user, with nothing but its root to read and no place to
# write. Needs root, debootstrap and curl.
#
#   deploy/chroot.sh FOLDER [PORT]
set -euo pipefail
root=$(realpath -m "${1:?a folder to build in}") port=${2:-8080}
source=$(cd "$(dirname "$0")/.." && pwd)

[ -d "$root/usr" ] || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root"
rm -rf "$root/src" "$root/opt/nanodistil"
git clone -q "$source" "$root/src"
cp -L /etc/resolv.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" # of a proxy, where there is one
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/"
inside() { chroot "$root" "$@"; }

inside python3 -m venv /opt/nanodistil
inside /opt/nanodistil/bin/pip install -q --no-cache-dir "/src[serve]"
find "$root/opt/nanodistil" -name tests -type d -prune -exec rm -r {} +
find "$root/opt/nanodistil" -path "*/site-packages/pip*" -prune -exec rm -r {} +
rm -rf "$root/src"
settings=(PATH=/opt/nanodistil/bin:/usr/bin NANODISTIL_CACHE_DIR=/opt/nanodistil/kernels HF_HUB_OFFLINE=1
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1)
inside /usr/bin/env -i "${settings[@]}" nanodistil warmup
du -sh "$root/opt/nanodistil"

# --read-only: a mount of its own, which ends with the server
unshare --mount bash -euc '
    mount --bind "$0" "$0"
    mount -o remount,bind,ro "$0"
    exec chroot --userspec=65532:65532 "$0" /usr/bin/env -i "${@:2}" nanodistil serve nanodistil-mini --port "$1"
' "$root" "$port" "${settings[@]}" &
server=$!
trap 'kill "$server"; wait "$server" || true' EXIT
for _ in $(seq 150); do
    if curl -sf "http://127.0.0.1:$port/ready" >/dev/null; then break; fi
    kill -0 "$server"
    sleep 0.2
done
curl -sf "http://127.0.0.1:$port/" -H 'Content-Type: application/json' -d "{\"inputs\": \"Hello I'm a [MASK] model.\"}"
echo
