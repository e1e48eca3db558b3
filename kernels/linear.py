"""Linear maps: x W^T + b, the op that takes nine tenths of the time.

The definition is two nested dot products. Three ideas make it fast in plain Numba, and none changes what a row's result
is, wherever the row stands and whoever computes it:

1. Pack the weight once, at load, into panels of PANEL outputs: panel p holds W[p PANEL + j, i] at [i, j]. The inner loop
   then runs over j, side by side in memory, and becomes vector code: one x[n, i] against PANEL outputs at a time.
2. Take FOUR inputs a step: four products join a running sum in registers before it goes back to memory, so the loop is
   bound by arithmetic instead of by storing.
3. Keep a PIECE x PANEL stretch of the panel (8 KB) in the first-level cache while all rows of a block pass over it.

Sums run in pieces of 64 inputs that are then added up. That is for accuracy, not speed: see `linear` in numpy_ops.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .jit import kernel

PANEL = 32  # outputs side by side: two AVX-512 registers, four AVX2, eight NEON
PIECE = 64  # inputs summed before they join the running total
BLOCK = 128  # rows that share a pass over a panel


class Panels(NamedTuple):
    """A linear map packed for `linear_blocks`."""

    panels: NDArray[np.float32]  # (ceil(O / PANEL), I, PANEL), zeros beyond O
    bias: NDArray[np.float32]  # (O,)


def pack(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load."""
    O, I = weight.shape
    panels = np.zeros((-(-O // PANEL), I, PANEL), np.float32)
    for p in range(panels.shape[0]):
        rows = weight[p * PANEL : (p + 1) * PANEL]
        panels[p, :, : rows.shape[0]] = rows.T
    return Panels(panels, np.ascontiguousarray(bias, np.float32))


def items(n: int, w: Panels) -> int:
    """How many work items a product of n rows has: row blocks times panels."""
    return -(-n // BLOCK) * w.panels.shape[0]


@kernel(fastmath={"contract"}, inline=True)
def add_piece(x: Any, b: Any, first: int, last: int, part: Any, total: Any) -> None:
    """total += x[first:last] b[first:last], the sum itself taken in `part`: (I,), (I, PANEL) -> (PANEL,)."""
    for j in range(PANEL):
        part[j] = np.float32(0.0)
    i = first
    while i + 4 <= last:
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        for j in range(PANEL):
            part[j] += x0 * b[i, j] + x1 * b[i + 1, j] + x2 * b[i + 2, j] + x3 * b[i + 3, j]
        i += 4
    while i < last:
        x0 = x[i]
        for j in range(PANEL):
            part[j] += x0 * b[i, j]
        i += 1
    for j in range(PANEL):
        total[j] += part[j]


@kernel(fastmath={"contract"})
def linear_blocks(start: int, stop: int, x: Any, panels: Any, bias: Any, out: Any) -> None:
    """Work items start..stop of out = x W^T + b: (N, I), (O / PANEL, I, PANEL), (O,) float32 -> (N, O)."""
    N, I = x.shape
    O = bias.shape[0]
    part = np.empty(PANEL, np.float32)
    total = np.empty((BLOCK, PANEL), np.float32)
    for item in range(start, stop):
        p = item % panels.shape[0]
        first_row = item // panels.shape[0] * BLOCK
        rows = min(BLOCK, N - first_row)
        total[:rows] = np.float32(0.0)
        for first in range(0, I, PIECE):
            for r in range(rows):
                add_piece(x[first_row + r], panels[p], first, min(first + PIECE, I), part, total[r])
        for r in range(rows):
            for j in range(min(PANEL, O - p * PANEL)):
                out[first_row + r, p * PANEL + j] = total[r, j] + bias[p * PANEL + j]
