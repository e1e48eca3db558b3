"""The numba backend: the names of numpy_ops on compiled kernels, float32.

Each function allocates its result, divides the work among the threads and calls a kernel; the kernels' files say how
they work. A row's result is bitwise the same alone, in any batch, in any order and with any number of threads. Indices
are checked by the caller (packing.py): compiled code checks no bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..definitions import numpy_ops
from ..definitions.numpy_ops import Activation, fetch, send, sentences, vocabulary_softmax
from ..definitions.sentences import Sentences
from ..runtime.memory import empty
from ..runtime.native import Rows
from ..runtime.pool import divided, run, set_threads, threads
from . import gelu
from .attention import QKV, attention_heads, context_heads, score_heads, softmax_rows
from .dropout import Dropping
from .layer_norm import Lookup, add_layer_norm_rows, added_rows, embed_layer_norm_rows, embed_rows, layer_norm_rows
from .linear import GELU, IDENTITY, Panels, items, linear_blocks, pack, stretch, unpack
from .pages import Pages
from .vocabulary import most_probable_rows

__all__ = [
    "activation", "add", "add_layer_norm", "attention", "attention_context", "attention_probs", "attention_scores",
    "divided", "embed", "embed_layer_norm", "fetch", "layer_norm", "linear", "linear_activation", "most_probable",
    "prepare_head", "prepare_linear", "remember", "restore_linear", "send", "set_threads", "threads",
    "vocabulary_softmax",
]  # fmt: skip

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST_RANKED = 1000  # words that a sorted list is kept of: 1.8 ms a row, sorting all 2.6; with 2000 it is 5.7
ROWS_A_THREAD = 16  # below this, waking a thread costs more than the row work it takes over
NOTHING_MASKED, ALL_IN_REACH = np.zeros(0, np.bool_), np.zeros(0, np.int64)
NOTHING_DROPPED = Dropping(np.zeros(1, np.uint64), 0, np.float32(1))

prepare_linear = prepare_head = pack
restore_linear = unpack


def linear(x: Array, w: Panels) -> Array:
    """x W^T + b: (N, I) -> (N, O)."""
    return _linear(x, w, IDENTITY)


def _linear(x: Array, w: Panels, activation: int) -> Array:
    out = empty(x.shape[0], w.width)
    part, x = stretch(x.shape[0]), np.ascontiguousarray(x)
    run(linear_blocks, items(x.shape[0], w, strip=part.panels), x, w.panels, w.bias, part, activation, out)
    return out


def activation(x: Array, which: Activation) -> Array:
    """The activation a checkpoint's config names: (N, F) -> (N, F)."""
    kernel = gelu.ROWS.get(which) if isinstance(which, str) else None
    if kernel is None:
        return numpy_ops.activation(x, which)
    out = empty(*x.shape)
    run(kernel, x.shape[0], x, out, least=ROWS_A_THREAD)
    return out


def linear_activation(x: Array, w: Panels, which: Activation) -> Array:
    """activation(linear(x)): (N, I) -> (N, O)."""
    return _linear(x, w, GELU) if which == "gelu" else activation(linear(x, w), which)


def embed(ids: Ints, positions: Ints, words: Array, places: Array) -> Array:
    """words[ids] + places[positions]: (N,), (N,), (V, D), (P, D) -> (N, D)."""
    out = empty(ids.shape[0], words.shape[1])
    run(embed_rows, ids.shape[0], lookup(ids, positions, words, places), out, least=ROWS_A_THREAD)
    return out


def lookup(*arrays: Any) -> Lookup:
    """ids, positions, words, places as kernels take them."""
    return Lookup(*map(np.ascontiguousarray, arrays))


def embed_layer_norm(
    ids: Ints, positions: Ints, words: Array, places: Array, weight: Array, bias: Array, eps: float
) -> Array:
    """layer_norm(embed(...)): ..., 2 x (D,) -> (N, D)."""
    out = empty(ids.shape[0], words.shape[1])
    tokens = lookup(ids, positions, words, places)
    run(embed_layer_norm_rows, ids.shape[0], tokens, weight, bias, eps, out, least=ROWS_A_THREAD)
    return out


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """LayerNorm over the last axis: (N, D), 2 x (D,) -> (N, D)."""
    out = empty(*x.shape)
    run(layer_norm_rows, x.shape[0], x, weight, bias, eps, out, least=ROWS_A_THREAD)
    return out


