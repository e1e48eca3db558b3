"""Linear maps in int8: a quarter of the memory, up to four times the speed, two decimal digits. Opt-in, dtype="int8".

Weights are rounded once, at load: row o of W becomes whole numbers from -127 to 127 times one scale. Inputs are rounded
as they come, token by token: whole numbers from -127 to 127 times a scale of that token. What is multiplied and added
is whole numbers, exactly, in 32 bits; the product of the two scales makes it a float again:

    y[n, o] = xs[n] ws[o] sum_i xq[n, i] wq[o, i] + b[o]

The instruction (vpdpbusd: four products a word) wants its first factor unsigned. So 128 is added to every xq, and what
that adds to the sum, 128 times the sum of wq's row, is known at load and taken off again. On machines without the
instruction plain loops compute the same whole numbers, so the result is bitwise the same there, only slower.

Everything else (softmax, GELU, LayerNorm, the residual stream) stays float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .gelu import gelu_in_place
from .jit import kernel
from .linear import BLOCK, GELU, IDENTITY, items, place, whole_panels
from .memory import aligned, empty
from .numba_ops import (
    activation,
    add_layer_norm,
    attention,
    attention_context,
    attention_probs,
    attention_scores,
    embed,
    layer_norm,
)
from .pool import run, set_threads
from .tile import COLUMNS, FEATURES, INT8, PIECE, ROWS, SHAPE, tile_intrinsic

__all__ = [
    "activation", "add_layer_norm", "attention", "attention_context", "attention_probs", "attention_scores", "embed",
    "layer_norm", "linear", "linear_activation", "prepare_linear", "set_threads",
]  # fmt: skip

Array = NDArray[np.float32]

WORD = 4  # numbers a 32-bit word holds
LARGEST = 127
OFFSET = 128  # added to inputs to make them unsigned


class Panels(NamedTuple):
    """A linear map packed for `int8_blocks`."""

    panels: NDArray[np.int32]  # (P, ceil(I / 4), COLUMNS) words of four int8
    start: NDArray[np.int32]  # (P COLUMNS,) what a sum starts from: minus what OFFSET adds to it
    scale: Array  # (P COLUMNS,)
    bias: Array  # (P COLUMNS,)
    width: int  # O


def prepare_linear(weight: Array, bias: Array) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load."""
    O, I = weight.shape
    depth = -(-I // WORD)
    scale = np.abs(weight).max(axis=1) / np.float32(LARGEST)  # (O,)
    scale[scale == 0] = 1
    panels = aligned(-(-O // COLUMNS), depth, COLUMNS, WORD, dtype=np.int8)
    start = np.zeros(panels.shape[0] * COLUMNS, np.int32)
    for p in range(panels.shape[0]):
        at = slice(p * COLUMNS, min((p + 1) * COLUMNS, O))
        rows = np.zeros((COLUMNS, depth * WORD), np.int8)
        rows[: at.stop - at.start, :I] = np.rint(weight[at] / scale[at, None])
        start[p * COLUMNS : (p + 1) * COLUMNS] = -OFFSET * rows.sum(axis=1, dtype=np.int32)
        panels[p] = rows.reshape(COLUMNS, depth, WORD).transpose(1, 0, 2)
    return Panels(panels.view(np.int32)[..., 0], start, whole_panels(scale), whole_panels(bias), O)


if SHAPE.vector == 16 and "avx512vnni" in FEATURES:
    multiply_int8 = tile_intrinsic(INT8)
else:

    @kernel(inline=True)
    def multiply_int8(
        rows: int,
        a: Any,
        a_at: int,
        lda: int,
        b: Any,
        b_at: int,
        s: Any,
        s_at: int,
        lds: int,
        c: Any,
        c_at: int,
        ldc: int,
        depth: int,
    ) -> None:
        for r in range(rows):
            for j in range(COLUMNS):
                c[c_at + r * ldc + j] = s[s_at + r * lds + j]
            for k in range(depth):
                word = a[a_at + r * lda + k]
                x0, x1 = word & np.int32(255), (word >> np.int32(8)) & np.int32(255)
                x2, x3 = (word >> np.int32(16)) & np.int32(255), (word >> np.int32(24)) & np.int32(255)
                for j in range(COLUMNS):
                    w = b[b_at + k * COLUMNS + j]
                    w0 = np.int32(w << np.int32(24)) >> np.int32(24)
                    w1 = np.int32(w << np.int32(16)) >> np.int32(24)
                    w2 = np.int32(w << np.int32(8)) >> np.int32(24)
                    c[c_at + r * ldc + j] += np.int32(x0 * w0 + x1 * w1 + x2 * w2 + x3 * (w >> np.int32(24)))


@kernel()
def quantize_rows(start: int, stop: int, x: Any, bits: Any, out: Any, scales: Any) -> None:
    """Rows of float32 (N, I) -> whole numbers + OFFSET as uint8 (N, words * 4), padded, and the scale of each row (N,).

    bits: the same memory as int32. Without its sign, a larger float is a larger whole number, and the largest of whole
    numbers is found in vectors (of floats it is not, for the sake of NaN: ten times slower). A NaN or an infinity is
    larger than all, so it becomes the scale, and the row's results are NaN or infinite too.
    """
    I = x.shape[1]
    for i in range(start, stop):
        most = np.int32(0)
        for k in range(I):
            most = max(most, np.int32(bits[i, k] & np.int32(0x7FFFFFFF)))
        scale = np.int32(most).view(np.float32) / np.float32(LARGEST) if most > 0 else np.float32(1.0)
        inverse = np.float32(1.0) / scale
        for k in range(I):
            out[i, k] = np.uint8(np.int32(x[i, k] * inverse + np.float32(OFFSET + 0.5)))  # positive: cut is rounded
        for k in range(I, out.shape[1]):
            out[i, k] = np.uint8(OFFSET)
        scales[i] = scale


@kernel(fastmath={"contract"}, inline=True)
def scaled_back(sums: Any, at: int, x_scale: Any, scale: Any, bias: Any, left: int, out: Any, out_at: int) -> None:
    """COLUMNS whole numbers of a row -> out = sums x_scale scale + bias."""
    for j in range(COLUMNS):
        column = np.uint64(left + j)
        whole = np.float32(sums[np.uint64(at + j)])
        out[np.uint64(out_at + j)] = whole * (x_scale * scale[column]) + bias[column]


@kernel()
def int8_blocks(
    start: int,
    stop: int,
    x: Any,
    x_scale: Any,
    panels: Any,
    sums_from: Any,
    scale: Any,
    bias: Any,
    activation: int,
    out: Any,
) -> None:
    """Work items start..stop of out = activation(x W^T + b), x (N, words); as linear_blocks in linear.py."""
    N, I = x.shape
    P, O = panels.shape[0], out.shape[1]
    a, b, y = x.reshape(-1), panels.reshape(-1), out.reshape(-1)
    c, spare = np.empty(BLOCK * COLUMNS, np.int32), np.empty(COLUMNS, np.float32)
    for item in range(start, stop):
        top, bottom, p = place(item, N, P)
        left = p * COLUMNS
        for first in range(0, I, PIECE):
            depth = min(PIECE, I - first)
            for row in range(0, bottom - top, ROWS):
                rows = min(ROWS, bottom - top - row)
                a_at, b_at, c_at = (top + row) * I + first, (p * I + first) * COLUMNS, row * COLUMNS
                if first == 0:
                    multiply_int8(rows, a, a_at, I, b, b_at, sums_from, left, 0, c, c_at, COLUMNS, depth)
                else:
                    multiply_int8(rows, a, a_at, I, b, b_at, c, c_at, COLUMNS, c, c_at, COLUMNS, depth)
        whole = left + COLUMNS <= O
        for r in range(bottom - top):
            done, at = (y, (top + r) * O + left) if whole else (spare, 0)
            scaled_back(c, r * COLUMNS, x_scale[top + r], scale, bias, left, done, at)
            if activation == GELU:
                gelu_in_place(done, at, COLUMNS)
            if not whole:
                out[top + r, left:] = spare[: O - left]


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N = x.shape[0]
    out = empty(N, w.width)
    numbers, scales = empty(N, w.panels.shape[1] * WORD, dtype=np.uint8), np.empty(N, np.float32)
    run(quantize_rows, N, x, x.view(np.int32), numbers, scales, least=16)
    words = numbers.view(np.int32)
    run(int8_blocks, items(N, w), words, scales, w.panels, w.start, w.scale, w.bias, activation, out)
    return out


def linear(x: Array, w: Panels) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY)


def linear_activation(x: Array, w: Panels, name: str) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    return _linear(x, w, GELU) if name == "gelu" else activation(linear(x, w), name)
