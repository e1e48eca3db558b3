"""What the losses of all heads do alike: from a batch with labels to packed rows, and to the gradient of logits.

An objective takes the keyword arguments of its head's call, and gives the loss that the call would, computed by the
same rules: which positions count, what the mean is taken over, when there is none (NaN, and no gradient). The arrays
are checked as there, and errors are the same. Not computed is what no loss depends on:

- logits of tokens, and the last layer, at positions without a label; of the masked LM they come a few rows at a time,
  since a row is as long as the vocabulary: 256 rows of the official one are 31 MB, all 32 x 512 of a batch 2 GB;
- positions hidden by the mask, unless a label stands there, or, for question answering, always: there upstream takes
  its softmax over all T positions, padding and all, so padding changes the loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nanodistil import losses
from nanodistil.backend import Array, Ints
from nanodistil.head import Batch, Learner
from nanodistil.heads.calling import flat
from nanodistil.losses import IGNORED
from nanodistil.packing import Packing, first_tokens, real_tokens, rectangle
from nanodistil.weights.errors import InputError, excerpt

TOKENS = ("input_ids", "attention_mask", "position_ids", "token_type_ids")


def at_labels(learner: Learner, batch: Batch, classes: int, piece: int | None, key: int | None, scale: float) -> float:
    """Mean cross-entropy at the tokens whose label is not -100: labels (B, T) -> the loss.

    Adds scale times its gradients to those of the learner. key: of the dropout; None for none. piece: how many rows of
    logits at a time; None for all at once, where dropout falls on the rows: each piece would draw the same mask.
    """
    labels, packing = _labelled_tokens(learner, batch)  # (B, T)
    counted, truth = losses.counted_labels(labels.reshape(-1), labels.size, classes)  # (B T,), (M,)
    if not truth.size:
        return float("nan")
    look, _ = packing.look(packing.rows(np.argwhere(counted.reshape(labels.shape))))
    run, truth = learner.encode(packing.batch, look, key), learner.ops.send(truth)  # run.x is (M, D)
    dx, total = np.empty_like(run.x), 0.0
    for start in range(0, len(truth), piece or len(truth)):
        rows = slice(start, start + (piece or len(truth)))
        head = learner.apply_head(run.x[rows], key)  # (m, V) or (m, C)
        dlogits = np.zeros_like(head.logits)
        total += learner.bops.cross_entropy(head.logits, truth[rows], scale / len(truth), dlogits)
        dx[rows] = learner.head_backward(dlogits, head)  # (m, D)
    learner.encode_backward(dx, run)
    return total / len(truth)


def add_cross_entropy(
    learner: Learner, logits: Array, labels: ArrayLike, ignored: int, scale: float, dlogits: Array
) -> None:
    """scale times the gradient of losses.cross_entropy, of labels it has checked: (N, C), (N,), adding to (N, C)."""
    truth = np.asarray(labels).astype(np.int64)
    truth[truth == ignored] = -1
    if n := np.count_nonzero(truth >= 0):
        learner.bops.cross_entropy(logits, learner.ops.send(truth), scale / n, dlogits)


def at_first(learner: Learner, packing: Packing, key: int | None) -> tuple[Any, Any]:
    """Encoder and head on the first token of every sentence: their runs, of (B, D) and (B, C)."""
    return at_tokens(learner, packing, first_tokens(len(packing.computed)), key)


def at_tokens(learner: Learner, packing: Packing, tokens: Ints, key: int | None) -> tuple[Any, Any]:
    """Encoder and head on one token of every sentence, (B, 2): their runs, of (B, D) and (B, C)."""
    look, _ = packing.look(packing.rows(tokens))
    run = learner.encode(packing.batch, look, key)  # (B, D)
    return run, learner.apply_head(run.x, key)  # (B, C)


def only(batch: Batch, *labels: str) -> None:
    """Raise InputError unless the batch has these labels, ids, and nothing that would be passed over."""
    missing = [name for name in ("input_ids", *labels) if batch.get(name) is None]
    if missing:
        raise InputError(f"a batch to train on needs {missing[0]}")
    unknown = [name for name in batch if name not in (*TOKENS, *labels) and batch[name] is not None]
    if unknown:
        raise InputError(f"{excerpt(unknown[0])} has no place in a batch to train this model on")


def packed(learner: Learner, batch: Batch, keep_masked: bool = False, first: bool = False) -> Packing:
    """The batch without padding, or without what the mask hides."""
    return Packing.of(
        batch["input_ids"],
        batch.get("attention_mask"),
        learner.config,
        keep_masked,
        batch.get("position_ids"),
        first=first,
        token_type_ids=batch.get("token_type_ids"),
    )


def _labelled_tokens(learner: Learner, batch: Batch) -> tuple[Ints, Packing]:
    """Labels (B, T), and the batch with masked positions only if a label stands there or a sentence has no others."""
    only(batch, "labels")
    ids = rectangle(batch["input_ids"], "input_ids")
    labels = flat(batch["labels"], ids.shape).reshape(ids.shape)
    mask = batch.get("attention_mask")
    hidden = np.zeros(ids.shape, np.bool_) if mask is None else ~real_tokens(mask)
    keep = hidden.shape == ids.shape and bool((hidden & (labels != IGNORED)).any() or hidden.all(axis=1).any())
    return labels, packed(learner, batch, keep_masked=keep)
