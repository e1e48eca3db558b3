"""What the kernels find on this machine, as plain facts: the processor, the tile, threads, the cache, and a self-test.

The self-test is for the case nobody can rule out: a processor, a hypervisor or a version of LLVM that gets vector code
wrong. It multiplies matrices of awkward sizes and compares with NumPy; it takes about a millisecond, so every
process does it before it trusts the kernels (backend.py).
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from ..cpu import numba_ops, tile
from ..runtime import granted, pool, store, target

# Of LLVM's names, those that decide about the speed of a matrix product, here or in the lower precisions.
TELLING = (
    "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512vl", "avx512bw", "avx512vnni", "avx512bf16",
    "amx-bf16", "amx-int8", "neon", "dotprod", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip
SIZES = ((1, 1, 1), (1, 64, 40), (13, 65, 33), (14, 128, 32), (15, 7, 31), (29, 200, 97))  # N, I, O


def cpu_model() -> str:
    """The processor as it calls itself."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def features() -> list[str]:
    """What the processor can do, as far as it matters here."""
    host = target.host_features()
    return [name for name in TELLING if name in host]


def cpu() -> dict[str, Any]:
    """Name, LLVM's name for its kind, and features."""
    asked = {v: os.environ[v] for v in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_DISABLE_JIT") if v in os.environ}
    return {
        "name": cpu_model(),
        "architecture": platform.machine(),
        "llvm": llvm.get_host_cpu_name(),
        "features": features(),
        "overridden": asked,
        "target": target.here(),
    }


def register_tile() -> dict[str, Any]:
    """The tile's sizes; vector_bits is 0 if it is plain loops. amx: the dtypes that have a matrix at a time instead."""
    from ..cpu import amx, bfloat16_ops, int8_tile

    dots = {"bfloat16": bfloat16_ops.DOT, "int8": int8_tile.KIND.dot}
    return {
        "rows": tile.ROWS,
        "columns": tile.COLUMNS,
        "vector_bits": 32 * tile.SHAPE.vector,
        "compiled": not target.INTERPRETED,
        "amx": [dtype for dtype, dot in dots.items() if isinstance(dot, amx.Tiles)],
    }


def bits_depend_on() -> dict[str, Any]:
    """What decides about the last bits of the kernels' results: the compiler, and what it compiles for."""
    from importlib.metadata import version

    features = sorted(tile.FEATURES.intersection(TELLING))
    return {"numba": version("numba"), "tile": list(tile.SHAPE), "features": features}


def self_test(ops: Any = numba_ops) -> str:
    """ "" if the linear maps of `ops` are what they should be, else which sizes (rows, inner, columns) are wrong.

    The factors are whole numbers that float32, bfloat16 and int8 all hold exactly (each input row reaches from 0 to
    255, each row of weights to 127), and so are all sums: the result must be equal to the last bit in any dtype.
    """
    if target.INTERPRETED or pool._only_compile:
        return ""  # nothing compiled is run
    wrong = []
    mixed = np.arange(32768) ** 2 * 40503 >> 7  # at random enough; to import numpy.random takes 10 ms
    for N, I, O in SIZES:
        x, weight = mixed[: N * I].reshape(N, I) % 256, mixed[-O * I :].reshape(O, I) % 255 - 127
        bias = mixed[:O] % 199 - 99
        x[:, 0], x[:, -1], weight[:, 0] = 0, 255, 127
        got = ops.linear(x.astype(np.float32), ops.prepare_linear(weight.astype(np.float32), bias.astype(np.float32)))
        if not np.array_equal(got, x @ weight.T + bias):
            wrong.append(f"{N} x {I} x {O}")
    return ", ".join(wrong)


def threads() -> dict[str, Any]:
    """How many threads kernels use, and what was found that limits them."""
    return {"used": pool.threads(), "limits": granted.thread_limits()}


def cache() -> dict[str, Any]:
    """The folder of compiled kernels: where, how many, how large, and why they cannot be loaded from there, or none
    kept ("" if they can)."""
    folder, why_not_readable, why_not_writable = store.state()
    sizes: list[int] = []
    with contextlib.suppress(OSError):
        sizes = list(store.listed().values())
    return {
        "folder": folder and str(folder),
        "files": len(sizes),
        "bytes": sum(sizes),
        "why_not_readable": why_not_readable,
        "why_not_writable": why_not_writable,
    }


def share_cache() -> None:
    """Let every user load what root has compiled; without effect for others than root."""
    store.share()
