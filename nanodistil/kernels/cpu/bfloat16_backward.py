"""The derivatives of linear maps in bfloat16, for training with float32 masters; everything else from numba_backward.

As the forward pass does (bfloat16_ops.py), both factors of a product are rounded to bfloat16, and products are added in
float32: dX = dY W, dW += dY^T X. What is kept from step to step stays float32: weights, their gradients, the
optimiser's means; db, a sum without products, is float32 too. The instruction adds two products at a time, neighbours
along the sum: for dW these are two rows of the batch, so rows of dY and of X are paired, number by number, while they
are rounded. On machines without the instruction dX is computed in float32 from the rounded weight, and dW in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.jit import kernel
from ..runtime.memory import aligned, empty
from ..runtime.native import Rows
from ..runtime.place import Place
from ..runtime.pool import run
from . import bfloat16_ops, numba_backward, numba_ops
from .bfloat16_ops import PAIRS, half, products_of_pairs, rounded, widened
from .linear import BLOCK, Panels
from .linear_backward import STRIPE, add_rows, weight_kernel
from .numba_backward import parts
from .numba_ops import rows_of
from .precision import other_ops
from .tile import BFLOAT16, COLUMNS, in_registers

globals().update(other_ops(numba_backward))

Array = NDArray[np.float32]
Words = NDArray[np.uint32]


@kernel()
def pair_rows(start: int, stop: int, bits: Place, N: int, I: int, out: Any) -> None:
    """Pairs start..stop of rows, cut in pieces: bits of float32 (N, I) -> (P, ceil(N / 2), width) words.

    A word is the number of an even row, rounded, below that of the odd row after it; 0 beyond N and I.
    """
    P, pairs, width = out.shape
    words, wide, upper = out.reshape(-1), np.uint64(width), np.uint32(16)
    for pair in range(start, stop):
        for p in range(P):
            left = p * width
            a, c = np.uint64(2 * pair * bits.step + left), np.uint64((p * pairs + pair) * width)
            b, some = a + np.uint64(bits.step), np.uint64(min(width, I - left))
            if 2 * pair + 1 < N:
                for j in range(some):
                    words[c + j] = half(bits.numbers[a + j]) | (half(bits.numbers[b + j]) << upper)
            else:
                for j in range(some):
                    words[c + j] = half(bits.numbers[a + j])
            for j in range(some, wide):
                words[c + j] = np.uint32(0)


def paired(x: Array, words: Words) -> NDArray[np.int32]:
    """x (N, I) as the words that are given, (P, ceil(N / 2), width)."""
    run(pair_rows, words.shape[1], rows_of(x.view(np.uint32)), *x.shape, words, least=8)
    return words.view(np.int32)


def prepare_backward(weight: Array, bias: Array) -> Panels:
    """(O, I), (O,) -> what `linear_backward_input` wants."""
    if not PAIRS:
        return numba_backward.prepare_backward(widened(rounded(weight)), bias)
    O, I = weight.shape
    P = -(-I // COLUMNS)
    words = aligned(P, -(-O // 2), COLUMNS, dtype=np.uint32)
    paired(np.require(weight, np.float32, ["C", "A"]), words)
    return Panels(words.view(np.int32), np.zeros(P * COLUMNS, np.float32), I)


linear_backward_input = bfloat16_ops.linear if PAIRS else numba_ops.linear


@in_registers(BFLOAT16, turned=True)
def multiply_turned_pairs(
    rows: int, a: Place, b: Place, s: Place, c: Place, depth: int, ahead: Place | None = None
) -> None:
    """`multiply_turned` of words that hold two bfloat16 each."""
    products_of_pairs(rows, a, 1, a.step, b, s, c, depth)


bfloat16_weight_blocks = weight_kernel(multiply_turned_pairs)


def linear_backward_weight(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += dy^T x and db += the sum of dy's rows: (N, O), (N, I), adding to (O, I) and (O,); as numba_backward's."""
    if not PAIRS:
        numba_backward.linear_backward_weight(dy, x, dW, db)
        return
    O, I = dW.shape
    for some in parts(dy.shape[0]):
        N = some.stop - some.start
        pairs = -(-N // 2)
        panels = paired(x[some], empty(-(-I // COLUMNS), pairs, COLUMNS, dtype=np.uint32))
        words = paired(dy[some], empty(1, pairs, O, dtype=np.uint32))[0]
        run(add_rows, -(-O // STRIPE), rows_of(dy[some]), N, db)
        run(bfloat16_weight_blocks, -(-O // BLOCK) * panels.shape[0], Rows(words), panels, dW)
