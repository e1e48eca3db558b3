"""Linear maps in bfloat16: half the memory, up to twice the speed, three decimal digits. Opt-in, dtype="bfloat16".

A bfloat16 is the upper half of a float32: the same exponent, 8 bits of fraction instead of 24. Weights are rounded to
it once, at load, and packed two inputs to a 32-bit word. On machines with the instruction for it (vdpbf16ps) inputs are
rounded too, and each word adds two products to a float32 sum; with AMX 16 words at a time (amx.py). Elsewhere the
weights are widened on the way into the float32 tile, which saves the memory and loses no further digit. A machine
without vectors computes in float32 from the rounded weights.

Everything else (softmax, GELU, LayerNorm, the residual stream) stays float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..definitions.numpy_ops import Activation
from ..runtime.jit import helper, kernel
from ..runtime.memory import aligned, empty
from ..runtime.place import Place
from ..runtime.pool import run
from . import amx, numba_ops
from .bfloat16_stored import number_of, widening_blocks
from .linear import GELU, IDENTITY, Panels, blocks_kernel, items, stretch, turn_inputs, whole_panels
from .precision import other_ops
from .tile import BFLOAT16, BFLOAT16_STORED, COLUMNS, SHAPE, has_tile, in_registers
from .transpose import LANES

globals().update(other_ops(numba_ops))

Array = NDArray[np.float32]

PAIRS = has_tile(BFLOAT16)  # whether the instruction is there
DOT = amx.BFLOAT16 if PAIRS and has_tile(amx.BFLOAT16) else BFLOAT16
# Two numbers share a word: inputs 2 k and 2 k + 1 of a column, or columns j and j + COLUMNS / 2 of an input.
DEEP, WIDE, UPPER = (2, COLUMNS, COLUMNS) if PAIRS else (1, BFLOAT16_STORED.row_of_b, BFLOAT16_STORED.row_of_b)


def rounded(x: Array) -> NDArray[np.uint16]:
    """float32 -> the nearest bfloat16, ties to even, as its 16 bits: any shape. NaN stays NaN.

    >>> widened(rounded(np.array([1.0, 1.00390625, -2.5], np.float32)))
    array([ 1. ,  1. , -2.5], dtype=float32)
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.where(np.isnan(x), np.uint16(0x7FC0), ((bits + up) >> np.uint32(16)).astype(np.uint16))


def widened(bits: NDArray[np.uint16]) -> Array:
    """The bits of bfloat16 -> float32, exactly: any shape."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


@helper()
def half(bits: Any) -> Any:
    """`rounded`, compiled: the bits of a float32, as uint32 -> those of the nearest bfloat16, in the lower half."""
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.uint32(0x7FC0) if nan else np.uint32((bits + up) >> np.uint32(16))


@kernel(first=True)
def turn_words(start: int, stop: int, weight: Any, panels: Any) -> None:
    """Panels start..stop of a weight, rounded: (O, I) -> (P, ceil(I / DEEP), WIDE) words.

    The upper half of a word is the number UPPER further on: of the next input, or of a column half a row away.
    """
    I, depth = weight.shape[1], panels.shape[1]
    w, out = weight.reshape(-1), panels.reshape(-1)
    block = np.zeros(LANES * COLUMNS, np.float32)
    bits = block.view(np.uint32)
    for p in range(start, stop):
        for first in range(0, I, LANES):
            some = min(LANES, I - first)
            block[some * COLUMNS :] = np.float32(0)
            turn_inputs(w, p, first, some, I, block, 0)
            for k in range((some + DEEP - 1) // DEEP):
                at, a = np.uint64((p * depth + first // DEEP + k) * WIDE), np.uint64(k * DEEP * COLUMNS)
                for j in range(np.uint64(WIDE)):
                    out[at + j] = half(bits[a + j]) | half(bits[a + np.uint64(UPPER) + j]) << np.uint32(16)


def prepare_linear(weight: Array, bias: Array) -> Any:
    """(O, I), (O,) -> panels (P, ceil(I / DEEP), WIDE) of words that hold two bfloat16. Called once, at load."""
    if not SHAPE.vector:
        return numba_ops.prepare_linear(widened(rounded(weight)), bias)
    O, I = weight.shape
    panels = aligned(-(-O // COLUMNS), -(-I // DEEP), WIDE, dtype=np.uint32)
    run(turn_words, panels.shape[0], np.require(weight, np.float32, ["C", "A"]), panels)
    return Panels(panels.view(np.int32), whole_panels(bias), O)


prepare_head = prepare_linear


@helper(fastmath={"contract"})
def products_of_pairs(rows: int, a: Place, down: int, across: int, b: Place, s: Place, c: Place, depth: int) -> None:
    """`products` of tile.py, of words that hold two bfloat16 each."""
    for r in range(rows):
        sums = np.zeros(COLUMNS, np.float32)
        for k in range(depth):
            x = np.uint32(a.numbers[a.at + r * down + k * across])
            for j in range(COLUMNS):
                w = np.uint32(b.numbers[b.at + k * COLUMNS + j])
                sums[j] += number_of(x >> np.uint32(16)) * number_of(w >> np.uint32(16))
                sums[j] += number_of(x & np.uint32(0xFFFF)) * number_of(w & np.uint32(0xFFFF))
        for j in range(COLUMNS):
            c.numbers[c.at + r * c.step + j] = s.numbers[s.at + r * s.step + j] + sums[j]


@in_registers(DOT)
def multiply_pairs(rows: int, a: Place, b: Place, s: Place, c: Place, depth: int, ahead: Place | None = None) -> None:
    """`multiply` of words that hold two bfloat16 each: the sum of both products joins a float32 sum."""
    products_of_pairs(rows, a, a.step, 1, b, s, c, depth)


bfloat16_blocks = blocks_kernel(multiply_pairs, DOT.shape.rows) if PAIRS else widening_blocks


@kernel()
def round_rows(start: int, stop: int, bits: Any, out: Any) -> None:
    """`rounded`, compiled: rows of float32 bits (N, I) uint32 -> (N, I or one more) uint16, padded with 0."""
    I = bits.shape[1]
    for i in range(start, stop):
        for k in range(I):
            out[i, k] = half(bits[i, k])
        for k in range(I, out.shape[1]):
            out[i, k] = np.uint16(0)


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N, I = x.shape
    out = empty(N, w.width)
    if not PAIRS:
        run(bfloat16_blocks, items(N, w), x, w.panels, w.bias, activation, out)
        return out
    halves = empty(N, I + I % 2, dtype=np.uint16)
    run(round_rows, N, x.view(np.uint32), halves, least=16)
    part = stretch(N)
    count = items(N, w, DOT.shape.rows, part.panels)
    run(bfloat16_blocks, count, halves.view(np.int32), w.panels, w.bias, part, activation, out)
    return out


def linear(x: Array, w: Any) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY) if SHAPE.vector else numba_ops.linear(x, w)


def linear_activation(x: Array, w: Any, which: Activation) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    if not SHAPE.vector:
        return numba_ops.linear_activation(x, w, which)
    return _linear(x, w, GELU) if which == "gelu" else numba_ops.activation(linear(x, w), which)
