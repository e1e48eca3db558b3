"""The best few of many numbers."""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array, Ints


def largest(values: Array, k: int) -> Ints:
    """Indices of the k largest, largest first, equal ones in their order: (V,) -> (min(k, V),). Without sorting all V.

    >>> largest(np.array([0.1, 0.4, 0.2, 0.4]), 3)
    array([1, 3, 2])
    """
    k = min(k, len(values))
    if k == 0:
        return np.zeros(0, np.int64)
    threshold = np.partition(values, len(values) - k)[len(values) - k]
    candidates = np.flatnonzero(values >= threshold)  # k, or a few more if the last ones are equal
    return candidates[np.argsort(-values[candidates], kind="stable")[:k]].astype(np.int64)
