"""Linear maps: x W^T + b, the op that takes nine tenths of the time.

Definition: linear and linear_activation in numpy_ops.py.

The definition is two nested dot products. What makes it fast:

1. Pack the weight once, at load, into panels: panel p holds W[p COLUMNS + j, i] at [i, j], some outputs side by side,
   so that the innermost loop reads memory in the order it lies there. NumPy's BLAS packs the weight anew on every call.
   Packing is a transposition, block by block in registers (transpose.py): about twice the time of a copy.
2. Multiply tile by tile, the sums of a tile in registers: tile.py.
3. Cut the sum over the inputs, for accuracy into pieces of 64 (`linear` in numpy_ops; the tile does it), for the caches
   into stretches, in the outermost loop: a stretch of a strip of panels fills two thirds of the first-level cache, is
   read once, and all tiles of a block of rows pass over it there.
4. Let a block of rows pass over one strip after the other: the block stays in the second-level cache, and each panel
   comes from memory once a block. A strip is 32 columns at least, so that rows are fetched from there seldom enough.
5. Have the next stretch on its way meanwhile: every tile asks for a little of it. If the first asked for all, it would
   wait: a core has some 12 places for what it waits for, each taken for the 200 cycles to the third level, and the 256
   lines of a stretch are as long in coming as five tiles in computing.
6. Let sums stand apart until they are done, begun with the bias, and apply the activation there. Where results go, rows
   lie whole pages apart: they share few sets of the cache, and a load is held up by the store to the row above, of
   whose address it sees the same last 12 bits.

A row's result is the same chain of additions wherever it stands, so it does not depend on batch, order or threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.jit import helper, kernel
from ..runtime.memory import aligned, first_level, room
from ..runtime.place import Place
from ..runtime.pool import run
from .gelu import gelu_in_place
from .tile import COLUMNS, PIECE, ROWS, SHAPE, multiply
from .transpose import LANES, turn

TILES, TALL = 16, 8  # so many tiles of at most so many rows pass over a strip together, or as tall a block of others
STRIP = max(1, 32 // COLUMNS)  # panels that a tile of rows meets while it is in the first level
FEW = 4 * ROWS  # up to so many rows weights come as fast as memory gives them, if it is asked in one order
FIRST_LEVEL = first_level()
IDENTITY, GELU = 0, 1


@helper()
def block(rows: int) -> int:
    """Rows that pass over a strip together, in tiles of so many: with I = 768, 0.3 MB, so in the second level."""
    return rows * (TILES if rows <= TALL else TILES * TALL // rows)


BLOCK = block.py_func(ROWS)


class Panels(NamedTuple):
    """A linear map packed for `linear_blocks`."""

    panels: NDArray[Any]  # (P, I, COLUMNS), P = ceil(O / COLUMNS), zeros beyond O; I in words, see `Dot` in tile.py
    bias: NDArray[np.float32]  # (P COLUMNS,), zeros beyond O
    width: int  # O


def whole_panels(bias: NDArray[np.float32], columns: int = COLUMNS) -> NDArray[np.float32]:
    """(O,) -> (P columns,), zeros beyond O."""
    return np.pad(np.asarray(bias, np.float32), (0, -len(bias) % columns))


@helper()
def turn_inputs(weight: Any, p: int, first: int, depth: int, I: int, out: Any, at: int) -> None:
    """Inputs first .. first + depth <= LANES of panel p: out[at + i COLUMNS + j] = W[p COLUMNS + j, first + i].

    weight: (O I,), in rows; 0 beyond O.
    """
    left = p * COLUMNS
    rows = min(COLUMNS, weight.shape[0] // I - left)
    for r in range(0, rows, LANES):
        if depth == LANES:
            here = Place(weight, (left + r) * I + first, I)
            turn(here, min(LANES, rows - r), np.float32(1), Place(out, at + r, COLUMNS))
        else:  # a block would reach beyond its rows
            for i in range(depth):
                for j in range(r, min(r + LANES, rows)):
                    out[at + i * COLUMNS + j] = weight[(left + j) * I + first + i]
    for i in range(depth):
        for j in range(rows, COLUMNS):
            out[at + i * COLUMNS + j] = np.float32(0)


@kernel(first=True)
def turn_panels(start: int, stop: int, weight: Any, panels: Any) -> None:
    """Panels start..stop of a weight, block by block: (O, I) -> (P, I, COLUMNS)."""
    I = weight.shape[1]
    w, out = weight.reshape(-1), panels.reshape(-1)
    for p in range(start, stop):
        for first in range(0, I, LANES):
            turn_inputs(w, p, first, min(LANES, I - first), I, out, (p * I + first) * COLUMNS)


@kernel()
def copy_panels(start: int, stop: int, weight: Any, panels: Any) -> None:
    """What `turn_panels` does, for machines without vectors."""
    for p in range(start, stop):
        rows = weight[p * COLUMNS : (p + 1) * COLUMNS]
        panels[p, :, : len(rows)] = rows.T
        panels[p, :, len(rows) :] = np.float32(0)


def pack(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load; in training, after every step."""
    O, I = weight.shape
    panels = aligned(-(-O // COLUMNS), I, COLUMNS)
    lay_out = turn_panels if SHAPE.vector else copy_panels
    run(lay_out, panels.shape[0], np.require(weight, np.float32, ["C", "A"]), panels)
    return Panels(panels, whole_panels(bias), O)


def unpack(w: Panels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weight (O, I) and bias (O,) that `pack` was given, bit for bit."""
    P, I, _ = w.panels.shape
    weight = w.panels.transpose(0, 2, 1).reshape(P * COLUMNS, I)  # a copy, outputs in order again
    return np.ascontiguousarray(weight[: w.width]), w.bias[: w.width].copy()


class Stretch(NamedTuple):
    """What all tiles of a block of rows pass over while it lies in the first level."""

    panels: int
    inputs: int


def stretch(n: int) -> Stretch:
    """That of a product of n rows: two thirds of the first level. One panel if memory decides, as for few rows."""
    panels = STRIP if n > FEW else 1
    return Stretch(panels, max(1, FIRST_LEVEL * 2 // 3 // (4 * panels * COLUMNS * PIECE)) * PIECE)


def items(n: int, w: Any, rows: int = ROWS, strip: int = 1) -> int:
    """How many work items a product of n rows has: blocks of tiles of `rows` of them, times strips of panels."""
    return int(-(-n // block.py_func(rows)) * -(-w.panels.shape[0] // strip))


@helper()
def place(item: int, N: int, P: int, rows: int = ROWS) -> tuple[int, int, int]:
    """The rows top..bottom and the panel, or strip, of a work item; P: how many there are.

    Blocks are of equal height, in whole tiles, but the last.
    """
    blocks = (N + block(rows) - 1) // block(rows)
    height = ((N + blocks - 1) // blocks + rows - 1) // rows * rows
    top = item // P * height
    return min(top, N), min(top + height, N), item % P


@helper()
def asked(n: int, rows: int = ROWS, row_of_b: int = COLUMNS) -> int:
    """Words that a tile asks for in each round, if the tiles of n rows together ask for a row of B."""
    tiles = (n + rows - 1) // rows
    return (row_of_b + tiles - 1) // tiles


def blocks_kernel(multiply: Any, height: int = ROWS) -> Any:
    """`linear_blocks` for a tile of so many rows: float32 below, bfloat16 in bfloat16_ops."""
    size_of_block = block.py_func(height)

    @kernel(fastmath={"contract"})
    def linear_blocks(
        start: int, stop: int, x: Any, panels: Any, bias: Any, stretch: Stretch, activation: int, out: Any
    ) -> None:
        """Work items start..stop of out = activation(x W^T + b), each of a block of rows and a stretch's panels.

        (N, I), (P, I, COLUMNS), (P COLUMNS,) -> (N, O).
        """
        N, I = x.shape
        P, O = panels.shape[0], out.shape[1]
        strip, deep = stretch.panels, stretch.inputs
        a, b, y = x.reshape(-1), panels.reshape(-1), out.reshape(-1)
        c = room(STRIP * size_of_block * COLUMNS)
        for item in range(start, stop):
            top, bottom, number = place(item, N, (P + strip - 1) // strip, height)
            n, begin = bottom - top, number * strip
            end = min(begin + strip, P)
            size = n * COLUMNS  # of a panel's sums: row r, column j are at c[(p - begin) size + r COLUMNS + j]
            each = asked(n, height)
            for first in range(0, I, deep):
                depth = min(deep, I - first)
                for row in range(0, n, height):
                    rows, inputs = min(height, n - row), Place(a, (top + row) * I + first, I)
                    for p in range(begin, end):
                        panel = Place(b, (p * I + first) * COLUMNS, COLUMNS)
                        ahead = Place(b, panel.at + depth * (COLUMNS + row // height * each), each)
                        sums = Place(c, (p - begin) * size + row * COLUMNS, COLUMNS)
                        if first == 0:
                            multiply(rows, inputs, panel, Place(bias, p * COLUMNS, 0), sums, depth, ahead)
                        else:
                            multiply(rows, inputs, panel, sums, sums, depth, ahead)
            if activation == GELU:
                gelu_in_place(c, 0, (end - begin) * size)
            for p in range(begin, end):
                left = p * COLUMNS
                width = np.uint64(min(COLUMNS, O - left))
                for r in range(n):
                    here, there = np.uint64((p - begin) * size + r * COLUMNS), np.uint64((top + r) * O + left)
                    for j in range(width):
                        y[there + j] = c[here + j]

    return linear_blocks


linear_blocks = blocks_kernel(multiply)
