"""The losses of the heads: one number for how far logits are from labels.

Logits may be float32 or float64; the sums run in float64, and the result is a number of the logits' dtype. A label of
-100 (IGNORED) does not count; if none counts the loss is NaN, 0 / 0, as in transformers. Labels are checked: one out
of range would be a wild read or, worse, a plausible number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.backend import Array
from nanodistil.weights.errors import InputError

IGNORED = -100


def counted_labels(
    labels: ArrayLike, N: int, C: int, ignore_index: int = IGNORED
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(N,) integers -> which rows count (N,), and the labels of those that do (n,), each one of C classes.

    Raises InputError for labels of another shape, no integers, or neither in 0..C-1 nor ignore_index.
    """
    truth = numbers(labels, "labels")
    if truth.shape != (N,):
        raise InputError(f"labels are of shape {truth.shape}; {N} are needed, one for each row of logits")
    if truth.dtype.kind not in "iu" and truth.size:
        raise InputError(f"labels must be integers, not {truth.dtype}")
    counted = truth != ignore_index
    truth = truth[counted]
    if truth.size and not (truth.min() >= 0 and truth.max() < C):
        worst = int(truth.min() if truth.min() < 0 else truth.max())
        raise InputError(f"label {worst} is outside the {C} classes 0 to {C - 1} (and is not {ignore_index}: ignore)")
    return counted, truth.astype(np.int64)


def cross_entropy(logits: Array, labels: ArrayLike, ignore_index: int = IGNORED) -> np.floating[Any]:
    """The mean over the labelled rows of -log softmax(logits)[label]: (N, C), (N,) integers -> a number.

    Raises InputError for labels of another shape, no integers, or neither in 0..C-1 nor ignore_index.

    >>> round(float(cross_entropy(np.array([[0.0, 0.0], [5.0, 1.0]]), [1, -100])), 6)
    0.693147
    """
    counted, truth = counted_labels(labels, logits.shape[0], logits.shape[1], ignore_index)
    if not truth.size:
        return logits.dtype.type(np.nan)
    scores = logits[counted].astype(np.float64)  # (n, C)
    scores -= scores.max(axis=1, keepdims=True)
    log_likelihood = scores[np.arange(len(truth)), truth] - np.log(np.exp(scores).sum(axis=1))  # (n,)
    return logits.dtype.type(-log_likelihood.mean())


def mean_squared_error(logits: Array, labels: ArrayLike) -> np.floating[Any]:
    """The mean of (logits - labels)^2: two arrays of one shape -> a number. Raises InputError for other shapes."""
    truth = _numbers(logits, labels)
    return logits.dtype.type(((logits - truth) ** 2).mean())


def binary_cross_entropy(logits: Array, labels: ArrayLike) -> np.floating[Any]:
    """The mean of -y log s(x) - (1 - y) log(1 - s(x)), s the logistic function: two arrays of one shape -> a number.

    Each class is a question of its own, so labels may hold several ones, or anything between 0 and 1.
    Raises InputError for other shapes.

    >>> round(float(binary_cross_entropy(np.zeros((1, 2)), [[0.0, 1.0]])), 6)
    0.693147
    """
    truth, x = _numbers(logits, labels), logits.astype(np.float64)
    return logits.dtype.type((np.logaddexp(0, x) - truth * x).mean())


def sequence_loss(problem_type: str, logits: Array, labels: ArrayLike) -> np.floating[Any]:
    """The loss of a sequence classifier: (B, C) logits; labels (B,) integers, or (B, C) or (B,) numbers -> a number."""
    if problem_type == "single_label_classification":
        return cross_entropy(logits, numbers(labels, "labels").reshape(-1))
    if problem_type == "regression" and logits.shape[1] == 1:
        return mean_squared_error(logits[:, 0], numbers(labels, "labels").reshape(-1))
    return (mean_squared_error if problem_type == "regression" else binary_cross_entropy)(logits, labels)


def problem_type_of(num_labels: int, labels: ArrayLike) -> str:
    """What a sequence classifier is for, told from its labels if the config does not say."""
    if num_labels == 1:
        return "regression"
    whole = numbers(labels, "labels").dtype.kind in "iu"
    return "single_label_classification" if whole else "multi_label_classification"


def span_loss(
    start_logits: Array, end_logits: Array, start_positions: ArrayLike, end_positions: ArrayLike
) -> np.floating[Any]:
    """Cross-entropy of where the answer starts and ends: (B, T) each, (B,) or (B, 1) integers each -> a number.

    A position beyond the text, from 0 to T, is one that was cut off: it does not count.
    """
    T = start_logits.shape[1]
    losses = []
    for logits, positions in ((start_logits, start_positions), (end_logits, end_positions)):
        places = numbers(positions, "start_positions and end_positions")
        if places.ndim == 2 and places.shape[1] == 1:
            places = places[:, 0]
        if places.dtype.kind not in "iu":
            raise InputError(f"start_positions and end_positions must be integers, not {places.dtype}")
        losses.append(cross_entropy(logits, places.clip(0, T), ignore_index=T))
    return (losses[0] + losses[1]) / 2


def _numbers(logits: Array, labels: ArrayLike) -> NDArray[np.float64]:
    truth = numbers(labels, "labels")
    if truth.shape != logits.shape:
        raise InputError(f"labels must be numbers of shape {logits.shape}, not {truth.dtype} of shape {truth.shape}")
    return truth.astype(np.float64)
