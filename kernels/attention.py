"""Attention over packed sentences: softmax(q k^T / sqrt(Dh)) v, one (sentence, head) at a time.

Both products run on the register tile (tile.py), so a work item first copies its head into the order the tile reads:
the queries, scaled; the keys as panels, transposed; the values as panels. A head of 512 tokens is 128 KB each:
second-level cache. Then ROWS queries at a time: their scores, (ROWS, T) and never more, softmax over each row, and the
average of the values. The full (T, T) matrix is never written.

Rows of scores are as long as whole panels; the places beyond the sentence hold -inf, which softmax turns into exact
zeros. So no loop has a ragged end, and each is vector code without further thought.

For whoever wants to look inside (a tap on scores or probs), the same steps run as three kernels with the matrices
between them; the numbers are bitwise the same, which a test checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .exp import exp_negative
from .jit import kernel
from .tile import COLUMNS, ROWS, multiply

f32 = np.float32
MASKED = f32(np.finfo(np.float32).min)  # what a masked key scores: not -inf, see numpy_ops
BEYOND = f32(-np.inf)  # what a place beyond the sentence scores


@kernel(inline=True)
def scaled(q: Any, scale: Any) -> Any:
    """(T, Dh) -> scale q, flat."""
    T, Dh = q.shape
    out = np.empty(T * Dh, np.float32)
    for t in range(T):
        for d in range(Dh):
            out[t * Dh + d] = q[t, d] * scale
    return out


@kernel(inline=True)
def panels_of_columns(x: Any) -> Any:
    """(K, C) -> panels of its columns, (ceil(C / COLUMNS), K, COLUMNS) flat, zeros beyond C."""
    K, C = x.shape
    count = (C + COLUMNS - 1) // COLUMNS
    out = np.zeros(count * K * COLUMNS, np.float32)
    for p in range(count):
        for k in range(K):
            for j in range(min(COLUMNS, C - p * COLUMNS)):
                out[(p * K + k) * COLUMNS + j] = x[k, p * COLUMNS + j]
    return out


@kernel(inline=True)
def score_rows(rows: int, q: Any, q_at: int, keys: Any, Dh: int, T: int, keep: Any, out: Any, width: int) -> None:
    """`rows` queries against all keys: out[:rows, :width], masked and beyond filled in."""
    for p in range(width // COLUMNS):
        multiply(rows, q, q_at, Dh, keys, p * Dh * COLUMNS, out, p * COLUMNS, width, Dh)
    for r in range(rows):
        if keep.shape[0] > 0:
            for t in range(T):
                if not keep[t]:
                    out[r * width + t] = MASKED
        for t in range(T, width):
            out[r * width + t] = BEYOND


@kernel(fastmath={"contract"}, inline=True)
def softmax_row(row: Any) -> None:
    """row = softmax(row), in place; its length is a multiple of COLUMNS.

    The maximum and the sum are taken in COLUMNS lanes first: each lane is a chain of its own, so the loops vectorise
    without leave to reorder anything, and a lane adds at most T / COLUMNS numbers.
    """
    lanes = np.empty(COLUMNS, np.float32)
    lanes[:] = BEYOND
    for first in range(0, row.shape[0], COLUMNS):
        for j in range(COLUMNS):
            lanes[j] = max(lanes[j], row[first + j])
    largest = BEYOND
    for j in range(COLUMNS):
        largest = max(largest, lanes[j])
    lanes[:] = f32(0.0)
    for first in range(0, row.shape[0], COLUMNS):
        for j in range(COLUMNS):
            e = exp_negative(row[first + j] - largest)
            row[first + j] = e
            lanes[j] += e
    total = f32(0.0)
    for j in range(COLUMNS):
        total += lanes[j]
    scale = f32(1.0) / total
    for t in range(row.shape[0]):
        row[t] *= scale


@kernel(inline=True)
def context_rows(rows: int, probs: Any, width: int, values: Any, T: int, tile: Any, out: Any) -> None:
    """Averaged values for `rows` queries: probs[:rows, :T] against the panels of values -> out (rows, Dh)."""
    Dh = out.shape[1]
    for p in range((Dh + COLUMNS - 1) // COLUMNS):
        multiply(rows, probs, 0, width, values, p * T * COLUMNS, tile, 0, COLUMNS, T)
        for r in range(rows):
            for j in range(min(COLUMNS, Dh - p * COLUMNS)):
                out[r, p * COLUMNS + j] = tile[r * COLUMNS + j]


@kernel()
def attention_heads(
    start: int,
    stop: int,
    q: Any,
    k: Any,
    v: Any,
    asking: Any,
    starts: Any,
    heads: int,
    keep: Any,
    scale: Any,
    out: Any,
) -> None:
    """Work items start..stop, item = sentence * heads + head: q (M, D), k, v (N, D) float32 -> out (M, D).

    asking, starts: (B + 1,) first query and first key of each sentence. keep: (N,) bool, False at masked keys, or (0,)
    where there are none. scale: 1 / sqrt(Dh).
    """
    Dh = q.shape[1] // heads
    tile = np.empty(ROWS * COLUMNS, np.float32)
    for item in range(start, stop):
        first, last = starts[item // heads], starts[item // heads + 1]
        first_query, last_query = asking[item // heads], asking[item // heads + 1]
        if first_query == last_query:
            continue
        left, right = item % heads * Dh, item % heads * Dh + Dh
        T = last - first
        width = (T + COLUMNS - 1) // COLUMNS * COLUMNS
        queries = scaled(q[first_query:last_query, left:right], scale)
        keys = panels_of_columns(k[first:last, left:right].T)
        values = panels_of_columns(v[first:last, left:right])
        scores = np.empty(ROWS * width, np.float32)
        for row in range(first_query, last_query, ROWS):
            rows = min(ROWS, last_query - row)
            score_rows(rows, queries, (row - first_query) * Dh, keys, Dh, T, keep[first:last], scores, width)
            for r in range(rows):
                softmax_row(scores[r * width : (r + 1) * width])
            context_rows(rows, scores, width, values, T, tile, out[row : row + rows, left:right])


@kernel()
def score_heads(start: int, stop: int, q: Any, k: Any, heads: int, keep: Any, scale: Any, out: Any) -> None:
    """Scores of one sentence, heads start..stop: (Q, D), (T, D) float32 -> out (H, Q, T)."""
    T, Dh = k.shape[0], q.shape[1] // heads
    width = (T + COLUMNS - 1) // COLUMNS * COLUMNS
    scores = np.empty(ROWS * width, np.float32)
    for h in range(start, stop):
        left, right = h * Dh, h * Dh + Dh
        queries, keys = scaled(q[:, left:right], scale), panels_of_columns(k[:, left:right].T)
        for row in range(0, q.shape[0], ROWS):
            rows = min(ROWS, q.shape[0] - row)
            score_rows(rows, queries, row * Dh, keys, Dh, T, keep, scores, width)
            for r in range(rows):
                out[h, row + r] = scores[r * width : r * width + T]


@kernel()
def softmax_rows(start: int, stop: int, x: Any, out: Any) -> None:
    """out[start:stop] = softmax over the last axis: (R, T) float32 -> (R, T)."""
    T = x.shape[1]
    row = np.empty((T + COLUMNS - 1) // COLUMNS * COLUMNS, np.float32)
    for r in range(start, stop):
        row[:T] = x[r]
        row[T:] = BEYOND
        softmax_row(row)
        out[r] = row[:T]


@kernel()
def context_heads(start: int, stop: int, probs: Any, v: Any, out: Any) -> None:
    """Averaged values of one sentence, heads start..stop: (H, Q, T), (T, D) float32 -> out (Q, D)."""
    T, Dh = v.shape[0], v.shape[1] // probs.shape[0]
    tile = np.empty(ROWS * COLUMNS, np.float32)
    for h in range(start, stop):
        left, right = h * Dh, h * Dh + Dh
        values = panels_of_columns(v[:, left:right])
        for row in range(0, probs.shape[1], ROWS):
            rows = min(ROWS, probs.shape[1] - row)
            at = probs[h, row : row + rows].reshape(-1)
            context_rows(rows, at, T, values, T, tile, out[row : row + rows, left:right])
