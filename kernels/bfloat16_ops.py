"""Linear maps in bfloat16: half the memory, up to twice the speed, three decimal digits. Opt-in, dtype="bfloat16".

A bfloat16 is the upper half of a float32: the same exponent, 8 bits of fraction instead of 24. Weights are rounded to
it once, at load, and packed two inputs to a 32-bit word. On machines with the instruction for it (vdpbf16ps) inputs are
rounded too, and each word adds two products to a float32 sum; elsewhere the weights are widened on the way into the
float32 tile, which saves the memory and loses no further digit. A machine without vectors computes in float32 from the
rounded weights.

Everything else (softmax, GELU, LayerNorm, the residual stream) stays float32.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import numba_ops
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
from .tile import BFLOAT16, BFLOAT16_STORED, COLUMNS, FEATURES, ROWS, SHAPE, tile_intrinsic

__all__ = [
    "activation", "add_layer_norm", "attention", "attention_context", "attention_probs", "attention_scores", "embed",
    "layer_norm", "linear", "linear_activation", "prepare_linear", "set_threads",
]  # fmt: skip

Array = NDArray[np.float32]

PAIRS = SHAPE.vector == 16 and "avx512bf16" in FEATURES  # whether two inputs share a word


class Panels(NamedTuple):
    """A linear map packed for `bfloat16_blocks`: panels (P, I, COLUMNS) of halves, or (P, I / 2, COLUMNS) of pairs."""

    panels: NDArray[Any]
    bias: Array  # (O,)


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


def prepare_linear(weight: Array, bias: Array) -> Any:
    """(O, I), (O,) -> panels. Called once, at load."""
    if not SHAPE.vector:
        return numba_ops.prepare_linear(widened(rounded(weight)), bias)
    O, I = weight.shape
    depth = I + I % 2 if PAIRS else I
    panels = np.zeros((-(-O // COLUMNS), depth, COLUMNS), np.uint16)
    for p in range(panels.shape[0]):
        rows = rounded(weight[p * COLUMNS : (p + 1) * COLUMNS])
        panels[p, :I, : rows.shape[0]] = rows.T
    if PAIRS:  # (P, I / 2, 2, COLUMNS) -> (P, I / 2, COLUMNS, 2) -> words
        pairs = panels.reshape(panels.shape[0], depth // 2, 2, COLUMNS).transpose(0, 1, 3, 2)
        return Panels(np.ascontiguousarray(pairs).view(np.int32)[..., 0], np.ascontiguousarray(bias, np.float32))
    return Panels(panels, np.ascontiguousarray(bias, np.float32))


if SHAPE.vector:
    multiply_bfloat16 = tile_intrinsic(BFLOAT16 if PAIRS else BFLOAT16_STORED)

    @kernel(fastmath={"contract"})
    def bfloat16_blocks(start: int, stop: int, x: Any, panels: Any, bias: Any, activation: int, out: Any) -> None:
        """Work items start..stop of out = activation(x W^T + b), x (N, words); as linear_blocks in linear.py."""
        N, depth = x.shape
        P, O = panels.shape[0], bias.shape[0]
        a, b = x.reshape(-1), panels.reshape(-1)
        tile = np.empty(ROWS * COLUMNS, np.float32)
        for item in range(start, stop):
            p = item % P
            left = p * COLUMNS
            columns = min(COLUMNS, O - left)
            block = item // P * BLOCK
            for row in range(block, min(block + BLOCK, N), ROWS):
                rows = min(ROWS, N - row)
                multiply_bfloat16(rows, a, row * depth, depth, b, p * depth * COLUMNS, tile, 0, COLUMNS, depth)
                for r in range(rows):
                    done = tile[r * COLUMNS : (r + 1) * COLUMNS]
                    for j in range(columns):
                        done[j] += bias[left + j]
                    if activation == GELU:
                        for j in range(COLUMNS):
                            done[j] = gelu_one(done[j])
                    for j in range(columns):
                        out[row + r, left + j] = done[j]


@kernel()
def round_rows(start: int, stop: int, bits: Any, out: Any) -> None:
    """`rounded`, compiled: rows of float32 bits (N, I) uint32 -> (N, I or one more) uint16, padded with 0."""
    I = bits.shape[1]
    for i in range(start, stop):
        for k in range(I):
            u = bits[i, k]
            up = np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))
            nan = (u & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
            out[i, k] = np.uint16(0x7FC0) if nan else np.uint16((u + up) >> np.uint32(16))
        for k in range(I, out.shape[1]):
            out[i, k] = np.uint16(0)


def _linear(x: Array, w: Panels, activation: int) -> Array:
    x = np.ascontiguousarray(x)
    N, I = x.shape
    out = empty(N, w.bias.shape[0])
    words: NDArray[Any] = x
    if PAIRS:
        halves = np.empty((N, I + I % 2), np.uint16)
        run(round_rows, N, x.view(np.uint32), halves, least=16)
        words = halves.view(np.int32)
    run(bfloat16_blocks, -(-N // BLOCK) * w.panels.shape[0], words, w.panels, w.bias, activation, out)
    return out


def linear(x: Array, w: Any) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY) if SHAPE.vector else numba_ops.linear(x, w)


def linear_activation(x: Array, w: Any, name: str) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    if not SHAPE.vector:
        return numba_ops.linear_activation(x, w, name)
    return _linear(x, w, GELU) if name == "gelu" else activation(linear(x, w), name)
