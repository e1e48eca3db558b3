"""Linear maps in int8: a quarter of the memory, up to four times the speed, two decimal digits. Opt-in, dtype="int8".

Weights are rounded once, at load: row o of W becomes whole numbers from -127 to 127 times one scale. Inputs are rounded
as they come, token by token: whole numbers from 0 to 255 times a scale of that token, counted from its smallest input.
(With 0 in the middle, the outputs of GELU, hardly ever below -0.17, would use half the numbers.) What is multiplied and
added is whole numbers, exactly, in 32 bits; scales and sums known beforehand make it a float again:

    x[n, i] = low[n] + xs[n] xq[n, i]     W[o, i] = ws[o] wq[o, i]
    y[n, o] = xs[n] ws[o] sum_i xq[n, i] wq[o, i] + low[n] ws[o] sum_i wq[o, i] + b[o]

The instruction (vpdpbusd: four products a word) wants exactly this, an unsigned and a signed factor. On machines
without it plain loops compute the same whole numbers, so the result is bitwise the same there, only slower.

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
from ..runtime.memory import aligned, empty
from ..runtime.place import Place
from ..runtime.pool import run
from . import bfloat16_ops, numba_ops
from .gelu import gelu_in_place
from .linear import BLOCK, GELU, IDENTITY, items, place, whole_panels
from .precision import other_ops
from .tile import COLUMNS, INT8, PIECE, ROWS, in_registers

globals().update(other_ops(numba_ops))

Array = NDArray[np.float32]

WORD = 4  # numbers a 32-bit word holds
LARGEST = 127
STEPS = 255  # from the smallest input of a token to its largest


class Panels(NamedTuple):
    """A linear map packed for `int8_blocks`."""

    panels: NDArray[np.int32]  # (P, ceil(I / 4), COLUMNS) words of four int8
    scale: Array  # (P COLUMNS,)
    sums: Array  # (P COLUMNS,) of the rounded weights, scaled: what a constant input of 1 would give
    bias: Array  # (P COLUMNS,)
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
    scales = whole_panels(scale)
    return Panels(panels.view(np.int32)[..., 0], scales, sums * scales, whole_panels(bias), O)


@in_registers(INT8)
def multiply_int8(rows: int, a: Place, b: Place, s: Place, c: Place, depth: int) -> None:
    """`multiply` of words that hold four whole numbers each, unsigned in A and signed in B; sums in 32 bits, exact."""
    for r in range(rows):
        for j in range(COLUMNS):
            c.numbers[c.at + r * c.step + j] = s.numbers[s.at + r * s.step + j]
        for k in range(depth):
            word = a.numbers[a.at + r * a.step + k]
            x0, x1 = word & np.int32(255), (word >> np.int32(8)) & np.int32(255)
            x2, x3 = (word >> np.int32(16)) & np.int32(255), (word >> np.int32(24)) & np.int32(255)
            for j in range(COLUMNS):
                w = b.numbers[b.at + k * COLUMNS + j]
                w0 = np.int32(w << np.int32(24)) >> np.int32(24)
                w1 = np.int32(w << np.int32(16)) >> np.int32(24)
                w2 = np.int32(w << np.int32(8)) >> np.int32(24)
                c.numbers[c.at + r * c.step + j] += np.int32(x0 * w0 + x1 * w1 + x2 * w2 + x3 * (w >> np.int32(24)))


@helper()
def ordered(bits: Any) -> Any:
    """The bits of a float32 as an int32 that is larger where the float is. (It is its own inverse.)"""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@kernel()
def quantize_rows(start: int, stop: int, x: Any, bits: Any, out: Any, lows: Any, scales: Any) -> None:
    """Rows of float32 (N, I) -> whole numbers from 0 to STEPS as uint8 (N, words * 4), padded; low and scale (N,).

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
            out[i, k] = np.uint8(np.int32((x[i, k] - low) * inverse + np.float32(0.5)))  # positive: cut is rounded
        for k in range(I, out.shape[1]):
            out[i, k] = np.uint8(0)
        lows[i], scales[i] = low, scale


class Quantized(NamedTuple):
    """Inputs in whole numbers."""

    words: Any  # (N, words), four uint8 each
    low: Any  # (N,) the smallest input of each row
    scale: Any  # (N,) float32


@helper(fastmath={"contract"})
def scaled_back(totals: Place, low: Any, scale: Any, w: Panels, left: int, out: Place) -> None:
    """COLUMNS whole numbers of a row -> out = totals scale w.scale + low w.sums + w.bias."""
    for j in range(COLUMNS):
        c = np.uint64(left + j)
        whole = np.float32(totals.numbers[np.uint64(totals.at + j)])
        out.numbers[np.uint64(out.at + j)] = whole * (scale * w.scale[c]) + (low * w.sums[c] + w.bias[c])


@kernel()
def int8_blocks(start: int, stop: int, x: Quantized, w: Panels, activation: int, out: Any) -> None:
    """Work items start..stop of out = activation(x W^T + b); as linear_blocks in linear.py."""
    N, I = x.words.shape
    P, O = w.panels.shape[0], out.shape[1]
    a, b, y = x.words.reshape(-1), w.panels.reshape(-1), out.reshape(-1)
    c, spare = np.empty(BLOCK * COLUMNS, np.int32), np.empty(COLUMNS, np.float32)
    nothing = np.zeros(COLUMNS, np.int32)
    for item in range(start, stop):
        top, bottom, p = place(item, N, P)
        left = p * COLUMNS
        for first in range(0, I, PIECE):
            depth = min(PIECE, I - first)
            for row in range(0, bottom - top, ROWS):
                rows = min(ROWS, bottom - top - row)
                inputs, panel = Place(a, (top + row) * I + first, I), Place(b, (p * I + first) * COLUMNS, COLUMNS)
                totals = Place(c, row * COLUMNS, COLUMNS)
                if first == 0:
                    multiply_int8(rows, inputs, panel, Place(nothing, 0, 0), totals, depth)
                else:
                    multiply_int8(rows, inputs, panel, totals, totals, depth)
        whole = left + COLUMNS <= O
        for r in range(bottom - top):
            done, at = (y, (top + r) * O + left) if whole else (spare, 0)
            row = top + r
            totals = Place(c, r * COLUMNS, COLUMNS)
            scaled_back(totals, x.low[row], x.scale[row], w, left, Place(done, at, COLUMNS))
            if activation == GELU:
                gelu_in_place(done, at, COLUMNS)
            if not whole:
                out[top + r, left:] = spare[: O - left]


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N = x.shape[0]
    out = empty(N, w.width)
    numbers = empty(N, w.panels.shape[1] * WORD, dtype=np.uint8)
    lows, scales = np.empty(N, np.float32), np.empty(N, np.float32)
    run(quantize_rows, N, x, x.view(np.int32), numbers, lows, scales, least=16)
    run(int8_blocks, items(N, w), Quantized(numbers.view(np.int32), lows, scales), w, activation, out)
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
