"""The steps from the formula to the kernel for a linear map, each runnable: what bought the speed, and how much.

Every step computes the same x W^T + b. All steps but the last use one thread, so that each shows one idea; the BLAS
in steps 2 and 3 obeys OPENBLAS_NUM_THREADS, which must be 1 before NumPy is imported for that to hold (`nanodistil
bench --ladder` sets it). Whoever runs the ladder checks a step before timing it: a fast wrong product is easy.

The definition pays for its accuracy with an addition of the whole result every 64 products; the tile has that for
nearly nothing, since its part of the result is at hand. Panels without the tile are slower than the BLAS: layout alone
buys little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cpu import numba_ops
from ..cpu.linear import Panels, pack
from ..definitions import numpy_ops
from ..runtime import pool
from ..runtime.jit import kernel

Array = NDArray[np.float32]
Map = Callable[[], Array]


class Step(NamedTuple):
    """One rung: its name, the idea it adds, the computation, and how many threads it uses."""

    name: str
    adds: str
    run: Map
    threads: int


@kernel()
def three_loops(x: Any, weight: Any, bias: Any, out: Any) -> None:
    """The formula, read aloud: (N, I), (O, I), (O,) float32 -> (N, O)."""
    for n in range(x.shape[0]):
        for o in range(weight.shape[0]):
            total = np.float32(0.0)
            for i in range(x.shape[1]):
                total += x[n, i] * weight[o, i]
            out[n, o] = total + bias[o]


@kernel(fastmath={"contract"})
def plain_panels(x: Any, panels: Any, bias: Any, out: Any) -> None:
    """Panels in plain loops: (N, I), (P, I, C), (P C,) float32 -> (N, O).

    The innermost loop runs over outputs side by side, each a sum of its own, so it becomes vector code; but the sums
    live in memory, and every multiplication reads and writes one.
    """
    P, I, C = panels.shape
    sums = np.empty(C, np.float32)
    for p in range(P):
        columns = min(C, out.shape[1] - p * C)
        for n in range(x.shape[0]):
            sums[:] = np.float32(0.0)
            for i in range(I):
                for j in range(C):
                    sums[j] += x[n, i] * panels[p, i, j]
            for j in range(columns):
                out[n, p * C + j] = sums[j] + bias[p * C + j]


def _with_threads(n: int, x: Array, packed: Panels) -> Array:
    """numba_ops.linear on n threads; the number is put back."""
    before = pool.threads()
    pool.set_threads(n)
    try:
        return numba_ops.linear(x, packed)
    finally:
        pool.set_threads(before)


def steps(x: Array, weight: Array, bias: Array) -> list[Step]:
    """The ladder for (N, I), (O, I), (O,); what a real program does once, at load, is done here, outside the steps."""
    packed, plain = pack(weight, bias), numpy_ops.prepare_linear(weight, bias)
    out = np.empty((x.shape[0], weight.shape[0]), np.float32)

    def loops() -> Array:
        three_loops(x, weight, bias, out)
        return out

    def panels() -> Array:
        plain_panels(x, packed.panels, packed.bias, out)
        return out

    n = pool.threads()
    return [
        Step("three loops", "the formula, compiled: one sum at a time", loops, 1),
        Step(
            "one BLAS call",
            "vectors, blocks for the caches; packs the weight anew on each call",
            plain_blas(x, weight, bias),
            1,
        ),
        Step(
            "definition", "sums in pieces of 64: a third of the rounding error", lambda: numpy_ops.linear(x, plain), 1
        ),
        Step("packed panels", "the weight in reading order, packed once; plain loops", panels, 1),
        Step("register tile", "sums that stay in registers", lambda: _with_threads(1, x, packed), 1),
        Step("threads", f"{n} of them, each with work items of its own", lambda: _with_threads(n, x, packed), n),
    ]


def plain_blas(x: Array, weight: Array, bias: Array) -> Map:
    """x W^T + b as everybody writes it."""
    return lambda: x @ weight.T + bias
