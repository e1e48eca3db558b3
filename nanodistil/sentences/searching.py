"""Semantic search: of many vectors the nearest to each of a few, exactly, without an index structure.

    queries (Q, E), vectors (N, E) -> a chunk of vectors: all products at once -> candidates -> exact scores -> best

The products of a chunk are one matrix product in the vectors' own type, and are off by no more than a bound that is
known beforehand (E roundings, each of 2^-24). Whatever might be among the best within twice the bound is a candidate,
and candidates are scored again, one by one, in float64. So the answer is that of float64 for all, and does not depend
on chunks, threads or how a BLAS sums; of equal scores the one that stands first wins.

A byte a number (`compact`) is a quarter of the memory: each vector has a scale of its own, max |x| / 127, so vectors
may come to it later. The search is then exact for what is left of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.sentences.similarity import PAIRWISE, similarity_of
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError

CHUNK = 16384  # vectors at a time
QUERIES = 64  # queries at a time: their products with a chunk are 4 MB
SLACK = 4.0  # on the bound: queries and norms are rounded too
LONG = 1e15  # lengths beyond it are multiplied in float64

Floats = NDArray[np.floating[Any]]


class Vectors(NamedTuple):
    """Vectors to search among."""

    numbers: NDArray[Any]  # (N, E), float32, float64 or int8
    scales: NDArray[np.float32] | None = None  # (N,), what int8 is multiplied with

    def exact(self, rows: NDArray[np.int64]) -> Floats:
        """Some of them in float64: (n,) -> (n, E)."""
        x = self.numbers[rows].astype(np.float64)
        return x if self.scales is None else x * self.scales[rows, None]


class Hits(NamedTuple):
    """The nearest vectors of a query, best first."""

    ids: NDArray[np.int64]  # (k,)
    scores: Floats  # (k,), float64


def compact(x: Floats) -> Vectors:
    """Vectors as a byte a number and a scale a vector: (N, E).

    >>> compact(np.array([[127.0, -63.6], [0.0, 0.0]])).numbers.tolist()
    [[127, -64], [0, 0]]
    """
    scales = np.maximum(np.abs(x).max(axis=1, initial=0), np.finfo(np.float32).tiny) / 127
    return Vectors(np.rint(x / scales[:, None]).astype(np.int8), scales.astype(np.float32))


def nearest(queries: Floats, vectors: Vectors, top_k: int, similarity: str) -> list[Hits]:
    """The top_k nearest of N vectors to each of Q: (Q, E) -> Q Hits. Raises InputError for numbers that are none."""
    best = [Hits(np.zeros(0, np.int64), np.zeros(0)) for _ in queries]
    exact = queries.astype(np.float64)
    for first in range(0, len(vectors.numbers), CHUNK):
        last = min(first + CHUNK, len(vectors.numbers))
        chunk = _Chunk(vectors, first, last, similarity)
        for q in range(0, len(queries), QUERIES):
            rough, off = chunk.scores(exact[q : q + QUERIES])  # (n, last - first), (n,)
            for i, (row, bound) in enumerate(zip(rough, off, strict=True), start=q):
                best[i] = _better(best[i], row, bound, exact[i], vectors, first, top_k, similarity)
    return best


class _Chunk:
    """Some of the vectors, and what their rough scores need."""

    def __init__(self, vectors: Vectors, first: int, last: int, similarity: str) -> None:
        x = vectors.numbers[first:last]
        self.x = x.astype(np.float32) if vectors.scales is not None or x.dtype.kind != "f" else x
        if self.x.dtype == np.float16:
            self.x = self.x.astype(np.float32)
        scales = 1.0 if vectors.scales is None else vectors.scales[first:last].astype(np.float64)
        self.scales = np.broadcast_to(scales, (last - first,))
        self.lengths = _lengths(self.x)
        if not float(self.lengths.max(initial=0)) < LONG:  # squares that float32 has no room for
            self.x = self.x.astype(np.float64)
            self.lengths = _lengths(self.x)
        self.lengths = self.lengths * self.scales
        self.similarity = similarity
        if not np.isfinite(self.lengths).all():
            raise InputError("vectors must be finite numbers, and some are NaN or infinite")

    def scores(self, queries: Floats) -> tuple[Floats, Floats]:
        """(n, E) -> scores (n, C) and by how much those of a query may be off (n,)."""
        lengths, longest = np.linalg.norm(queries, axis=1), float(self.lengths.max(initial=0))
        unit = np.finfo(self.x.dtype).eps * self.x.shape[1] * SLACK
        products = (queries.astype(self.x.dtype) @ self.x.T).astype(np.float64) * self.scales
        if self.similarity == "dot":
            return products, unit * lengths * longest
        if self.similarity == "cosine":
            there = np.maximum(lengths[:, None], 1e-12) * np.maximum(self.lengths, 1e-12)
            return products / there, np.full(len(queries), unit)
        squares = lengths[:, None] ** 2 + self.lengths**2 - 2 * products
        return -squares, unit * (lengths + longest) ** 2


def _lengths(x: Floats) -> Floats:
    """In the vectors' own type, four times as fast as in float64: (n, E) -> (n,). SLACK is for this too."""
    return np.asarray(np.sqrt(np.einsum("ne,ne->n", x, x), dtype=np.float64))


