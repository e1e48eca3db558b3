"""Attention over packed sentences: softmax(q k^T / sqrt(Dh)) v, one (sentence, head) at a time.

A work item copies its head's keys, transposed, and values into small arrays (a head of 512 tokens is 128 KB each: second
level cache), then takes the queries one by one: a row of T scores, its softmax, and the average of the values. Only that
one row of scores ever exists. Keys are transposed so that scores of neighbouring keys come from neighbouring memory.

For whoever wants to look inside (a tap on scores or probs), the same three row functions run as three separate kernels;
the numbers are bitwise the same, which a test checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .exp import exp_negative
from .jit import kernel

f32 = np.float32
LOWEST_SCORE = f32(np.finfo(np.float32).min)  # what a masked key scores: not -inf, see numpy_ops


@kernel(fastmath={"contract"}, inline=True)
def score_row(q: Any, keys: Any, scale: Any, keep: Any, out: Any) -> None:
    """out = scale q . keys: (Dh,), (Dh, T), (T,) or (0,) bool -> (T,)."""
    Dh, T = keys.shape
    for t in range(T):
        out[t] = f32(0.0)
    d = 0
    while d + 4 <= Dh:
        q0, q1, q2, q3 = q[d] * scale, q[d + 1] * scale, q[d + 2] * scale, q[d + 3] * scale
        for t in range(T):
            out[t] += q0 * keys[d, t] + q1 * keys[d + 1, t] + q2 * keys[d + 2, t] + q3 * keys[d + 3, t]
        d += 4
    while d < Dh:
        q0 = q[d] * scale
        for t in range(T):
            out[t] += q0 * keys[d, t]
        d += 1
    if keep.shape[0] > 0:
        for t in range(T):
            if not keep[t]:
                out[t] = LOWEST_SCORE


@kernel(fastmath={"contract", "reassoc"}, inline=True)
def softmax_row(row: Any) -> None:
    """row = softmax(row), in place: (T,) float32."""
    T = row.shape[0]
    largest = row[0]
    for t in range(1, T):
        largest = max(largest, row[t])
    for t in range(T):
        row[t] = exp_negative(row[t] - largest)
    total = f32(0.0)
    for t in range(T):
        total += row[t]
    scale = f32(1.0) / total
    for t in range(T):
        row[t] *= scale


@kernel(fastmath={"contract"}, inline=True)
def context_row(probs: Any, values: Any, out: Any) -> None:
    """out = probs . values: (T,), (T, Dh) -> (Dh,)."""
    T, Dh = values.shape
    for d in range(Dh):
        out[d] = f32(0.0)
    t = 0
    while t + 4 <= T:
        p0, p1, p2, p3 = probs[t], probs[t + 1], probs[t + 2], probs[t + 3]
        for d in range(Dh):
            out[d] += p0 * values[t, d] + p1 * values[t + 1, d] + p2 * values[t + 2, d] + p3 * values[t + 3, d]
        t += 4
    while t < T:
        p0 = probs[t]
        for d in range(Dh):
            out[d] += p0 * values[t, d]
        t += 1


@kernel(inline=True)
def transposed(rows: Any) -> Any:
    """(T, Dh) -> a copy, (Dh, T)."""
    out = np.empty((rows.shape[1], rows.shape[0]), np.float32)
    for t in range(rows.shape[0]):
        for d in range(rows.shape[1]):
            out[d, t] = rows[t, d]
    return out


@kernel(inline=True)
def copied(rows: Any) -> Any:
    """(T, Dh) -> a copy, contiguous."""
    out = np.empty(rows.shape, np.float32)
    for t in range(rows.shape[0]):
        for d in range(rows.shape[1]):
            out[t, d] = rows[t, d]
    return out


@kernel()
def attention_heads(
    start: int, stop: int, q: Any, k: Any, v: Any, starts: Any, heads: int, keep: Any, scale: Any, out: Any
) -> None:
    """Work items start..stop, item = sentence * heads + head: 3 x (N, D) float32, starts (B + 1,) -> out (N, D).

    keep: (N,) bool, False at masked keys, or (0,) where there are none. scale: 1 / sqrt(Dh).
    """
    Dh = q.shape[1] // heads
    for item in range(start, stop):
        first, last = starts[item // heads], starts[item // heads + 1]
        left = item % heads * Dh
        keys = transposed(k[first:last, left : left + Dh])  # (Dh, T)
        values = copied(v[first:last, left : left + Dh])  # (T, Dh)
        row = np.empty(last - first, np.float32)
        for t in range(last - first):
            score_row(q[first + t, left : left + Dh], keys, scale, keep[first:last], row)
            softmax_row(row)
            context_row(row, values, out[first + t, left : left + Dh])


@kernel()
def score_heads(start: int, stop: int, q: Any, k: Any, heads: int, keep: Any, scale: Any, out: Any) -> None:
    """Scores of one sentence, heads start..stop: (T, D), (T, D) float32 -> out (H, T, T)."""
    Dh = q.shape[1] // heads
    for h in range(start, stop):
        left = h * Dh
        keys = transposed(k[:, left : left + Dh])
        for t in range(q.shape[0]):
            score_row(q[t, left : left + Dh], keys, scale, keep, out[h, t])


@kernel()
def softmax_rows(start: int, stop: int, x: Any) -> None:
    """x[start:stop] = softmax over the last axis, in place: (R, T) float32."""
    for r in range(start, stop):
        softmax_row(x[r])


@kernel()
def context_heads(start: int, stop: int, probs: Any, v: Any, out: Any) -> None:
    """Averaged values of one sentence, heads start..stop: (H, T, T), (T, D) float32 -> out (T, D)."""
    Dh = v.shape[1] // probs.shape[0]
    for h in range(start, stop):
        left = h * Dh
        values = copied(v[:, left : left + Dh])
        for t in range(v.shape[0]):
            context_row(probs[h, t], values, out[t, left : left + Dh])
