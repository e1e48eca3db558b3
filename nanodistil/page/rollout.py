"""Attention rollout: from which tokens what stands at a token at last has come (Abnar & Zuidema 2020).

A block mixes tokens by its attention, the mean of its heads, and keeps as much of what was there, by the residual. The
mixtures of all blocks, multiplied, say how much of each first vector is in each last one, if values did not matter.
They do, so this is where a model looks and not why it answers: attribution says that.
"""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array


def rollout(attentions: list[Array]) -> Array:
    """L x (H, T, T) -> (T, T), float64: row by row shares that add up to 1.

    >>> rollout([np.array([[[0.5, 0.5], [0.0, 1.0]]])])
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    T = attentions[0].shape[-1]
    mixed = np.eye(T)
    for heads in attentions:
        mixed = (heads.mean(0, dtype=np.float64) / 2 + np.eye(T) / 2) @ mixed
    return mixed