def _better(
    best: Hits, rough: Floats, off: float, query: Floats, vectors: Vectors, first: int, top_k: int, similarity: str
) -> Hits:
    """The best so far and those of a chunk together."""
    k = min(top_k, len(rough))
    least = np.partition(rough, len(rough) - k)[len(rough) - k]
    if len(best.scores) == top_k:
        worst = float(best.scores[-1])
        least = max(least, -(worst**2) if similarity == "euclidean" else worst)
    there = np.flatnonzero(rough >= least - 2 * off)
    scores = PAIRWISE[similarity](query[None], vectors.exact(there + first))
    ids, scores = np.concatenate([best.ids, there + first]), np.concatenate([best.scores, scores])
    order = np.lexsort((ids, -scores))[:top_k]
    return Hits(ids[order], scores[order])


def semantic_search(
    query_embeddings: ArrayLike, corpus_embeddings: ArrayLike, top_k: int = 10, similarity: str = "cosine"
) -> list[list[dict[str, Any]]]:
    """For each of Q vectors the top_k nearest of N, best first: {"corpus_id", "score"}, as sentence-transformers' has.

    similarity: "cosine", "dot" or "euclidean". Raises InputError for what does not fit.

    >>> semantic_search([[1.0, 0.0]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], top_k=2)[0][0]
    {'corpus_id': 1, 'score': 1.0}
    """
    queries, corpus = numbers(query_embeddings, "query_embeddings"), numbers(corpus_embeddings, "corpus_embeddings")
    queries = np.atleast_2d(queries)
    return [
        [{"corpus_id": int(i), "score": float(score)} for i, score in zip(*hits, strict=True)]
        for hits in searched(queries, Vectors(corpus), top_k, similarity)
    ]


def searched(queries: NDArray[Any], vectors: Vectors, top_k: int, similarity: str) -> list[Hits]:
    """As `nearest`, its arguments checked."""
    whole_number("top_k", top_k, 1)
    if similarity_of(similarity) == "manhattan":
        raise InputError("a search is by cosine, dot or euclidean")
    if queries.ndim != 2 or vectors.numbers.ndim != 2 or queries.shape[1] != vectors.numbers.shape[1]:
        raise InputError(
            f"queries and vectors must be (Q, E) and (N, E), not {queries.shape} and {vectors.numbers.shape}"
        )
    if not np.isfinite(queries).all():
        raise InputError("queries must be finite numbers, and some are NaN or infinite")
    return nearest(queries, vectors, top_k, similarity)
