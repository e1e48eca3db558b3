"""What a trained head is judged by: GLUE's figures for sentences, seqeval's for entities.

    GLUE         figures (transformers' names and definitions)
    CoLA         mcc (Matthews)
    MRPC, QQP    acc, f1 of class 1, acc_and_f1
    STS-B        pearson, spearmanr, corr: their mean
    the others   acc; for a table of any other task acc and macro f1, and several labels at once micro and macro f1

Accuracy is a mean and needs nobody. The rest comes from scikit-learn and scipy, and from seqeval for entities, which
are spans of words: one counts only if its kind and both its ends are right (extra: pip install "nanodistil[train]").
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array
from nanodistil.weights.errors import MissingExtraError, excerpt

ACCURACY_ONLY = ("mnli", "qnli", "rte", "sst2", "wnli")
GLUE = ("cola", "mrpc", "qqp", "stsb", *ACCURACY_ONLY)
SCHEME = ("B-", "I-", "E-", "S-", "L-", "U-")  # how a tag of an entity begins
BEST = {"cola": "mcc", "mrpc": "acc_and_f1", "qqp": "acc_and_f1", "stsb": "corr"}  # what decides; else acc


def extra(module: str) -> Any:
    """A module of the [train] extra. Raises MissingExtraError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f'these metrics need {module} ({error}): pip install "nanodistil[train]"') from None


def glue(task: str, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """The figures of a GLUE task for (n,) predictions, classes or for stsb scores. Raises MissingExtraError.

    >>> glue("sst2", np.array([0, 1, 1]), np.array([0, 1, 0]))["acc"]
    0.6666666666666666
    """
    if task == "stsb":
        return regression(predictions, labels)
    if task == "cola":
        return {"mcc": float(extra("sklearn.metrics").matthews_corrcoef(labels, predictions))}
    accuracy = float((predictions == labels).mean())
    if task in ACCURACY_ONLY:
        return {"acc": accuracy}
    f1 = float(extra("sklearn.metrics").f1_score(labels, predictions, zero_division=0.0))
    return {"acc": accuracy, "f1": f1, "acc_and_f1": (accuracy + f1) / 2}


def classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Accuracy and macro-averaged F1 of (n,) classes. Raises MissingExtraError."""
    f1 = extra("sklearn.metrics").f1_score(labels, predictions, average="macro", zero_division=0.0)
    return {"acc": float((predictions == labels).mean()), "f1_macro": float(f1)}


def several_classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Of (n, C) ones and zeros: how many rows are right as a whole, and micro- and macro-averaged F1."""
    score = extra("sklearn.metrics").f1_score
    means = {f"f1_{a}": float(score(labels, predictions, average=a, zero_division=0.0)) for a in ("micro", "macro")}
    return {"acc": float((predictions == labels).all(1).mean()), **means}


def regression(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Correlation of (n,) numbers, of their ranks, the mean of both, and the mean squared error.

    Numbers that are all the same, or a single one, have no correlation: it is NaN.
    """
    stats = extra("scipy.stats")
    pearson = spearman = float("nan")
    if len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(predictions) > 0:
        pearson, spearman = (float(f(predictions, labels)[0]) for f in (stats.pearsonr, stats.spearmanr))
    mse = float(np.square(predictions - labels, dtype=np.float64).mean())
    return {"pearson": pearson, "spearmanr": spearman, "corr": (pearson + spearman) / 2, "mse": mse}


def entities(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, Any]:
    """seqeval's figures for the tags of sentences, all together and for each kind of entity: {"f1": ..., "PER": {...}}.

    Tags that do not say B- or I- are no entities, and only acc means something. Raises MissingExtraError.
    """
    seqeval = extra("seqeval.metrics")
    odd = next((tag for tags in labels for tag in tags if tag != "O" and tag[:2] not in SCHEME), None)
    if odd is not None:
        warnings.warn(
            f"note: labels such as {excerpt(odd)} mark no entities (B-, I-): of the figures only acc counts",
            stacklevel=2,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval's, a line for each such tag, and of means of nothing
        return _entities(seqeval, predictions, labels)


def _entities(seqeval: Any, predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, Any]:
    report = seqeval.classification_report(labels, predictions, output_dict=True, zero_division=0)
    kinds = {
        kind: {"precision": float(r["precision"]), "recall": float(r["recall"]), "f1": float(r["f1-score"]),
               "number": int(r["support"])}
        for kind, r in report.items() if not kind.endswith(" avg")
    }  # fmt: skip
    return {
        "precision": float(seqeval.precision_score(labels, predictions, zero_division=0)),
        "recall": float(seqeval.recall_score(labels, predictions, zero_division=0)),
        "f1": float(seqeval.f1_score(labels, predictions, zero_division=0)),
        "acc": float(seqeval.accuracy_score(labels, predictions)),
        **kinds,
    }


def ranks(logits: Array, labels: NDArray[Any]) -> NDArray[np.int64]:
    """At each of M rows, how many words score higher than the right one: (M, V), (M,) -> (M,)."""
    return np.asarray((logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1), np.int64)
