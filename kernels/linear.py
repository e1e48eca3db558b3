"""Linear maps: x W^T + b, the op that takes nine tenths of the time.

The definition is two nested dot products. What makes it fast:

1. Pack the weight once, at load, into panels: panel p holds W[p COLUMNS + j, i] at [i, j], some outputs side by side,
   so that the innermost loop reads memory in the order it lies there. NumPy's BLAS packs the weight anew on every call.
2. Multiply tile by tile, the sums of a tile in registers: tile.py.
3. Let a block of rows pass over one panel after the other: the block stays in the second-level cache, and each panel is
   read from memory once a block.
4. Copy the block first, its rows a little further apart. Rows of 3072 floats begin 12288 bytes from each other, a
   multiple of 4096, and the first-level cache keeps addresses that far apart in the same 8 places: a tile's 14 rows
   drove each other out. With 16 floats between them the product of 14 rows went from 79 to 105 GFLOP/s.
5. Add the bias and apply the activation while the finished tile is still in the first-level cache.

A row's result is the same chain of additions wherever it stands, so it does not depend on batch, order or threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gelu import gelu_one
from .jit import kernel
from .tile import COLUMNS, ROWS, multiply

BLOCK = ROWS * max(1, 56 // ROWS)  # rows that pass over a panel together: with I = 3072, 0.7 MB, so in the second level
APART = 16  # floats between the rows of a copied block, so that no two begin in the same set of the first-level cache
IDENTITY, GELU = 0, 1


class Panels(NamedTuple):
    """A linear map packed for `linear_blocks`."""

    panels: NDArray[np.float32]  # (ceil(O / COLUMNS), I, COLUMNS), zeros beyond O
    bias: NDArray[np.float32]  # (O,)


def pack(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load."""
    O, I = weight.shape
    panels = np.zeros((-(-O // COLUMNS), I, COLUMNS), np.float32)
    for p in range(panels.shape[0]):
        rows = weight[p * COLUMNS : (p + 1) * COLUMNS]
        panels[p, :, : rows.shape[0]] = rows.T
    return Panels(panels, np.ascontiguousarray(bias, np.float32))


def items(n: int, w: Panels) -> int:
    """How many work items a product of n rows has: row blocks times panels."""
    return int(-(-n // BLOCK) * w.panels.shape[0])


@kernel(fastmath={"contract"})
def linear_blocks(start: int, stop: int, x: Any, panels: Any, bias: Any, activation: int, out: Any) -> None:
    """Work items start..stop of out = activation(x W^T + b): (N, I), (P, I, COLUMNS), (O,) float32 -> (N, O)."""
    N, I = x.shape
    P, O = panels.shape[0], bias.shape[0]
    b = panels.reshape(-1)
    tile = np.empty(ROWS * COLUMNS, np.float32)
    blocks = (N + BLOCK - 1) // BLOCK
    height = (N + blocks - 1) // max(blocks, 1)  # blocks, and tiles, of equal height: a last tile of 2 rows is slow
    step = I + APART
    a = np.empty(BLOCK * step, np.float32)
    copied = -1
    for item in range(start, stop):
        p = item % P
        left = p * COLUMNS
        columns = min(COLUMNS, O - left)
        block = item // P * height
        end = min(block + height, N)
        tiles = (end - block + ROWS - 1) // ROWS
        if block != copied:
            copied = block
            for r in range(end - block):
                for k in range(I):
                    a[r * step + k] = x[block + r, k]
        for t in range(tiles):
            row = block + (end - block) * t // tiles
            rows = block + (end - block) * (t + 1) // tiles - row
            multiply(rows, a, (row - block) * step, step, b, p * I * COLUMNS, tile, 0, COLUMNS, I)
            for r in range(rows):
                done = tile[r * COLUMNS : (r + 1) * COLUMNS]
                for j in range(columns):
                    done[j] += bias[left + j]
                if activation == GELU:
                    for j in range(COLUMNS):
                        done[j] = gelu_one(done[j])
                for j in range(columns):
                    out[row + r, left + j] = done[j]
