#!/bin/sh
# Fill a folder with the wheels of a run on a GPU, on a machine with a network, for one that has none.
#
#     tests/gpu/wheels.sh FOLDER 13 3.12            all that is needed, for CUDA 13 and Python 3.12
#     tests/gpu/wheels.sh FOLDER 12 3.11 cupy       CuPy alone, where the rest is there
#
# Of NVIDIA's libraries the run needs cuBLASLt and NVRTC: a machine with the CUDA toolkit or with PyTorch has them.
# For one with neither, add `ctk` (about 1 GB): tests/gpu/wheels.sh FOLDER 13 3.12 cupy rest ctk
set -eu
[ $# -ge 3 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
folder=$1 cuda=$2 python=$3
shift 3
[ $# -gt 0 ] || set -- cupy rest
names=""
for part in "$@"; do
    case "$part" in
        cupy) names="$names cupy-cuda${cuda}x>=14 ml_dtypes>=0.5" ;;
        rest) names="$names numpy>=2.0 numba>=0.61 safetensors regex pytest hypothesis" ;;
        ctk) names="$names cupy-cuda${cuda}x[ctk]>=14" ;;
        *) echo "unknown: $part" >&2; exit 2 ;;
    esac
done
platforms=""
for version in 2_17 2_24 2_27 2_28; do platforms="$platforms --platform manylinux_${version}_x86_64"; done
platforms="$platforms --platform manylinux2014_x86_64"
mkdir -p "$folder"
# shellcheck disable=SC2086  # several words each
exec "${PYTHON:-python3}" -m pip download --only-binary=:all: --implementation cp --python-version "$python" \
    $platforms -d "$folder" $names
