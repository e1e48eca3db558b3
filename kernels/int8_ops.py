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

from .gelu import gelu_one
from .jit import kernel
from .linear import BLOCK, GELU, IDENTITY
from .memory import empty
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
from .tile import COLUMNS, FEATURES, INT8, ROWS, SHAPE, tile_intrinsic

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
    scale: Array  # (O,)
    excess: NDArray[np.int32]  # (O,) what OFFSET adds to each sum
    bias: Array  # (O,)


def prepare_linear(weight: Array, bias: Array) -> Panels:
    """(O, I), (O,) -> panels. Called once, at load."""
    O, I = weight.shape
    depth = -(-I // WORD) * WORD
    scale = np.abs(weight).max(axis=1) / np.float32(LARGEST)  # (O,)
    scale[scale == 0] = 1
    panels = np.zeros((-(-O // COLUMNS), depth, COLUMNS), np.int8)
    excess = np.zeros(O, np.int32)
    for p in range(panels.shape[0]):
        at = slice(p * COLUMNS, min((p + 1) * COLUMNS, O))
        rows = np.rint(weight[at] / scale[at, None]).astype(np.int8)
        excess[at] = OFFSET * rows.sum(axis=1, dtype=np.int32)
        panels[p, :I, : rows.shape[0]] = rows.T
    words = panels.reshape(panels.shape[0], depth // WORD, WORD, COLUMNS).transpose(0, 1, 3, 2)
    packed = np.ascontiguousarray(words).view(np.int32)[..., 0]  # (P, I / 4, COLUMNS)
    return Panels(packed, scale.astype(np.float32), excess, np.ascontiguousarray(bias, np.float32))


if SHAPE.vector == 16 and "avx512vnni" in FEATURES:
    _multiply_tile = tile_intrinsic(INT8)

    @kernel(inline=True)
    def multiply_int8(
        rows: int, a: Any, a_at: int, lda: int, b: Any, b_at: int, c: Any, c_at: int, ldc: int, depth: int
    ) -> None:
        _multiply_tile(rows, a, a_at, lda, b, b_at, c, c_at, ldc, depth)

else:

    @kernel(inline=True)
    def multiply_int8(
        rows: int, a: Any, a_at: int, lda: int, b: Any, b_at: int, c: Any, c_at: int, ldc: int, depth: int
    ) -> None:
        for r in range(rows):
            for j in range(COLUMNS):
                c[c_at + r * ldc + j] = np.int32(0)
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
def quantize_rows(start: int, stop: int, x: Any, out: Any, scales: Any) -> None:
    """Rows of float32 (N, I) -> whole numbers + OFFSET as uint8 (N, words * 4), padded, and the scale of each row
    (N,)."""
    I = x.shape[1]
    for i in range(start, stop):
        largest = np.float32(0.0)
        for k in range(I):
            largest = max(largest, abs(x[i, k]))
        scale = largest / np.float32(LARGEST) if largest > 0 else np.float32(1.0)
        inverse = np.float32(1.0) / scale
        for k in range(I):
            out[i, k] = np.uint8(np.int32(np.floor(x[i, k] * inverse + np.float32(OFFSET + 0.5))))
        for k in range(I, out.shape[1]):
            out[i, k] = np.uint8(OFFSET)
        scales[i] = scale


@kernel(fastmath={"contract"})
def int8_blocks(
    start: int,
    stop: int,
    x: Any,
    x_scale: Any,
    panels: Any,
    scale: Any,
    excess: Any,
    bias: Any,
    activation: int,
    out: Any,
) -> None:
    """Work items start..stop of out = activation(x W^T + b), x (N, words); as linear_blocks in linear.py."""
    N, depth = x.shape
    P, O = panels.shape[0], bias.shape[0]
    a, b = x.reshape(-1), panels.reshape(-1)
    tile = np.empty(ROWS * COLUMNS, np.int32)
    done = np.empty(COLUMNS, np.float32)
    for item in range(start, stop):
        p = item % P
        left = p * COLUMNS
        columns = min(COLUMNS, O - left)
        block = item // P * BLOCK
        for row in range(block, min(block + BLOCK, N), ROWS):
            rows = min(ROWS, N - row)
            multiply_int8(rows, a, row * depth, depth, b, p * depth * COLUMNS, tile, 0, COLUMNS, depth)
            for r in range(rows):
                for j in range(columns):
                    whole = tile[r * COLUMNS + j] - excess[left + j]
                    done[j] = np.float32(whole) * (x_scale[row + r] * scale[left + j]) + bias[left + j]
                if activation == GELU:
                    for j in range(columns):
                        done[j] = gelu_one(done[j])
                for j in range(columns):
                    out[row + r, left + j] = done[j]


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N = x.shape[0]
    out = empty(N, w.bias.shape[0])
    numbers, scales = np.empty((N, w.panels.shape[1] * WORD), np.uint8), np.empty(N, np.float32)
    run(quantize_rows, N, x, numbers, scales, least=16)
    items = -(-N // BLOCK) * w.panels.shape[0]
    run(int8_blocks, items, numbers.view(np.int32), scales, w.panels, w.scale, w.excess, w.bias, activation, out)
    return out


def linear(x: Array, w: Panels) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY)


def linear_activation(x: Array, w: Panels, name: str) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    return _linear(x, w, GELU) if name == "gelu" else activation(linear(x, w), name)
