"""From logits to scores: softmax where one class of several holds, the logistic function where each stands for itself.

Both are written so that no exponential overflows: exp is only ever taken of numbers up to 0.
"""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.weights.errors import CheckpointError


def softmax(logits: Array) -> Array:
    """exp(x) / sum exp(x) along the last axis: (..., C) -> (..., C).

    >>> softmax(np.array([1000.0, 1000.0, -1000.0]))
    array([0.5, 0.5, 0. ])
    """
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-x)), elementwise.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, e) / (1 + e), logits.dtype)


def ranked(scores: Array) -> Ints:
    """Indices of the scores, highest first, equal ones in their order: (C,) -> (C,).

    >>> ranked(np.array([0.2, 0.4, 0.4]))
    array([1, 2, 0])
    """
    return np.argsort(-scores, kind="stable")


def finite(logits: Array) -> Array:
    """The logits as they are. Raises CheckpointError if a damaged model made numbers of them that are none."""
    if not np.isfinite(logits).all():
        raise CheckpointError("the model gives numbers that are not finite; its weights are damaged")
    return logits
