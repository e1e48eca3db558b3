"""Attention over packed sentences: softmax(q k^T / sqrt(Dh)) v, one (sentence, head) at a time.

Definition: attention, attention_scores, attention_probs and attention_context in numpy_ops.py.

Both products run on the register tile (tile.py), so a work item first copies the keys and values of its head into the
order the tile reads: the keys as panels, scaled and turned (transpose.py); the values as panels. A head of 512 tokens
is 128 KB each: second-level cache. Then QUERIES at a time: their scores, (QUERIES, T) and never more, softmax over each
row, and the average of the values. The full (T, T) matrix is never written.

Rows of scores are multiples of WIDTH, so no loop has a ragged end. And the tile adds to what a sum starts from:
0 for a key, the most negative number for a masked one, -inf beyond the sentence, which softmax turns into exact zeros.
So masks cost nothing, and there is no code for them here but the row that holds these numbers.

A query of a causal model sees the tokens up to its own. QUERIES of them look no further than the last does: half the
work. What a row has beyond its own reach becomes -inf before softmax, and an exact zero by it; so a row's numbers are
the same, bit for bit, however many keys stand behind.

Training drops some of the probabilities, between softmax and context, while the rows are at hand: dropout.py makes the
mask from numbers of the row's place, so nothing of it is kept for the backward pass (attention_backward.py).

For whoever wants to look inside (a tap on scores or probs), the same steps run as three kernels with the matrices
between them; the numbers are bitwise the same, which a test checks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..definitions.sentences import Sentences
from ..runtime.jit import helper, kernel
from ..runtime.memory import room
from ..runtime.place import Place
from .dropout import Dropping, drop, key_of_head
from .softmax import WIDTH, softmax_block
from .tile import COLUMNS, ROWS, multiply
from .transpose import turn_rows

f32 = np.float32
MASKED = f32(np.finfo(np.float32).min)  # what a masked key scores: not -inf, see numpy_ops
BEYOND = f32(-np.inf)  # what a place beyond the sentence scores
NOTHING = f32(0.0)
QUERIES = 4 * ROWS  # rows of scores at a time: a panel of keys or values comes from the second level once for all


@helper()
def panels_of_keys(k: Place, T: int, Dh: int, scale: Any, out: Any) -> None:
    """(T, Dh) -> panels of scale k^T: out (ceil(T / COLUMNS), Dh, COLUMNS), flat.

    Columns beyond T repeat the last key: what they score is -inf whatever they hold, unless that is NaN.
    """
    for first in range(0, T, COLUMNS):
        here = Place(k.numbers, k.at + first * k.step, k.step)
        turn_rows(here, T - first, Dh, COLUMNS, scale, Place(out, first * Dh, COLUMNS))


@helper()
def panels_of_values(v: Place, T: int, Dh: int, out: Any) -> None:
    """(T, Dh) -> panels of its columns: out (ceil(Dh / COLUMNS), T, COLUMNS), flat."""
    for p in range((Dh + COLUMNS - 1) // COLUMNS):
        columns = min(COLUMNS, Dh - p * COLUMNS)
        for t in range(T):
            here, there = np.uint64(v.at + t * v.step + p * COLUMNS), np.uint64((p * T + t) * COLUMNS)
            if columns == COLUMNS:  # a loop of known length is a few loads and stores
                for j in range(COLUMNS):
                    out[there + np.uint64(j)] = v.numbers[here + np.uint64(j)]
            else:
                for j in range(COLUMNS):
                    out[there + np.uint64(j)] = v.numbers[here + np.uint64(j)] if j < columns else NOTHING


@helper()
def for_each_key(T: int, keep: Any, real: Any, masked: Any, beyond: Any, out: Any) -> None:
    """out (width,): `real` for a key, `masked` for one that is masked, `beyond` behind the T.

    keep: (T,) or (0,).
    """
    out[:T] = real
    out[T:] = beyond
    for t in range(keep.shape[0]):
        if not keep[t]:
            out[t] = masked


@helper()
def score_rows(n: int, q: Place, keys: Any, T: int, Dh: int, start: Any, out: Any) -> None:
    """n queries against the panels of keys: out (n, width), flat."""
    width = start.shape[0]
    for left in range(0, whole_panels(T), COLUMNS):  # a panel stays in the first-level cache while all rows pass
        panel = Place(keys, left * Dh, COLUMNS)
        for row in range(0, n, ROWS):
            here, scores = Place(q.numbers, q.at + row * q.step, q.step), Place(out, row * width + left, width)
            multiply(min(ROWS, n - row), here, panel, Place(start, left, 0), scores, Dh)
    for row in range(n):
        for j in range(whole_panels(T), width):
            out[np.uint64(row * width + j)] = BEYOND


@helper()
def hide_beyond(x: Any, at: int, reach: int, width: int) -> None:
    """x[at + reach : at + width] = -inf: a row of scores, and how many keys its query sees."""
    for j in range(reach, width):
        x[np.uint64(at + j)] = BEYOND


@helper()
def furthest(reach: Any, first: int, last: int, T: int) -> int:
    """How many of T keys the queries first..last see between them. reach: (M,) or (0,), if all see all."""
    if not reach.shape[0]:
        return T
    most = 0
    for row in range(first, last):
        most = max(most, reach[row])
    return most


@helper()
def context_rows(n: int, probs: Place, seen: int, values: Place, nothing: Any, tile: Any, Dh: int, out: Place) -> None:
    """Averaged values for n queries: probs (n, seen) against panels of the first `seen` of values -> out (n, Dh).

    values.step: how many rows each panel has.
    """
    for left in range(0, Dh, COLUMNS):
        panel, zeros, columns = Place(values.numbers, left * values.step, COLUMNS), Place(nothing, 0, 0), Dh - left
        for row in range(0, n, ROWS):
            rows, here = min(ROWS, n - row), Place(probs.numbers, probs.at + row * probs.step, probs.step)
            there = Place(out.numbers, out.at + row * out.step + left, out.step)
            # the tile writes whole panels, so a last one that is narrower goes elsewhere first
            multiply(rows, here, panel, zeros, there if columns >= COLUMNS else Place(tile, 0, COLUMNS), seen)
            if columns < COLUMNS:
                for r in range(rows):
                    for j in range(columns):
                        out.numbers[there.at + r * there.step + j] = tile[r * COLUMNS + j]


@helper()
def whole_panels(n: int) -> int:
    """n, rounded up to whole panels."""
    return (n + COLUMNS - 1) // COLUMNS * COLUMNS


@helper()
def whole_rows(n: int) -> int:
    """n, rounded up to what softmax takes."""
    return (n + WIDTH - 1) // WIDTH * WIDTH


@helper()
def longest(starts: Any) -> int:
    """Tokens of the longest sentence."""
    T = 0
    for s in range(len(starts) - 1):
        T = max(T, starts[s + 1] - starts[s])
    return T


class QKV(NamedTuple):
    """The three matrices of an attention, or their gradients: queries (M, D), keys and values (N, D)."""

    q: Any
    k: Any
    v: Any


@helper()
def scale_of(Dh: int) -> Any:
    """1 / sqrt(Dh), what dot products of queries and keys are multiplied by."""
    return f32(1.0 / np.sqrt(np.float64(Dh)))


@kernel()
def attention_heads(start: int, stop: int, x: QKV, who: Sentences, dropping: Dropping, out: Any) -> None:
    """Work items start..stop, item = sentence * heads + head: q (M, D), k, v (N, D) float32 -> out (M, D).

    q, k and v are places: views of one product need no copy. who.keep: (N,) bool, or (0,) if no key is masked;
    who.reach: (M,) int64, or (0,) if all queries see all keys.
    """
    (q, k, v), heads = x, who.heads
    keep: Any = who.keep
    reach: Any = who.reach
    D = out.shape[1]
    Dh = D // heads
    scale, flat = scale_of(Dh), out.reshape(-1)
    most = whole_rows(longest(who.starts))
    keys, values = room(Dh * most), room(whole_panels(Dh) * most)
    scores, all_from = room(QUERIES * most), room(most)
    nothing, tile, numbers = np.zeros(COLUMNS, np.float32), room(ROWS * COLUMNS), room(QUERIES)
    for item in range(start, stop):
        sentence, left = item // heads, item % heads * Dh
        first, T = who.starts[sentence], who.starts[sentence + 1] - who.starts[sentence]
        first_query, last_query = who.asking[sentence], who.asking[sentence + 1]
        if first_query == last_query:
            continue
        head_key = key_of_head(dropping.key[0], item)
        panels_of_keys(Place(k.numbers, first * k.step + left, k.step), T, Dh, scale, keys)
        panels_of_values(Place(v.numbers, first * v.step + left, v.step), T, Dh, values)
        for_each_key(T, keep[first : first + T], NOTHING, MASKED, BEYOND, all_from[: whole_rows(T)])
        for row in range(first_query, last_query, QUERIES):
            n = min(QUERIES, last_query - row)
            seen = furthest(reach, row, row + n, T)
            width = whole_rows(seen)
            score_rows(n, Place(q.numbers, row * q.step + left, q.step), keys, seen, Dh, all_from[:width], scores)
            if reach.shape[0]:
                for r in range(n):
                    hide_beyond(scores, r * width, reach[row + r], width)
            softmax_block(n, scores, width, numbers)
            if dropping.limit:
                for r in range(n):
                    number = (row + r - first_query) * T
                    drop(scores, r * width, seen, head_key, number, np.uint64(dropping.limit), dropping.share)
            averaged = Place(flat, row * D + left, D)
            context_rows(n, Place(scores, 0, width), seen, Place(values, 0, T), nothing, tile, Dh, averaged)


@kernel()
def score_heads(start: int, stop: int, q: Place, k: Place, keep: Any, reach: Any, Dh: int, out: Any) -> None:
    """Scores of one sentence, heads start..stop: (Q, D), (T, D) float32 -> out (H, Q, T)."""
    Q, T = out.shape[1], out.shape[2]
    width, scale = whole_rows(T), scale_of(Dh)
    keys, scores, score_from = room(Dh * width), room(ROWS * width), room(width)
    for_each_key(T, keep, NOTHING, MASKED, BEYOND, score_from)
    for h in range(start, stop):
        panels_of_keys(Place(k.numbers, h * Dh, k.step), T, Dh, scale, keys)
        for row in range(0, Q, ROWS):
            rows = min(ROWS, Q - row)
            score_rows(rows, Place(q.numbers, row * q.step + h * Dh, q.step), keys, T, Dh, score_from, scores)
            for r in range(rows):
                if reach.shape[0]:
                    hide_beyond(scores, r * width, reach[row + r], width)
                out[h, row + r] = scores[r * width : r * width + T]


@kernel()
def softmax_rows(start: int, stop: int, x: Any, out: Any) -> None:
    """out[start:stop] = softmax over the last axis: (R, T) float32 -> (R, T)."""
    T = x.shape[1]
    row, numbers = room(whole_rows(T)), room(1)
    for r in range(start, stop):
        row[:T] = x[r]
        row[T:] = BEYOND
        softmax_block(1, row, row.shape[0], numbers)
        out[r] = row[:T]


@kernel()
def context_heads(start: int, stop: int, probs: Any, v: Place, out: Place) -> None:
    """Averaged values of one sentence, heads start..stop: (H, Q, T), (T, D) float32 -> out (Q, D)."""
    H, Q, T = probs.shape
    Dh = out.step // H
    weights = probs.reshape(-1)
    values, nothing = room(whole_panels(Dh) * T), np.zeros(COLUMNS, np.float32)
    tile = room(ROWS * COLUMNS)
    for h in range(start, stop):
        panels_of_values(Place(v.numbers, h * Dh, v.step), T, Dh, values)
        for row in range(0, Q, ROWS):
            rows, here = min(ROWS, Q - row), Place(weights, (h * Q + row) * T, T)
            averaged = Place(out.numbers, row * out.step + h * Dh, out.step)
            context_rows(rows, here, T, Place(values, 0, T), nothing, tile, Dh, averaged)
