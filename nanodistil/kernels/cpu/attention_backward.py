"""The derivative of attention, without ever holding a matrix of scores.

Definition: attention_backward in numpy_backward.py.

The forward pass computed, for one head of one sentence of T tokens, with Q queries, each (., Dh) wide,

    S = q k^T / sqrt(Dh)      P = softmax of S's rows      R = dropout of P      context = R v

and now the gradient of `context` is known, dcontext. The chain rule, read from right to left:

    dv = R^T dcontext                          each value gets what its weights had a share in
    dR = dcontext v^T                          each weight: how much its value would have helped
    dP = dropout of dR, with the same mask
    dS = P (dP - delta),  delta = sum over the row of P dP, which keeps a row's weights summing to one
    dq = dS k / sqrt(Dh)      dk = dS^T q / sqrt(Dh)

P is not kept: it would be nearly as much as all else that the backward pass of a layer needs. Computing it again is one
product of five, and exact: the rows are the forward pass's, bit for bit. So nothing is kept but q, k and v.

A masked key has P = 0, so its dS is 0 by itself; if all keys are masked P is 1 / T, but the score was replaced by a
constant: `through` is 0 there, and 1 / sqrt(Dh) elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definitions.sentences import Sentences
from ..runtime.jit import helper, kernel
from ..runtime.memory import room
from ..runtime.place import Place
from .attention import (
    BEYOND,
    MASKED,
    NOTHING,
    QKV,
    for_each_key,
    furthest,
    hide_beyond,
    longest,
    panels_of_keys,
    panels_of_values,
    scale_of,
    whole_panels,
    whole_rows,
)
from .dropout import Dropping, drop, key_of_head
from .softmax import softmax_block
from .tile import COLUMNS, PIECE, ROWS, multiply
from .transpose import LANES, turn, turn_rows

BLOCK = PIECE  # queries at a time: what they add to dk and dv is one chain of additions
ONE = np.float32(1.0)


@helper()
def product_by_panels(n: int, a: Place, panels: Any, Dh: int, start: Any, width: int, out: Any) -> None:
    """start + A B for n rows: (n, Dh), panels of (Dh, width), (width,) -> out (width / COLUMNS, BLOCK, COLUMNS)."""
    for t in range(0, width, COLUMNS):
        for r in range(0, n, ROWS):
            rows, here = min(ROWS, n - r), Place(a.numbers, a.at + r * a.step, a.step)
            there = Place(out, t * BLOCK + r * COLUMNS, COLUMNS)
            multiply(rows, here, Place(panels, t * Dh, COLUMNS), Place(start, t, 0), there, Dh)


@helper()
def product_of_panels(n: int, a: Any, seen: int, columns: Any, T: int, Dh: int, out: Any, wide: int) -> None:
    """A B for n rows: (seen / COLUMNS, BLOCK, COLUMNS), panels of the first `seen` of (T, Dh) -> out (n, wide)."""
    out[: n * wide] = NOTHING
    for t in range(0, seen, COLUMNS):
        for c in range(0, Dh, COLUMNS):
            for r in range(0, n, ROWS):
                here, panel = Place(a, t * BLOCK + r * COLUMNS, COLUMNS), Place(columns, c * T + t * COLUMNS, COLUMNS)
                sums = Place(out, r * wide + c, wide)
                multiply(min(ROWS, n - r), here, panel, sums, sums, min(COLUMNS, seen - t))


@helper()
def add_turned_product(n: int, turned: Any, b: Any, Dh: int, width: int, out: Any) -> None:
    """out += A^T B over n rows: (Dh, BLOCK), (width / COLUMNS, BLOCK, COLUMNS) -> (width / COLUMNS, Dh, COLUMNS)."""
    for t in range(0, width, COLUMNS):
        for d in range(0, Dh, ROWS):
            here, panel = Place(turned, d * BLOCK, BLOCK), Place(b, t * BLOCK, COLUMNS)
            sums = Place(out, t * Dh + d * COLUMNS, COLUMNS)
            multiply(min(ROWS, Dh - d), here, panel, sums, sums, n)


@helper(fastmath={"contract", "reassoc"})
def mean_of_row(probs: Any, dP: Any, at: int, width: int) -> Any:
    """delta: the sum of P dP over a row, in float64. probs (width,), dP flat, panel by panel from `at`."""
    total = 0.0
    for p in range(width // COLUMNS):
        for j in range(COLUMNS):
            i = np.uint64(at + p * BLOCK * COLUMNS + j)
            total += np.float64(probs[np.uint64(p * COLUMNS + j)]) * np.float64(dP[i])
    return np.float32(total)


@helper(fastmath={"contract"})
def through_softmax(probs: Any, dP: Any, at: int, width: int, through: Any) -> None:
    """dP = dS = through P (dP - delta), one row of the block."""
    delta = mean_of_row(probs, dP, at, width)
    for p in range(width // COLUMNS):
        for j in range(COLUMNS):
            i, t = np.uint64(at + p * BLOCK * COLUMNS + j), np.uint64(p * COLUMNS + j)
            dP[i] = probs[t] * (dP[i] - delta) * through[t]


@helper()
def copy_row(P: Any, at: int, width: int, out: Any) -> None:
    """One row of the block, panel by panel -> out (width,)."""
    for p in range(width // COLUMNS):
        for j in range(COLUMNS):
            out[np.uint64(p * COLUMNS + j)] = P[np.uint64(at + p * BLOCK * COLUMNS + j)]


@helper()
def put_row(row: Any, width: int, P: Any, at: int) -> None:
    """And back."""
    for p in range(width // COLUMNS):
        for j in range(COLUMNS):
            P[np.uint64(at + p * BLOCK * COLUMNS + j)] = row[np.uint64(p * COLUMNS + j)]


@helper()
def drop_row(x: Any, at: int, width: int, key: Any, number: int, limit: Any, share: Any) -> None:
    """Dropout on one row of the block; number: of its first among those of its head."""
    for p in range(width // COLUMNS):
        drop(x, at + p * BLOCK * COLUMNS, COLUMNS, key, number + p * COLUMNS, limit, share)


@helper()
def rows_of_panels(x: Any, T: int, Dh: int, square: Any, out: Place) -> None:
    """Panels (ceil(T / COLUMNS), Dh, COLUMNS), flat, of a matrix (Dh, T) -> its transpose (T, Dh)."""
    for t in range(0, T, LANES):
        keys = min(LANES, T - t)
        from_here = t // COLUMNS * Dh * COLUMNS + t % COLUMNS
        for d in range(0, Dh, LANES):
            columns = min(LANES, Dh - d)
            turn(Place(x, from_here + d * COLUMNS, COLUMNS), columns, ONE, Place(square, 0, LANES))
            for i in range(keys):
                for j in range(columns):
                    there = np.uint64(out.at + (t + i) * out.step + d + j)
                    out.numbers[there] = square[np.uint64(i * LANES + j)]


@kernel()
def attention_backward_heads(
    start: int, stop: int, dcontext: Place, x: QKV, who: Sentences, dropping: Dropping, dx: QKV
) -> None:
    """Work items start..stop, item = sentence * heads + head: dq (M, D), dk, dv (N, D) float32, of `attention_heads`.

    dcontext (M, D) is a place, as q, k and v are; the other arguments are those of the forward pass.

    How. One work item is one head of one sentence, and takes BLOCK queries at a time. All five products run on the
    register tile, which wants its right factor in panels (COLUMNS columns side by side, one row after the other) and
    its left factor in rows:

        S, dR    (BLOCK, T)     q k^T and dcontext v^T      right: the panels of k^T and v^T, as in attention.py
        dq       (BLOCK, Dh)    dS k                        right: the panels of k
        dk^T     (Dh, T)        q^T dS                      right: dS;   left: the block's queries, turned
        dv^T     (Dh, T)        dcontext^T R                right: R;    left: the block of dcontext, turned

    The last two are the point. dk = dS^T q asks for dS with its rows as columns; to turn matrices of BLOCK by T for
    each block costs more the longer the sentence is. Their transposes instead ask for dS and R as right factors, so S
    and dR are written panel by panel in the first place, (T / COLUMNS, BLOCK, COLUMNS), and need no turning at all,
    neither as right factors there nor as the left factor in dq, where a panel is a piece of the sum. What is turned is
    only as wide as a head: q and dcontext on the way in, dk^T and dv^T, once, on the way out.

    dk^T and dv^T are sums over all queries: BLOCK of them in a chain, then added to the total, as everywhere (PIECE).
    Since a head of a sentence is done by one thread from first query to last, in one order, no number of threads
    changes a bit.
    """
    (q, k, v), (dq, dk, dv), heads = x, dx, who.heads
    keep: Any = who.keep
    reach: Any = who.reach
    D = dq.shape[1]
    Dh = D // heads
    scale = scale_of(Dh)
    dq_flat, dk_flat, dv_flat = dq.reshape(-1), dk.reshape(-1), dv.reshape(-1)
    most, wide = whole_panels(longest(who.starts)), whole_panels(Dh)
    keys, values = room(Dh * most), room(Dh * most)
    columns = room(wide * most)  # k again, for dq
    P, dP = room(BLOCK * most), room(BLOCK * most)
    dk_panels, dv_panels = room(Dh * most), room(Dh * most)
    turned, dq_block = room(Dh * BLOCK), room(BLOCK * wide)
    square = room(LANES * LANES)
    all_from, all_through = room(most), room(most)
    probs, numbers = room(whole_rows(most)), room(1)
    nothing = np.zeros(most, np.float32)
    for item in range(start, stop):
        sentence, left = item // heads, item % heads * Dh
        first, T = who.starts[sentence], who.starts[sentence + 1] - who.starts[sentence]
        first_query, last_query = who.asking[sentence], who.asking[sentence + 1]
        width, head_key = whole_panels(T), key_of_head(dropping.key[0], item)
        for_each_key(T, keep[first : first + T], NOTHING, MASKED, BEYOND, all_from[:width])
        for_each_key(T, keep[first : first + T], scale, NOTHING, NOTHING, all_through[:width])
        own_keys = Place(k.numbers, first * k.step + left, k.step)
        panels_of_keys(own_keys, T, Dh, scale, keys)
        panels_of_keys(Place(v.numbers, first * v.step + left, v.step), T, Dh, ONE, values)
        panels_of_values(own_keys, T, Dh, columns)
        dk_panels[: Dh * width] = NOTHING
        dv_panels[: Dh * width] = NOTHING
        for top in range(first_query, last_query, BLOCK):
            n = min(BLOCK, last_query - top)
            seen = furthest(reach, top, top + n, T)
            width = whole_panels(seen)
            score_from, through = all_from[:width], all_through[:width]
            queries = Place(q.numbers, top * q.step + left, q.step)
            gradients = Place(dcontext.numbers, top * dcontext.step + left, dcontext.step)
            product_by_panels(n, queries, keys, Dh, score_from, width, P)  # S
            product_by_panels(n, gradients, values, Dh, nothing, width, dP)  # dR
            for r in range(n):  # from S and dR to R and dS
                at, number = r * COLUMNS, (top + r - first_query) * T
                copy_row(P, at, width, probs)
                hide_beyond(probs, 0, reach[top + r] if reach.shape[0] else width, whole_rows(seen))
                softmax_block(1, probs, whole_rows(seen), numbers)
                put_row(probs, width, P, at)
                if dropping.limit:
                    limit = np.uint64(dropping.limit)
                    drop_row(P, at, width, head_key, number, limit, dropping.share)
                    drop_row(dP, at, width, head_key, number, limit, dropping.share)
                through_softmax(probs, dP, at, width, through)
            product_of_panels(n, dP, seen, columns, T, Dh, dq_block, wide)
            turn_rows(queries, n, Dh, BLOCK, ONE, Place(turned, 0, BLOCK))
            add_turned_product(n, turned, dP, Dh, width, dk_panels)
            turn_rows(gradients, n, Dh, BLOCK, ONE, Place(turned, 0, BLOCK))
            add_turned_product(n, turned, P, Dh, width, dv_panels)
            for r in range(n):
                for d in range(Dh):
                    dq_flat[np.uint64((top + r) * D + left + d)] = dq_block[np.uint64(r * wide + d)]
        rows_of_panels(dk_panels, T, Dh, square, Place(dk_flat, first * D + left, D))
        rows_of_panels(dv_panels, T, Dh, square, Place(dv_flat, first * D + left, D))