def add_layer_norm(x: Array, residual: Array, weight: Array, bias: Array, eps: float) -> Array:
    """layer_norm(x + residual): (N, D), (N, D) -> (N, D)."""
    out = empty(*x.shape)
    run(add_layer_norm_rows, x.shape[0], x, residual, weight, bias, eps, out, least=ROWS_A_THREAD)
    return out


def add(x: Array, residual: Array) -> Array:
    """x + residual, for blocks that do not normalise it: (N, D), (N, D) -> (N, D)."""
    out = empty(*x.shape)
    run(added_rows, x.shape[0], x, residual, out, least=ROWS_A_THREAD)
    return out


def rows_of(x: Array) -> Rows:
    """x (N, D) as it lies in memory, if its rows are contiguous, else a copy."""
    return Rows(x if x.strides[1] == x.itemsize and x.strides[0] > 0 else np.ascontiguousarray(x))


def masks(who: Sentences) -> Sentences:
    """As kernels take it, who know no None."""
    keep = NOTHING_MASKED if who.keep is None else who.keep
    return who._replace(keep=keep, reach=ALL_IN_REACH if who.reach is None else who.reach)


def attention(q: Array, k: Array, v: Array, who: Sentences) -> Array:
    """softmax(q k^T / sqrt(Dh)) v, each sentence by itself: (M, D), 2 x (N, D) -> (M, D)."""
    return attention_with(NOTHING_DROPPED, q, k, v, who)


def attention_with(dropping: Dropping, q: Array, k: Array, v: Array, who: Sentences) -> Array:
    """The same with dropout on the probabilities, for training."""
    out = empty(*q.shape)
    x = QKV(rows_of(q), rows_of(k), rows_of(v))
    run(attention_heads, (len(who.starts) - 1) * who.heads, x, masks(who), dropping, out)
    return out


def remember(widths: Sequence[int], head: int) -> Pages:
    """Room for the keys and values of texts that are written on. widths: A of every layer; head: Dh, of all."""
    return Pages(widths, head)


def attention_scores(q: Array, k: Array, who: Sentences) -> list[Array]:
    """Scaled dot products of every sentence with itself: (M, D), (N, D) -> B x (H, Q, T)."""
    scores = []
    for a, s in zip(sentences(who.asking), sentences(who.starts), strict=True):
        out = np.empty((who.heads, a.stop - a.start, s.stop - s.start), np.float32)
        keep = NOTHING_MASKED if who.keep is None else who.keep[s]
        reach = ALL_IN_REACH if who.reach is None else who.reach[a]
        run(score_heads, who.heads, rows_of(q[a]), rows_of(k[s]), keep, reach, q.shape[1] // who.heads, out)
        scores.append(out)
    return scores


def attention_probs(scores: Sequence[Array]) -> list[Array]:
    """softmax over the keys: B x (H, Q, T) -> B x (H, Q, T)."""
    probs = []
    for s in scores:
        out = np.empty(s.shape, np.float32)
        rows = np.ascontiguousarray(s).reshape(-1, s.shape[-1])  # (H * T, T)
        run(softmax_rows, rows.shape[0], rows, out.reshape(rows.shape), least=ROWS_A_THREAD)
        probs.append(out)
    return probs


def attention_context(probs: Sequence[Array], v: Array, starts: Ints) -> Array:
    """The values, averaged by the probabilities: B x (H, Q, T), (N, D) -> (M, D)."""
    out: Any = np.empty((sum(p.shape[1] for p in probs), v.shape[1]), np.float32)
    row = 0
    for p, s in zip(probs, sentences(starts), strict=True):
        run(context_heads, p.shape[0], np.ascontiguousarray(p), rows_of(v[s]), rows_of(out[row : row + p.shape[1]]))
        row += p.shape[1]
    return out


def most_probable(logits: Array, k: int) -> tuple[Array, Ints]:
    """vocabulary_softmax at the k largest, largest first: (M, V) -> (M, k), (M, k)."""
    if not 0 < k <= min(MOST_RANKED, logits.shape[1]):
        return numpy_ops.most_probable(logits, k)
    probs, words = empty(logits.shape[0], k), np.zeros((logits.shape[0], k), np.int64)
    run(most_probable_rows, logits.shape[0], np.ascontiguousarray(logits), probs, words)
    return probs, words
