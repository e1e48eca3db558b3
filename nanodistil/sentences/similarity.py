"""How alike vectors are: cosine of their angle, product, or how far apart they lie (negative, so more is nearer).

    cosine     a b / (|a| |b|)        euclidean   -|a - b|
    dot        a b                    manhattan   -sum |a_i - b_i|

Computed in float64 and rounded once to the vectors' own type (float32 for integers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.sentences.steps import of_length_one
from nanodistil.weights.errors import InputError, excerpt

Array = NDArray[np.floating[Any]]
CHUNK = 1 << 22  # differences that are held at once


def _euclidean(a: Array, b: Array) -> Array:
    return np.asarray(-np.sqrt(((a - b) ** 2).sum(axis=-1)))


def _manhattan(a: Array, b: Array) -> Array:
    return np.asarray(-np.abs(a - b).sum(axis=-1))


PAIRWISE: dict[str, Callable[[Array, Array], Array]] = {  # (..., D), (..., D) -> (...)
    "cosine": lambda a, b: (of_length_one(a) * of_length_one(b)).sum(axis=-1),
    "dot": lambda a, b: (a * b).sum(axis=-1),
    "euclidean": _euclidean,
    "manhattan": _manhattan,
}


def similarity_of(name: object) -> str:
    """The name of a similarity; as transformers' enum members have it too. Raises InputError for any other."""
    found = str(getattr(name, "value", name))
    if found not in PAIRWISE:
        raise InputError(f"similarity_fn_name={excerpt(name)}: must be one of {', '.join(PAIRWISE)}")
    return found


def similarities(a: ArrayLike, b: ArrayLike, name: str = "cosine") -> Array:
    """Every one of n vectors with every one of m: (n, D), (m, D) -> (n, m). One vector (D,) counts as (1, D).

    Raises InputError for widths that differ.

    >>> similarities([[3.0, 4.0], [1.0, 0.0]], [0.0, 2.0]).round(2).tolist()
    [[0.8], [0.0]]
    """
    x, y, dtype = _both(a, b, name)
    x, y = np.atleast_2d(x), np.atleast_2d(y)
    if name == "cosine":
        found = of_length_one(x) @ of_length_one(y).T
    elif name == "dot":
        found = x @ y.T
    else:
        some = max(1, CHUNK // max(1, y.size))
        rows = [PAIRWISE[name](x[i : i + some, None], y[None]) for i in range(0, len(x), some)]
        found = np.concatenate(rows) if rows else np.zeros((0, len(y)))
    return found.astype(dtype)


def pairwise(a: ArrayLike, b: ArrayLike, name: str = "cosine") -> Array:
    """Each of n vectors with the one of the same number: (n, D), (n, D) -> (n,).

    >>> pairwise([[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 1.0]], "euclidean").tolist()
    [-1.0, -1.0]
    """
    x, y, dtype = _both(a, b, name)
    if x.shape != y.shape:
        raise InputError(f"pairs need as many vectors on both sides, not {x.shape} and {y.shape}")
    return PAIRWISE[name](x, y).astype(dtype)


def _both(a: ArrayLike, b: ArrayLike, name: str) -> tuple[Array, Array, np.dtype[Any]]:
    similarity_of(name)
    found = [numbers(one, "embeddings") for one in (a, b)]
    if any(not 1 <= one.ndim <= 2 for one in found) or found[0].shape[-1] != found[1].shape[-1]:
        raise InputError(f"embeddings must be (n, D) and (m, D) of one D, not {found[0].shape} and {found[1].shape}")
    double = any(one.dtype == np.float64 for one in found)
    return found[0].astype(np.float64), found[1].astype(np.float64), np.dtype(np.float64 if double else np.float32)
