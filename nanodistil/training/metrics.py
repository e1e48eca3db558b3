"""What a trained head is judged by: GLUE's figures for sentences, seqeval's for entities.

    GLUE         figures (transformers' names and definitions)
    CoLA         mcc (Matthews)
    MRPC, QQP    acc, f1 of class 1, acc_and_f1
    STS-B        pearson, spearmanr, corr: their mean
    the others   acc; for a table of any other task acc and macro f1, and several labels at once micro and macro f1

A class's F1 is the harmonic mean of how many of those said are right and how many of those there are were said; where
nothing was said and nothing is there it is 0, as scikit-learn and seqeval have it under zero_division=0. Entities are
spans of words (entities.py). Nothing here needs more than NumPy, so a run can always measure itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array
from nanodistil.training.entities import kinds_of
from nanodistil.weights.errors import excerpt

ACCURACY_ONLY = ("mnli", "qnli", "rte", "sst2", "wnli")
GLUE = ("cola", "mrpc", "qqp", "stsb", *ACCURACY_ONLY)
SCHEME = ("B-", "I-", "E-", "S-", "L-", "U-")  # how a tag of an entity begins
BEST = {"cola": "mcc", "mrpc": "acc_and_f1", "qqp": "acc_and_f1", "stsb": "corr"}  # what decides; else acc


def ratio(part: Any, whole: Any) -> float:
    """part / whole, and 0 of nothing."""
    return float(part / whole) if whole else 0.0


def f1_of(right: Any, said: Any, there: Any) -> float:
    """From how many were right, how many were said and how many there are.

    >>> f1_of(1, 2, 2), f1_of(0, 0, 0)
    (0.5, 0.0)
    """
    return ratio(2 * right, said + there)


def class_f1(predictions: NDArray[Any], labels: NDArray[Any], number: Any) -> float:
    """F1 of one class among (n,)."""
    said, there = predictions == number, labels == number
    return f1_of((said & there).sum(), said.sum(), there.sum())


def glue(task: str, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """The figures of a GLUE task for (n,) predictions, classes or for stsb scores.

    >>> glue("sst2", np.array([0, 1, 1]), np.array([0, 1, 0]))["acc"]
    0.6666666666666666
    """
    if task == "stsb":
        return regression(predictions, labels)
    if task == "cola":
        return {"mcc": matthews(predictions, labels)}
    accuracy = float((predictions == labels).mean())
    if task in ACCURACY_ONLY:
        return {"acc": accuracy}
    f1 = class_f1(predictions, labels, 1)
    return {"acc": accuracy, "f1": f1, "acc_and_f1": (accuracy + f1) / 2}


def matthews(predictions: NDArray[Any], labels: NDArray[Any]) -> float:
    """The correlation of two (n,) sortings into classes, -1 to 1; 0 where either knows one class only.

    >>> matthews(np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1])).__round__(4)
    0.5774
    """
    names = np.unique([predictions, labels])
    said, there = (np.equal.outer(x, names).astype(np.float64) for x in (predictions, labels))  # (n, C)
    said, there = said - said.mean(0), there - there.mean(0)
    both = float(np.sqrt((said**2).sum()) * np.sqrt((there**2).sum()))
    return ratio((said * there).sum(), both)


def classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Accuracy and macro-averaged F1 of (n,) classes."""
    names = np.unique([predictions, labels])
    f1 = np.mean([class_f1(predictions, labels, number) for number in names])
    return {"acc": float((predictions == labels).mean()), "f1_macro": float(f1)}


def several_classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Of (n, C) ones and zeros: how many rows are right as a whole, and micro- and macro-averaged F1."""
    counts = np.array([(predictions * labels).sum(0), predictions.sum(0), labels.sum(0)])  # (3, C)
    macro = np.mean([f1_of(*counts[:, i]) for i in range(counts.shape[1])])
    accuracy = float((predictions == labels).all(1).mean())
    return {"acc": accuracy, "f1_micro": f1_of(*counts.sum(1)), "f1_macro": float(macro)}


def regression(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Correlation of (n,) numbers, of their ranks, the mean of both, and the mean squared error.

    Numbers that are all the same, or a single one, have no correlation: it is NaN.
    """
    pearson = spearman = float("nan")
    if len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(predictions) > 0:
        pearson, spearman = correlation(predictions, labels), correlation(ranked(predictions), ranked(labels))
    mse = float(np.square(predictions - labels, dtype=np.float64).mean())
    return {"pearson": pearson, "spearmanr": spearman, "corr": (pearson + spearman) / 2, "mse": mse}


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Pearson's, of two (n,) that are not all the same."""
    x, y = (np.asarray(one, np.float64) - np.mean(one, dtype=np.float64) for one in (x, y))
    x, y = (one / np.abs(one).max() for one in (x, y))  # so that no square is lost
    return float(np.clip((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()), -1, 1))


def ranked(x: NDArray[Any]) -> Array:
    """The ranks of (n,) numbers, from 1; of equal ones the mean of theirs.

    >>> ranked(np.array([7.0, 3.0, 7.0]))
    array([2.5, 1. , 2.5])
    """
    _, place, many = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(many)  # the highest rank of each
    return np.asarray((last - (many - 1) / 2)[place.reshape(-1)])


def entities(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, Any]:
    """seqeval's figures for the tags of sentences, all together and for each kind of entity: {"f1": ..., "PER": {...}}.

    Tags that do not say B- or I- are no entities, and only acc means something.
    """
    odd = next((tag for tags in labels for tag in tags if tag != "O" and tag[:2] not in SCHEME), None)
    if odd is not None:
        warnings.warn(
            f"note: labels such as {excerpt(odd)} mark no entities (B-, I-): of the figures only acc counts",
            stacklevel=2,
        )
    kinds = kinds_of(predictions, labels)
    right, said, there = (sum(counts[i] for counts in kinds.values()) for i in range(3))
    pairs = [(a, b) for one, other in zip(predictions, labels, strict=True) for a, b in zip(one, other, strict=True)]

    def figures(right: int, said: int, there: int) -> dict[str, float]:
        return {"precision": ratio(right, said), "recall": ratio(right, there), "f1": f1_of(right, said, there)}

    return {
        **figures(right, said, there),
        "acc": ratio(sum(a == b for a, b in pairs), len(pairs)),
        **{kind: {**figures(*counts), "number": counts[2]} for kind, counts in kinds.items()},
    }


def ranks(logits: Array, labels: NDArray[Any]) -> NDArray[np.int64]:
    """At each of M rows, how many words score higher than the right one: (M, V), (M,) -> (M,)."""
    return np.asarray((logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1), np.int64)
