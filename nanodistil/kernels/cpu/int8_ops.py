"""Linear maps in int8: a quarter of the memory, up to four times the speed, two decimal digits. Opt-in, dtype="int8".

Weights are rounded once, at load: row o of W becomes whole numbers from -127 to 127 times one scale. Inputs are rounded
as they come, token by token: whole numbers from 0 to 255 times a scale of that token, counted from its smallest input.
(With 0 in the middle, the outputs of GELU, hardly ever below -0.17, would use half the numbers.) What is multiplied and
added is whole numbers, exactly, in 32 bits; scales and sums known beforehand make it a float again:

    x[n, i] = low[n] + xs[n] xq[n, i]     W[o, i] = ws[o] wq[o, i]
    y[n, o] = (xs[n] sum_i xq[n, i] wq[o, i] + low[n] sum_i wq[o, i]) ws[o] + b[o]

Every machine computes the same whole numbers, whatever its instruction (int8_tile.py). As they are exact, nothing is
gained by cutting the sums into pieces, as linear.py does: a tile runs over all inputs, and no sum is ever stored before
it is whole.

Everything else (softmax, GELU, LayerNorm, the residual stream) stays float32, and the maps of a head are bfloat16. How
often the embedded model's first word is float32's, of 2,000 masks (tests/bench/low_precision.py): with 0 in the middle
95.2 %, counted from the smallest 96.2 %, and with the head in bfloat16 97.1 %. bfloat16 throughout: 99.7 %.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..definitions.numpy_ops import Activation
from ..runtime.jit import helper, kernel
from ..runtime.memory import aligned, empty, room
from ..runtime.place import Place
from ..runtime.pool import run
from . import bfloat16_ops, numba_ops
from .asking import ask_to_write
from .gelu import gelu_in_place
from .int8_tile import COLUMNS, KIND, Scales, multiply_int8, scaled_back
from .linear import GELU, IDENTITY, asked, items, place, whole_panels
from .precision import other_ops

globals().update(other_ops(numba_ops))

Array = NDArray[np.float32]

WORD, OFFSET, ROWS = KIND.inputs, KIND.offset, KIND.dot.shape.rows
STORED = np.uint8 if WORD == 4 else np.uint16  # an input
LARGEST = 127
STEPS = 255  # from the smallest input of a token to its largest


class Panels(NamedTuple):
    """A linear map packed for `int8_blocks`."""

    panels: NDArray[np.int8]  # (P, ceil(I / WORD), COLUMNS, WORD)
    begin: NDArray[np.int32]  # (P COLUMNS,) what each sum starts from, for OFFSET
    scales: Scales
    width: int  # O


def prepare_linear(weight: Array, bias: Array) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load."""
    O, I = weight.shape
    depth = -(-I // WORD)
    scale = np.abs(weight).max(axis=1) / np.float32(LARGEST)  # (O,)
    scale[scale == 0] = 1
    panels = aligned(-(-O // COLUMNS), depth, COLUMNS, WORD, dtype=np.int8)
    sums = np.zeros(panels.shape[0] * COLUMNS, np.int32)
    for p in range(panels.shape[0]):
        at = slice(p * COLUMNS, min((p + 1) * COLUMNS, O))
        rows = np.zeros((COLUMNS, depth * WORD), np.int8)
        rows[: at.stop - at.start, :I] = np.rint(weight[at] / scale[at, None])
        sums[p * COLUMNS : (p + 1) * COLUMNS] = rows.sum(axis=1, dtype=np.int32)
        panels[p] = rows.reshape(COLUMNS, depth, WORD).transpose(1, 0, 2)
    scales = Scales(whole_panels(scale, COLUMNS), sums.astype(np.float32), whole_panels(bias, COLUMNS))
    return Panels(panels, np.int32(OFFSET) * sums, scales, O)


@helper()
def ordered(bits: Any) -> Any:
    """The bits of a float32 as an int32 that is larger where the float is. (It is its own inverse.)"""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@kernel(first=True)
def quantize_rows(start: int, stop: int, x: Any, bits: Any, out: Any, lows: Any, scales: Any) -> None:
    """Rows of float32 (N, I) -> whole numbers (N, words * WORD), from 0 to STEPS less OFFSET; low and scale (N,).

    bits: the same memory as int32. The smallest and the largest of whole numbers are found in vectors; of floats they
    are not, for the sake of NaN, and that took ten times as long. NaN and infinity come out as the smallest or largest,
    so they become the scale, and the row's results are NaN or infinite too.
    """
    I = x.shape[1]
    for i in range(start, stop):
        least, most = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
        for k in range(I):
            number = ordered(bits[i, k])
            least, most = min(least, number), max(most, number)
        low = np.int32(ordered(np.int32(least))).view(np.float32)
        scale = (np.int32(ordered(np.int32(most))).view(np.float32) - low) / np.float32(STEPS)
        inverse = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
        for k in range(I):
            out[i, k] = np.int32((x[i, k] - low) * inverse + np.float32(0.5)) - OFFSET  # positive: cut is rounded
        for k in range(I, out.shape[1]):
            out[i, k] = 0
        lows[i], scales[i] = low, scale


class Quantized(NamedTuple):
    """Inputs in whole numbers."""

    words: Any  # (N, words), WORD of them each
    low: Any  # (N,) the smallest input of each row
    scale: Any  # (N,) float32


@helper()
def widened(panels: Any, first: int, wide: Any) -> None:
    """wide[:] = as many weights of panels, flat, from the first."""
    for i in range(np.uint64(wide.shape[0])):
        wide[i] = panels[np.uint64(first) + i]


@kernel()
def int8_blocks(start: int, stop: int, x: Quantized, w: Panels, activation: int, out: Any) -> None:
    """Work items start..stop of out = activation(x W^T + b); as linear_blocks in linear.py."""
    N, I = x.words.shape  # I in words, and so is the length of a panel
    P, O = w.panels.shape[0], out.shape[1]
    a, b, y = x.words.reshape(-1), w.panels.reshape(-1), out.reshape(-1)
    c, spare = room(ROWS * COLUMNS).view(np.int32), room(COLUMNS)
    wide = np.empty(I * COLUMNS * WORD if WORD == 2 else 0, np.int16)  # a panel as the tile reads it
    words = wide.view(np.int32) if WORD == 2 else b.view(np.int32)
    for item in range(start, stop):
        top, bottom, p = place(item, N, P, ROWS)
        left = p * COLUMNS
        if WORD == 2:
            widened(b, left * I * WORD, wide)
        panel = Place(words, 0 if WORD == 2 else left * I, COLUMNS)
        each, next_panel = asked(bottom - top, ROWS, COLUMNS * WORD), (left + COLUMNS) * I * WORD
        whole = left + COLUMNS <= O
        for first in range(top, bottom, ROWS):
            rows = min(ROWS, bottom - first)
            if whole:
                ask_to_write(rows, Place(y, first * O + left, O), COLUMNS)
            begin, ahead = Place(w.begin, left, 0), Place(b, next_panel + (first - top) // ROWS * each * I, each)
            multiply_int8(rows, Place(a, first * I, I), panel, begin, Place(c, 0, COLUMNS), I, ahead)
            for r in range(rows):
                row = first + r
                done, at = (y, row * O + left) if whole else (spare, 0)
                totals = Place(c, r * COLUMNS, COLUMNS)
                scaled_back(totals, x.low[row], x.scale[row], w.scales, left, Place(done, at, COLUMNS))
                if activation == GELU:
                    gelu_in_place(done, at, COLUMNS)
                if not whole:
                    out[row, left:] = spare[: O - left]


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N = x.shape[0]
    out = empty(N, w.width)
    numbers = empty(N, w.panels.shape[1] * WORD, dtype=STORED)
    lows, scales = np.empty(N, np.float32), np.empty(N, np.float32)
    run(quantize_rows, N, x, x.view(np.int32), numbers, lows, scales, least=16)
    run(int8_blocks, items(N, w, ROWS), Quantized(numbers.view(np.int32), lows, scales), w, activation, out)
    return out


prepare_head = bfloat16_ops.prepare_head  # after the maps of a head nothing averages out


def linear(x: Array, w: Any) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY) if isinstance(w, Panels) else bfloat16_ops.linear(x, w)


def linear_activation(x: Array, w: Any, which: Activation) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    if not isinstance(w, Panels):
        return bfloat16_ops.linear_activation(x, w, which)
    return _linear(x, w, GELU) if which == "gelu" else numba_ops.activation(linear(x, w), which)
