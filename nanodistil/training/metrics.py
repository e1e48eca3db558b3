"""What a trained head is judged by: GLUE's figures for sentences, seqeval's for entities.

    GLUE         figures (transformers' names and definitions)
    CoLA         mcc (Matthews)
    MRPC, QQP    acc, f1 of class 1, acc_and_f1
    STS-B        pearson, spearmanr, corr: their mean; mse
    the others   acc; for a table of any other task acc and macro f1, and several labels at once micro and macro f1

Accuracy and the mean squared error are means and need nobody. The rest comes from scikit-learn and scipy, and from
seqeval for entities, which are spans of words: one counts only if its kind and both its ends are right. If these are
not installed (extra: pip install "nanodistil[train]") nothing ends: what needs nobody is reported, and a line says what
is not. CoLA's figure is acc then, and the best model of a run is the one that is best by what there is (`deciding`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array
from nanodistil.weights.errors import excerpt

ACCURACY_ONLY = ("mnli", "qnli", "rte", "sst2", "wnli")
GLUE = ("cola", "mrpc", "qqp", "stsb", *ACCURACY_ONLY)
SCHEME = ("B-", "I-", "E-", "S-", "L-", "U-")  # how a tag of an entity begins
BEST = {"cola": "mcc", "mrpc": "acc_and_f1", "qqp": "acc_and_f1"}  # what decides; else acc
SKLEARN, SCIPY, SEQEVAL = "sklearn.metrics", "scipy.stats", "seqeval.metrics"
PACKAGES = {SKLEARN: "scikit-learn", SCIPY: "scipy", SEQEVAL: "seqeval"}


def library(module: str) -> Any | None:
    """A module of the [train] extra, None if it is not installed."""
    try:
        return import_module(module)
    except ImportError:
        return None


def _library(module: str, found: str, lacking: str) -> Any | None:
    """The same, with a line that says which figures are found without it and which are not."""
    there = library(module)
    if there is None:
        warnings.warn(
            f"note: without {PACKAGES[module]} there is {found}, but no {lacking}: "
            'pip install "nanodistil[train]" adds it',
            stacklevel=4,
        )
    return there


def deciding(task: str | None) -> str:
    """The figure by which a run of classes, of a GLUE task or another (None), tells its best model.

    >>> deciding("sst2"), deciding(None)
    ('acc', 'acc')
    """
    name = BEST.get(task or "", "acc")
    return name if name == "acc" or library(SKLEARN) else "acc"


def deciding_number() -> tuple[str, bool]:
    """The same of a run of numbers, and whether more of it is better."""
    return ("corr", True) if library(SCIPY) else ("mse", False)


def deciding_entity(names: Sequence[str]) -> str:
    """The same of a run of tags, whose names these are.

    >>> deciding_entity(["NOUN", "VERB"])  # parts of speech, among which there are no spans
    'acc'
    """
    return "f1" if _no_entity(names) is None and library(SEQEVAL) else "acc"


def _no_entity(tags: Sequence[str]) -> str | None:
    """A tag that is none of an entity, if there is one."""
    return next((tag for tag in tags if tag != "O" and tag[:2] not in SCHEME), None)


def glue(task: str, predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """The figures of a GLUE task for (n,) predictions, classes or for stsb scores.

    >>> glue("sst2", np.array([0, 1, 1]), np.array([0, 1, 0]))["acc"]
    0.6666666666666666
    """
    if task == "stsb":
        return regression(predictions, labels)
    accuracy = {"acc": float((predictions == labels).mean())}
    if task in ACCURACY_ONLY:
        return accuracy
    sklearn = _library(SKLEARN, "acc", "mcc" if task == "cola" else "f1")
    if sklearn is None:
        return accuracy
    if task == "cola":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single class
            return {"mcc": float(sklearn.matthews_corrcoef(labels, predictions))}
    f1 = float(sklearn.f1_score(labels, predictions, zero_division=0.0))
    return {**accuracy, "f1": f1, "acc_and_f1": (accuracy["acc"] + f1) / 2}


def classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Accuracy and macro-averaged F1 of (n,) classes."""
    found = {"acc": float((predictions == labels).mean())}
    if sklearn := _library(SKLEARN, "acc", "f1"):
        found["f1_macro"] = float(sklearn.f1_score(labels, predictions, average="macro", zero_division=0.0))
    return found


def several_classes(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Of (n, C) ones and zeros: how many rows are right as a whole, and micro- and macro-averaged F1."""
    found = {"acc": float((predictions == labels).all(1).mean())}
    if sklearn := _library(SKLEARN, "acc", "f1"):
        for mean in ("micro", "macro"):
            found[f"f1_{mean}"] = float(sklearn.f1_score(labels, predictions, average=mean, zero_division=0.0))
    return found


def regression(predictions: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Correlation of (n,) numbers, of their ranks, the mean of both, and the mean squared error.

    Numbers that are all the same, or a single one, have no correlation: it is NaN.
    """
    mse = {"mse": float(np.square(predictions - labels, dtype=np.float64).mean())}
    stats = _library(SCIPY, "mse", "correlation")
    if stats is None:
        return mse
    pearson = spearman = float("nan")
    if len(labels) > 1 and np.ptp(labels) > 0 and np.ptp(predictions) > 0:
        pearson, spearman = (float(f(predictions, labels)[0]) for f in (stats.pearsonr, stats.spearmanr))
    return {"pearson": pearson, "spearmanr": spearman, "corr": (pearson + spearman) / 2, **mse}


def entities(predictions: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> dict[str, Any]:
    """seqeval's figures for the tags of sentences, all together and for each kind of entity: {"f1": ..., "PER": {...}}.

    Tags that do not say B- or I- are no entities, and only acc means something.
    """
    pairs = [a == b for one, other in zip(predictions, labels, strict=True) for a, b in zip(one, other, strict=True)]
    accuracy = {"acc": sum(pairs) / max(len(pairs), 1)}
    odd = _no_entity([tag for tags in labels for tag in tags])
    if odd is not None:
        warnings.warn(
            f"note: labels such as {excerpt(odd)} mark no entities (B-, I-): of the figures only acc counts",
            stacklevel=2,
        )
    if (seqeval := library(SEQEVAL) if odd else _library(SEQEVAL, "acc", "f1 of entities")) is None:
        return accuracy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval's, a line for each such tag, and of means of nothing
        report = seqeval.classification_report(labels, predictions, output_dict=True, zero_division=0)
        whole = {
            name: float(getattr(seqeval, f"{name}_score")(labels, predictions, zero_division=0))
            for name in ("precision", "recall", "f1")
        }
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    kinds = {
        kind: {**{ours: float(r[theirs]) for ours, theirs in names.items()}, "number": int(r["support"])}
        for kind, r in report.items()
        if not kind.endswith(" avg")
    }
    return {**whole, **accuracy, **kinds}


def ranks(logits: Array, labels: NDArray[Any]) -> NDArray[np.int64]:
    """At each of M rows, how many words score higher than the right one: (M, V), (M,) -> (M,)."""
    return np.asarray((logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1), np.int64)
