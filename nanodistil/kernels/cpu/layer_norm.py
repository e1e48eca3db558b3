"""LayerNorm, and the addition that comes before it: of the residual, or of what a token is and where it stands.

Definition: layer_norm, add_layer_norm and embed_layer_norm in numpy_ops.py; layer_norm_backward in numpy_backward.py.

A row of D numbers is read twice: once for the sum, once for the squared deviations (two passes, because the one-pass
formula E[x^2] - E[x]^2 cancels). Both sums are taken in float64: they enter every element of the result, and in float64
they are exact for the purpose. "reassoc" lets each run in several lanes at once. What is done to a row is put into its
kernel (`forced`): LLVM would rather call it, which costs 30 ns a row.

Adding inside the kernel saves writing and reading the sum once more: (N, D) floats each way. The embeddings' sum saves
more, since NumPy, on one thread, writes the words and the places apart before it adds them: with the LayerNorm 4.2 ms
for 1024 tokens of 768 numbers, 1.0 so (two threads; for 128 tokens 94 us and 48).

The derivative recomputes the statistics, which costs less than having kept them apart from x. dx is row by row, like
the norm itself; but dweight and dbias are sums over all rows, to which every thread contributes. A work item is
therefore a block of ROWS_AN_ITEM rows, always the same ones, with a row of float64 sums of its own, and these are added
up at the end in their order: the same bits with any number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..runtime.jit import helper, kernel

ROWS_AN_ITEM = 32  # of the backward pass: D float64 sums twice an item, so little beside 32 rows


@helper(fastmath={"contract", "reassoc"}, forced=True)
def normalise(row: Any, weight: Any, bias: Any, eps: float) -> None:
    """row = (row - mean) / sqrt(variance + eps) * weight + bias, in place: (D,) float32."""
    D = row.shape[0]
    total = 0.0
    for d in range(D):
        total += np.float64(row[d])
    mean = total / D
    squares = 0.0
    for d in range(D):
        centred = np.float64(row[d]) - mean
        squares += centred * centred
    scale = 1.0 / np.sqrt(squares / D + eps)
    for d in range(D):
        row[d] = np.float32((np.float64(row[d]) - mean) * scale * np.float64(weight[d]) + np.float64(bias[d]))


@kernel(fastmath={"contract"})
def layer_norm_rows(start: int, stop: int, x: Any, weight: Any, bias: Any, eps: float, out: Any) -> None:
    """out[start:stop] = layer_norm(x[start:stop]): (N, D), (D,), (D,) float32 -> (N, D)."""
    for i in range(start, stop):
        for d in range(x.shape[1]):
            out[i, d] = x[i, d]
        normalise(out[i], weight, bias, eps)


@kernel(fastmath={"contract"})
def add_layer_norm_rows(
    start: int, stop: int, x: Any, residual: Any, weight: Any, bias: Any, eps: float, out: Any
) -> None:
    """out[start:stop] = layer_norm(x + residual): (N, D), (N, D), (D,), (D,) float32 -> (N, D)."""
    for i in range(start, stop):
        for d in range(x.shape[1]):
            out[i, d] = x[i, d] + residual[i, d]
        normalise(out[i], weight, bias, eps)


@kernel(fastmath={"contract"})
def added_rows(start: int, stop: int, x: Any, residual: Any, out: Any) -> None:
    """out[start:stop] = x + residual: (N, D), (N, D) float32 -> (N, D)."""
    for i in range(start, stop):
        for d in range(x.shape[1]):
            out[i, d] = x[i, d] + residual[i, d]


class Lookup(NamedTuple):
    """What is looked up for N tokens: 2 x (N,) int64 in the rows of 2 tables."""

    ids: Any
    positions: Any
    words: Any  # (V, D)
    places: Any  # (P, D)


@helper()
def sum_of(tokens: Lookup, i: int, out: Any) -> None:
    """out (D,) = the word of token i and its place."""
    word, place = tokens.words[tokens.ids[i]], tokens.places[tokens.positions[i]]
    for d in range(out.shape[0]):
        out[d] = word[d] + place[d]


@kernel()
def embed_rows(start: int, stop: int, tokens: Lookup, out: Any) -> None:
    """out[start:stop] = words[ids] + places[positions]: -> (N, D)."""
    for i in range(start, stop):
        sum_of(tokens, i, out[i])


@kernel(fastmath={"contract"})
def embed_layer_norm_rows(start: int, stop: int, tokens: Lookup, weight: Any, bias: Any, eps: float, out: Any) -> None:
    """out[start:stop] = layer_norm(words[ids] + places[positions]): ..., 2 x (D,) -> (N, D)."""
    for i in range(start, stop):
        sum_of(tokens, i, out[i])
        normalise(out[i], weight, bias, eps)


@helper(fastmath={"contract", "reassoc"}, forced=True)
def normalise_backward(dy: Any, x: Any, weight: Any, eps: float, dweight: Any, dbias: Any) -> None:
    """x = dx, in place: 3 x (D,) float32; dweight += dy n, dbias += dy, 2 x (D,) float64. n: the normalised x.

    With g = dy weight: dx = (g - mean(g) - n mean(g n)) / deviation.
    """
    D = x.shape[0]
    total = 0.0
    for d in range(D):
        total += np.float64(x[d])
    mean = total / D
    squares = g_sum = g_centred = 0.0
    for d in range(D):
        centred, g = np.float64(x[d]) - mean, np.float64(dy[d]) * np.float64(weight[d])
        squares += centred * centred
        g_sum += g
        g_centred += g * centred
    scale = 1.0 / np.sqrt(squares / D + eps)
    g_mean, along = g_sum / D, g_centred * scale / D
    for d in range(D):
        n, dy_d = (np.float64(x[d]) - mean) * scale, np.float64(dy[d])
        dweight[d] += dy_d * n
        dbias[d] += dy_d
        x[d] = np.float32((dy_d * np.float64(weight[d]) - g_mean - n * along) * scale)


@kernel(fastmath={"contract"})
def layer_norm_backward_blocks(
    start: int, stop: int, dy: Any, x: Any, weight: Any, eps: float, sums: Any, dx: Any
) -> None:
    """Work items start..stop, ROWS_AN_ITEM rows each: 2 x (N, D), (D,) float32 -> sums (items, 2, D) float64 of dweight
    and dbias, zeros before, and dx (N, D)."""
    for item in range(start, stop):
        for i in range(item * ROWS_AN_ITEM, min((item + 1) * ROWS_AN_ITEM, x.shape[0])):
            for d in range(x.shape[1]):
                dx[i, d] = x[i, d]
            normalise_backward(dy[i], dx[i], weight, eps, sums[item, 0], sums[item, 1])


class Sum(NamedTuple):
    """What was added before the norm: 2 x (N, D) float32."""

    x: Any
    residual: Any


@kernel(fastmath={"contract"})
def add_layer_norm_backward_blocks(
    start: int, stop: int, dy: Any, total: Sum, weight: Any, eps: float, sums: Any, dx: Any
) -> None:
    """The same of layer_norm(x + residual)."""
    for item in range(start, stop):
        for i in range(item * ROWS_AN_ITEM, min((item + 1) * ROWS_AN_ITEM, dy.shape[0])):
            for d in range(dy.shape[1]):
                dx[i, d] = total.x[i, d] + total.residual[i, d]
            normalise_backward(dy[i], dx[i], weight, eps, sums[item, 0], sums[item, 1])
