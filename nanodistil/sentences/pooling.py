"""One vector of the vectors of a text's tokens, in each of the six ways of sentence-transformers.

    cls                     that of the first token
    max                     the largest number of each column
    mean                    sum / n
    mean_sqrt_len_tokens    sum / sqrt(n)
    weightedmean            token t, counted from 1, weighs t (Muennighoff 2022, section 3.1)
    lasttoken               that of the last

Tokens of a prompt may be left out: the first of what is left is then `cls`, while weights go on counting from the
beginning. Everything is computed in float64, of one text by itself, so a vector cannot depend on a text's neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nanodistil.backend import Array

Way = Callable[[Array, int], Array]  # (T, D) of the tokens that count, how many were left out before them -> (D,)


def weighted_mean(x: Array, before: int) -> Array:
    """sum of t x_t over sum of t, t the places of the tokens, counted from 1: (T, D) -> (D,).

    >>> weighted_mean(np.array([[3.0], [6.0]]), 0)
    array([5.])
    """
    t = np.arange(before + 1, before + 1 + len(x), dtype=np.float64)  # (T,)
    return np.asarray((t[:, None] * x).sum(axis=0) / t.sum())


WAYS: dict[str, Way] = {
    "cls": lambda x, before: x[0],
    "max": lambda x, before: x.max(axis=0),
    "mean": lambda x, before: x.mean(axis=0),
    "mean_sqrt_len_tokens": lambda x, before: x.sum(axis=0) / np.sqrt(len(x)),
    "weightedmean": weighted_mean,
    "lasttoken": lambda x, before: x[-1],
}
OLD = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # the switches of older configs, in the order in which those that are on are put side by side


def pooled(x: Array, ways: tuple[str, ...], before: int = 0) -> Array:
    """The poolings of a text's tokens side by side: (T, D) float64 -> (len(ways) D,).

    before: how many tokens at the beginning are left out; fewer than T.

    >>> pooled(np.array([[9.0], [1.0], [3.0]]), ("mean", "cls", "weightedmean"), before=1)
    array([2. , 1. , 2.2])
    """
    return np.concatenate([WAYS[way](x[before:], before) for way in ways])
