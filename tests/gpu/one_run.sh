#!/bin/sh
# Everything that a GPU has to be asked, in one run of at most eight minutes, offline.
#
#     tests/gpu/one_run.sh --out FOLDER                     on a machine with a GPU of NVIDIA's
#     tests/gpu/one_run.sh --out FOLDER --only kernels      a step again, or several (--only kernels,graphs)
#     tests/gpu/one_run.sh --out FOLDER --rehearse          anywhere: in the emulator, small
#     tests/gpu/one_run.sh --out FOLDER --rehearse --break index,race,status,hang     kernels that are wrong on purpose
#
# It uses the packages the machine has. What it has not is taken from a folder of wheels, if one was brought along
# (--wheels FOLDER; tests/gpu/wheels.sh fills it on a machine with a network): they are unpacked into a temporary
# folder that comes before the machine's own. Nothing is asked of a network. Without --out, results go to $OUT or, if
# there is none, to gpu-run/. The steps, their limits and what is written: tests/gpu/run.py.
#
# Ends with 0 if nothing failed, 1 if something did (report.md names it), 2 if it could not begin.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
started=$(date +%s)
wheels=""
out=${OUT:-gpu-run}
rest=""
while [ $# -gt 0 ]; do
    case "$1" in
        --out | --wheels)
            [ $# -gt 1 ] || { echo "$1 wants a folder" >&2; exit 2; }
            if [ "$1" = --out ]; then out=$2; else wheels=$2; fi
            shift 2 ;;
        --only | --break | --seconds | --test-seconds)
            [ $# -gt 1 ] || { echo "$1 wants a value" >&2; exit 2; }
            rest="$rest $1 $2"
            shift 2 ;;
        --rehearse) rest="$rest $1"; shift ;;
        *) echo "unknown: $1; the head of $0 says what there is" >&2; exit 2 ;;
    esac
done
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)

# $PYTHON if it is set; otherwise a Python that is new enough, the first that has NumPy and CuPy, or just the first.
python=${PYTHON:-}
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -z "${PYTHON:-}" ] || break
    command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    [ -n "$python" ] || python=$candidate
    if "$candidate" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("numpy") and u.find_spec("cupy")))'
    then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "no Python of 3.11 or later here" >&2; exit 2; }

if [ -n "$wheels" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    if ! "$python" "$here/unpack.py" "$wheels" "$site" >"$out/facts.txt" 2>&1; then
        cat "$out/facts.txt" >&2
        exit 2
    fi
    PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
fi
cd "$root" || exit 2
# shellcheck disable=SC2086  # words of its own are what `rest` is made of
PYTHONUNBUFFERED=1 "$python" "$here/run.py" --out "$out" --started "$started" $rest
