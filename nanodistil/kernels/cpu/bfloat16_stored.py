"""Linear maps with weights stored in bfloat16, on machines whose arithmetic is float32.

Half the bytes come from memory, which is what a short batch waits for. Each word that comes holds two columns, half a
row apart: a shift makes a float32 of the one, a mask of the other, and no digit is lost. So the sums are those of
linear.py with rounded weights, bit for bit.

Two instructions of widening for four vectors of B stand beside 24 multiply-adds. So the first tile of a block keeps
what it has widened of a piece of a panel, in the first-level cache, and all others are the float32 tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.jit import helper, kernel
from ..runtime.memory import room
from ..runtime.place import Place
from .gelu import gelu_in_place
from .linear import BLOCK, GELU, asked, place
from .tile import BFLOAT16_STORED, COLUMNS, PIECE, ROWS, in_registers, multiply

WIDE = BFLOAT16_STORED.row_of_b  # words of a row of a panel


@helper()
def number_of(half: Any) -> Any:
    """The float32 that a bfloat16, as the lower 16 bits of a whole number, stands for."""
    return np.uint32(np.uint32(half) << np.uint32(16)).view(np.float32)


@in_registers(BFLOAT16_STORED)
def multiply_halves(
    rows: int, a: Place, b: Place, s: Place, c: Place, kept: Place, depth: int, ahead: Place | None = None
) -> None:
    """`multiply` with B stored in bfloat16, two columns a word. B in float32 goes to `kept`, as a packed panel."""
    for k in range(depth):
        for j in range(WIDE):
            w = np.uint32(b.numbers[b.at + k * WIDE + j])
            kept.numbers[kept.at + k * COLUMNS + j] = number_of(w & np.uint32(0xFFFF))
            kept.numbers[kept.at + k * COLUMNS + WIDE + j] = number_of(w >> np.uint32(16))
    multiply(rows, a, kept, s, c, depth)


@kernel(fastmath={"contract"})
def widening_blocks(start: int, stop: int, x: Any, panels: Any, bias: Any, activation: int, out: Any) -> None:
    """Work items start..stop of out = activation(x W^T + b), as linear_blocks: panels (P, I, WIDE) of words."""
    N, I = x.shape
    P, O = panels.shape[0], out.shape[1]
    a, b, y = x.reshape(-1), panels.reshape(-1), out.reshape(-1)
    spare, widened = room(BLOCK * COLUMNS), Place(room(PIECE * COLUMNS), 0, COLUMNS)
    for item in range(start, stop):
        top, bottom, p = place(item, N, P)
        left, height = p * COLUMNS, bottom - top
        each = asked(height, ROWS, WIDE)
        whole = left + COLUMNS <= O
        c, at, step = (y, top * O + left, O) if whole else (spare, 0, COLUMNS)
        for r in range(height):  # one array for all that sums start from: another is counted, 40 cycles a tile
            for j in range(np.uint64(COLUMNS)):
                c[np.uint64(at + r * step) + j] = bias[np.uint64(left) + j]
        for first in range(0, I, PIECE):
            depth = min(PIECE, I - first)
            panel = Place(b, (p * I + first) * WIDE, WIDE)
            for row in range(0, height, ROWS):
                rows = min(ROWS, height - row)
                inputs, sums = Place(a, (top + row) * I + first, I), Place(c, at + row * step, step)
                ahead = Place(b, panel.at + depth * (WIDE + row // ROWS * each), each)
                if row == 0:
                    multiply_halves(rows, inputs, panel, sums, sums, widened, depth, ahead)
                else:
                    multiply(rows, inputs, widened, sums, sums, depth, ahead)
        for r in range(height):
            if activation == GELU:
                gelu_in_place(c, at + r * step, COLUMNS)
            if not whole:
                out[top + r, left:] = spare[r * COLUMNS : r * COLUMNS + O - left]
