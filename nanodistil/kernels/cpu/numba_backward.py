"""The derivatives on compiled kernels, float32: the names of numpy_backward.

Gradients of weights are added in an order that does not depend on the number of threads, so a training run is bitwise
the same with any.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..definitions import numpy_backward
from ..definitions.numpy_backward import HEAD_ROWS
from ..definitions.numpy_ops import Activation
from ..definitions.sentences import Sentences
from ..definitions.step import Step
from ..runtime.memory import empty
from ..runtime.pool import run
from . import gelu
from .adamw import STRETCH, adamw_numbers, square_sums
from .attention import QKV
from .attention_backward import attention_backward_heads
from .dropout import drop_rows, dropping
from .embed_backward import STRIP, scatter_strips
from .layer_norm import ROWS_AN_ITEM, Sum, add_layer_norm_backward_blocks, layer_norm_backward_blocks
from .linear import BLOCK, Panels
from .linear_backward import DEPTH, STRIPE, add_rows, pack_transpose, panels_of_rows, weight_blocks
from .losses import cosine_distance_rows, cross_entropy_rows, divergence_rows, squared_error_rows
from .numba_ops import ROWS_A_THREAD, attention_with, masks, rows_of
from .numba_ops import linear as linear_backward_input
from .tile import COLUMNS

__all__ = [
    "HEAD_ROWS", "activation_backward", "adamw", "add_layer_norm_backward", "attention_backward", "attention_dropped",
    "cosine_distance", "cross_entropy", "divergence", "dropout", "embed_backward", "layer_norm_backward",
    "linear_backward_input", "linear_backward_weight", "prepare_backward", "squared_error", "sum_of_squares",
]  # fmt: skip

Array = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def prepare_backward(weight: Array, bias: Array) -> Panels:
    """(O, I), (O,) -> what `linear_backward_input` wants."""
    return pack_transpose(weight)


def linear_backward_weight(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += dy^T x and db += the sum of dy's rows: (N, O), (N, I), adding to (O, I) and (O,).

    The rows of dy and x may lie apart. dW and db must be contiguous: TypeError.
    """
    O, I = dW.shape
    for some in parts(dy.shape[0]):
        N, rows = some.stop - some.start, rows_of(dy[some])
        panels = panels_of_rows(rows_of(x[some]), empty(-(-I // COLUMNS), N, COLUMNS))
        run(add_rows, -(-O // STRIPE), rows, N, db)
        run(weight_blocks, -(-O // BLOCK) * panels.shape[0], rows, panels, dW)


def parts(N: int) -> list[slice]:
    """0..N, DEPTH rows at a time."""
    return [slice(first, min(first + DEPTH, N)) for first in range(0, N, DEPTH)]


def activation_backward(dy: Array, x: Array, which: Activation) -> Array:
    """dy times the activation's slope at x: (N, F), (N, F) -> (N, F)."""
    kernel = gelu.BACK.get(which) if isinstance(which, str) else None
    if kernel is None:
        return numpy_backward.activation_backward(dy, x, which)
    dx = empty(*x.shape)
    run(kernel, x.shape[0], np.ascontiguousarray(dy), np.ascontiguousarray(x), dx, least=ROWS_A_THREAD)
    return dx


def layer_norm_backward(dy: Array, x: Array, weight: Array, dweight: Array, dbias: Array, eps: float) -> Array:
    """dx of layer_norm(x): (N, D), (N, D), (D,), adding to (D,) and (D,) -> (N, D)."""
    return _layer_norm_backward(layer_norm_backward_blocks, dy, np.ascontiguousarray(x), weight, dweight, dbias, eps)


def add_layer_norm_backward(
    dy: Array, x: Array, residual: Array, weight: Array, dweight: Array, dbias: Array, eps: float
) -> Array:
    """The same of layer_norm(x + residual): -> (N, D), the gradient of x and of residual alike."""
    total = Sum(np.ascontiguousarray(x), np.ascontiguousarray(residual))
    return _layer_norm_backward(add_layer_norm_backward_blocks, dy, total, weight, dweight, dbias, eps)


def _layer_norm_backward(
    blocks: Any, dy: Array, x: Array | Sum, weight: Array, dweight: Array, dbias: Array, eps: float
) -> Array:
    N, D = dy.shape
    dx, items = empty(N, D), -(-N // ROWS_AN_ITEM)
    sums = np.zeros((items, 2, D))
    run(blocks, items, np.ascontiguousarray(dy), x, np.ascontiguousarray(weight), eps, sums, dx)
    dweight += sums[:, 0].sum(0)
    dbias += sums[:, 1].sum(0)
    return dx


def embed_backward(dx: Array, ids: Ints, positions: Ints, dwords: Array, dplaces: Array) -> None:
    """Every row of dx goes to its word and its place: (N, D), (N,), (N,), adding to (V, D) and (P, D)."""
    strips = -(-dx.shape[1] // STRIP)
    run(scatter_strips, strips, np.ascontiguousarray(dx), np.ascontiguousarray(ids), dwords)
    run(scatter_strips, strips, np.ascontiguousarray(dx), np.ascontiguousarray(positions), dplaces)


def dropout(x: Array, rate: float, key: int) -> Array:
    """x / (1 - rate), with a share `rate` of it 0: any shape but (). dx is dropout(dy, rate, key)."""
    if rate == 0:
        return x
    out = empty(*x.shape)
    shape = math.prod(x.shape[:-1]), x.shape[-1]
    numbers = np.ascontiguousarray(x).reshape(shape)
    run(drop_rows, shape[0], numbers, dropping(rate, key), out.reshape(shape), least=ROWS_A_THREAD)
    return out


def attention_dropped(q: Array, k: Array, v: Array, who: Sentences, rate: float, key: int) -> Array:
    """`attention` with dropout on the probabilities, as training has it: (M, D), 2 x (N, D) -> (M, D)."""
    return attention_with(dropping(rate, key), q, k, v, who)


def attention_backward(
    dcontext: Array, q: Array, k: Array, v: Array, context: Array, who: Sentences, rate: float, key: int
) -> tuple[Array, Array, Array]:
    """dq, dk, dv of attention_dropped (of attention: rate 0): (M, D), ... -> (M, D), 2 x (N, D).

    context is not looked at: attention_backward.py says why.
    """
    (M, D), N = q.shape, k.shape[0]
    dq, dk, dv = empty(M, D), empty(N, D), empty(N, D)
    x, dx = QKV(rows_of(q), rows_of(k), rows_of(v)), QKV(dq, dk, dv)
    items = (len(who.starts) - 1) * who.heads
    run(attention_backward_heads, items, rows_of(dcontext), x, masks(who), dropping(rate, key), dx)
    return dq, dk, dv


def cross_entropy(logits: Array, labels: Ints, scale: float, dlogits: Array) -> float:
    """The sum over rows of -log softmax(logits)[label]: (M, V), (M,), adding to (M, V) -> a number."""
    return _summed(cross_entropy_rows, logits, labels, np.float32(scale), out=dlogits)


def divergence(student: Array, teacher: Array, temperature: float, scale: float, dstudent: Array) -> float:
    """The sum over rows of KL(p_T || p_S), p = softmax(. / temperature): 2 x (M, V), adding to (M, V) -> a number."""
    numbers = np.float32(temperature), np.float32(scale / temperature)
    return _summed(divergence_rows, student, teacher, *numbers, out=dstudent)


def squared_error(student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
    """The sum of (student - teacher)^2: 2 x (M, V), adding to (M, V) -> a number."""
    return _summed(squared_error_rows, student, teacher, np.float32(scale), out=dstudent)


def cosine_distance(student: Array, teacher: Array, scale: float, dstudent: Array) -> float:
    """The sum over rows of 1 - cos(student, teacher): 2 x (N, D), adding to (N, D) -> a number."""
    return _summed(cosine_distance_rows, student, teacher, np.float32(scale), out=dstudent)


def _summed(rows: Any, x: Array, truth: NDArray[Any], *numbers: np.float32, out: Array) -> float:
    """The losses of all rows of x, each compared with its row of `truth`, added in their order; gradients go to out."""
    losses = np.empty(x.shape[0])
    run(rows, x.shape[0], np.ascontiguousarray(x), np.ascontiguousarray(truth), *numbers, losses, out)
    return float(losses.sum())


def sum_of_squares(x: Array) -> float:
    """The sum of x^2 in float64: (n,) -> a number."""
    sums = np.empty(-(-len(x) // STRETCH))  # one for every stretch, whoever computes it
    run(square_sums, len(sums), x, sums)
    return float(sums.sum())


def adamw(x: Array, dx: Array, m: Array, v: Array, step: Step) -> None:
    """One step of x against its gradient, in place: 4 x (n,)."""
    run(adamw_numbers, len(x), x, dx, m, v, step.rounded(np.float32), least=STRETCH)
