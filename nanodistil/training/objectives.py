"""One function a head: from a batch with labels to a loss, with the gradients of all weights on the way.

Each takes the keyword arguments of the head's call (heads.py), and gives the loss that the call would, computed by the
same rules: which positions count, what the mean is taken over, when there is none (NaN, and no gradient). The arrays
are checked as there, and errors are the same. Not computed is what no loss depends on:

- logits of tokens, and the last layer, at positions without a label; of the masked LM they come a few rows at a time,
  since a row is as long as the vocabulary: 256 rows of the official one are 31 MB, all 32 x 512 of a batch 2 GB;
- positions hidden by the mask, unless a label stands there, or, for question answering, always: there upstream takes
  its softmax over all T positions, padding and all, so padding changes the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil import losses
from nanodistil.arrays import numbers
from nanodistil.backend import Array, Ints
from nanodistil.losses import IGNORED
from nanodistil.packing import Packing, real_tokens, rectangle
from nanodistil.training.saved import Run
from nanodistil.training.trainee import HeadRun, Trainee
from nanodistil.weights.errors import InputError, excerpt

Batch = Mapping[str, Any]  # input_ids, attention_mask, position_ids, and the labels
Objective = Callable[..., float]

TOKENS = ("input_ids", "attention_mask", "position_ids")


def masked_lm(trainee: Trainee, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the positions whose label is not -100: labels (B, T) -> the loss.

    Adds scale times its gradients to those of the trainee. key: of the dropout; None for none. Raises InputError for
    arguments that do not fit the model. So do all functions here.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> trainee = Trainee(DistilBertForMaskedLM(tiny, backend="numpy"))
    >>> round(masked_lm(trainee, {"input_ids": [[1, 5, 2]], "labels": [[-100, 7, -100]]}), 1)
    2.2
    >>> trainee.gradients["vocab_projector.bias"].round(1)
    array([ 0.1,  0.1,  0.1,  0.1,  0.1,  0.1,  0.1, -0.9,  0.1], dtype=float32)
    """
    return _at_labels(trainee, batch, trainee.config.vocab_size, trainee.bops.HEAD_ROWS, key, scale)


def token_classification(trainee: Trainee, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the tokens whose label is not -100: labels (B, T) -> the loss."""
    return _at_labels(trainee, batch, trainee.config.num_labels, None, key, scale)


def _at_labels(trainee: Trainee, batch: Batch, classes: int, piece: int | None, key: int | None, scale: float) -> float:
    """The two above: the same loss of other classes. piece: how many rows at a time.

    None for all at once, where dropout falls on the rows: each piece would draw the same mask.
    """
    labels, packing = _labelled_tokens(trainee, batch)  # (B, T)
    counted, truth = losses.counted_labels(labels.reshape(-1), labels.size, classes)  # (B T,), (M,)
    if not truth.size:
        return float("nan")
    look, _ = packing.look(packing.rows(np.argwhere(counted.reshape(labels.shape))))
    run, truth = trainee.encode(packing.batch, look, key), trainee.ops.send(truth)  # run.x is (M, D)
    dx, total = np.empty_like(run.x), 0.0
    for start in range(0, len(truth), piece or len(truth)):
        rows = slice(start, start + (piece or len(truth)))
        head = trainee.apply_head(run.x[rows], key)  # (m, V) or (m, C)
        dlogits = np.zeros_like(head.logits)
        total += trainee.bops.cross_entropy(head.logits, truth[rows], scale / len(truth), dlogits)
        dx[rows] = trainee.head_backward(dlogits, head)  # (m, D)
    trainee.encode_backward(dx, run)
    return total / len(truth)


def sequence_classification(trainee: Trainee, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy, squared error or binary cross-entropy by config.problem_type: labels (B,) or (B, C) -> the loss.

    A problem_type of None is decided at the first call and kept in the config, as in heads.py.
    """
    _only(batch, "labels")
    labels, config = batch["labels"], trainee.config
    kind = config.problem_type or losses.problem_type_of(config.num_labels, labels)
    packing = _packed(trainee, batch, first=True)
    B = len(packing.computed)
    run, head = _at_first(trainee, packing, key)  # (B, C)
    logits = trainee.ops.fetch(head.logits)
    loss = losses.sequence_loss(kind, logits, labels)  # checks the labels too
    if config.problem_type is None:
        trainee.model.config.problem_type = kind
    if kind == "single_label_classification":
        dlogits = np.zeros_like(head.logits)
        add_cross_entropy(trainee, head.logits, np.reshape(labels, -1), IGNORED, scale, dlogits)
    else:
        truth, x = np.reshape(labels, logits.shape).astype(np.float64), logits.astype(np.float64)  # (B, C)
        slope = 2 * (x - truth) if kind == "regression" else np.exp(-np.logaddexp(0, -x)) - truth
        dlogits = trainee.ops.send((scale / max(B * config.num_labels, 1) * slope).astype(logits.dtype))
    trainee.encode_backward(trainee.head_backward(dlogits, head), run)
    return float(loss)


def multiple_choice(trainee: Trainee, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy among the choices: input_ids and attention_mask (B, choices, T), labels (B,) -> the loss."""
    _only(batch, "labels")
    joined = {name: _joined(batch[name]) for name in TOKENS if batch.get(name) is not None}
    run, head = _at_first(trainee, _packed(trainee, joined, first=True), key)  # (B choices, 1)
    logits = head.logits.reshape(np.shape(batch["input_ids"])[:2])  # (B, choices)
    loss = losses.cross_entropy(trainee.ops.fetch(logits), batch["labels"])
    dlogits = np.zeros_like(logits)
    add_cross_entropy(trainee, logits, batch["labels"], IGNORED, scale, dlogits)
    trainee.encode_backward(trainee.head_backward(dlogits.reshape(head.logits.shape), head), run)
    return float(loss)


def question_answering(trainee: Trainee, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy over all T positions of where the answer starts and ends: start_, end_positions (B,) -> the loss.

    A position from T on is an answer that was cut off, and does not count. Padding does: see above.
    """
    _only(batch, "start_positions", "end_positions")
    packing = _packed(trainee, batch, keep_masked=True)
    B, T = packing.computed.shape
    run = trainee.encode(packing.batch, None, key)  # (B T, D)
    head = trainee.apply_head(run.x, key)  # (B T, 2)
    both = trainee.ops.fetch(head.logits)
    start, end = (np.ascontiguousarray(both[:, i].reshape(B, T)) for i in range(2))
    places = (batch["start_positions"], batch["end_positions"])
    loss = losses.span_loss(start, end, *places)  # checks the places too
    dlogits = np.empty_like(head.logits)  # (B T, 2)
    for i, (logits, at) in enumerate(zip(map(trainee.ops.send, (start, end)), places, strict=True)):
        d = np.zeros_like(logits)  # (B, T)
        add_cross_entropy(trainee, logits, np.reshape(at, -1).clip(0, T), T, scale / 2, d)
        dlogits[:, i] = d.reshape(-1)
    trainee.encode_backward(trainee.head_backward(dlogits, head), run)
    return float(loss)


OBJECTIVES: dict[str, Objective] = {  # by the head's row in weights/names.py
    "masked_lm": masked_lm,
    "sequence_classification": sequence_classification,
    "multiple_choice": multiple_choice,
    "token_classification": token_classification,
    "question_answering": question_answering,
}


def add_cross_entropy(
    trainee: Trainee, logits: Array, labels: ArrayLike, ignored: int, scale: float, dlogits: Array
) -> None:
    """scale times the gradient of losses.cross_entropy, of labels it has checked: (N, C), (N,), adding to (N, C)."""
    truth = np.asarray(labels).astype(np.int64)
    truth[truth == ignored] = -1
    if n := np.count_nonzero(truth >= 0):
        trainee.bops.cross_entropy(logits, trainee.ops.send(truth), scale / n, dlogits)


def _at_first(trainee: Trainee, packing: Packing, key: int | None) -> tuple[Run, HeadRun]:
    """Encoder and head on the first token of every sentence: -> (B, D), (B, C)."""
    B = len(packing.computed)
    first = np.stack([np.arange(B), np.zeros(B, np.int64)], axis=1)  # (B, 2)
    look, _ = packing.look(packing.rows(first))
    run = trainee.encode(packing.batch, look, key)  # (B, D)
    return run, trainee.apply_head(run.x, key)  # (B, C)


def _only(batch: Batch, *labels: str) -> None:
    """Raise InputError unless the batch has these labels, ids, and nothing that would be passed over."""
    missing = [name for name in ("input_ids", *labels) if batch.get(name) is None]
    if missing:
        raise InputError(f"a batch to train on needs {missing[0]}")
    unknown = [name for name in batch if name not in (*TOKENS, *labels) and batch[name] is not None]
    if unknown:
        raise InputError(f"{excerpt(unknown[0])} has no place in a batch to train this model on")


def _packed(trainee: Trainee, batch: Batch, keep_masked: bool = False, first: bool = False) -> Packing:
    return Packing.of(
        batch["input_ids"],
        batch.get("attention_mask"),
        trainee.config,
        keep_masked,
        batch.get("position_ids"),
        first=first,
    )


def _labelled_tokens(trainee: Trainee, batch: Batch) -> tuple[Ints, Packing]:
    """Labels (B, T), and the batch with masked positions only if a label stands there or a sentence has no others."""
    _only(batch, "labels")
    labels, ids = numbers(batch["labels"], "labels"), rectangle(batch["input_ids"], "input_ids")
    if labels.shape != ids.shape:
        raise InputError(f"labels are of shape {labels.shape}, the tokens of shape {ids.shape}")
    mask = batch.get("attention_mask")
    hidden = np.zeros(ids.shape, np.bool_) if mask is None else ~real_tokens(mask)
    keep = hidden.shape == ids.shape and bool((hidden & (labels != IGNORED)).any() or hidden.all(axis=1).any())
    return labels, _packed(trainee, batch, keep_masked=keep)


def _joined(values: ArrayLike) -> NDArray[Any]:
    """(B, choices, T) -> (B choices, T): every choice a sentence of its own."""
    array = numbers(values, "a multiple-choice argument")
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise InputError(f"multiple choice takes (batch, choices, tokens) arrays, not of shape {array.shape}")
    return array.reshape(-1, array.shape[2])
