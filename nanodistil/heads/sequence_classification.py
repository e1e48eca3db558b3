"""A classifier on the first token of a text: sentiment, topic, whether one sentence follows from another.

    x (B, D) -> pre_classifier -> ReLU -> classifier (B, C)

A BERT has tanh where DistilBERT has ReLU (family/bert.py), a RoBERTa other names (family/roberta.py): `two_maps` makes
the head for any of them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Unpack

import numpy as np

from nanodistil import losses
from nanodistil.backend import Array, BackwardOps, Ints, Ops
from nanodistil.config import Config
from nanodistil.head import Batch, Head, HeadRun, Learner
from nanodistil.heads.calling import finished
from nanodistil.heads.learning import add_cross_entropy, at_tokens, only, packed
from nanodistil.losses import IGNORED
from nanodistil.outputs import ScoredOutput
from nanodistil.packing import Packing, first_tokens
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.taps import Tap, showing
from nanodistil.weights.layout import Weights


class SequenceClassifierOutput(ScoredOutput):
    """Of ForSequenceClassification: logits (B, C)."""


class Maps(NamedTuple):
    """Their names, and what is between them."""

    first: str
    second: str
    activation: str


def forward(x: Array, w: Weights, ops: Ops, tap: Tap, maps: Maps) -> Array:
    """A score for every class, from the first token of each sentence: (B, D) -> (B, C).

    For multiple choice there is one class: how well the sentence answers.
    """
    first, second = getattr(w.head, maps.first), getattr(w.head, maps.second)
    h = showing(ops, tap, maps.first).linear_activation(x, first, maps.activation)  # (B, D)
    h = tap(f"{maps.first}.activation", h)
    return tap(maps.second, ops.linear(h, second))  # (B, C)


def backward(dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps, maps: Maps) -> Array:
    """(B, C) -> (B, D). The activation is computed again, and dropped out again."""
    z, dropped = run.seen[maps.first], partial(run.dropout, f"{maps.first}.activation")  # (B, D)
    h = dropped(ops.activation(z, maps.activation))  # (B, D)
    bops.linear_backward_weight(dlogits, h, *getattr(d.head, maps.second))
    dh = dropped(bops.linear_backward_input(dlogits, getattr(w.head, maps.second)))  # (B, D)
    dz = bops.activation_backward(dh, z, maps.activation)  # (B, D)
    bops.linear_backward_weight(dz, run.x, *getattr(d.head, maps.first))
    return bops.linear_backward_input(dz, getattr(w.head, maps.first))  # (B, D)


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy, squared error or binary cross-entropy by config.problem_type: labels (B,) or (B, C) -> the loss.

    A problem_type of None is decided at the first call and kept in the config, as in its call.
    """
    only(batch, "labels")
    packing = packed(learner, batch, first=True)
    return learned(learner, packing, first_tokens(len(packing.computed)), batch["labels"], key, scale)


def learned(learner: Learner, packing: Packing, tokens: Ints, labels: Any, key: int | None, scale: float) -> float:
    """The loss of a classifier on one token a text, and its gradients. tokens: (B, 2) sentence and token numbers."""
    config, B = learner.config, len(packing.computed)
    kind = config.problem_type or losses.problem_type_of(config.num_labels, labels)
    run, head = at_tokens(learner, packing, tokens, key)  # (B, C)
    logits = learner.ops.fetch(head.logits)
    loss = losses.sequence_loss(kind, logits, labels)  # checks the labels too
    if config.problem_type is None:
        learner.model.config.problem_type = kind
    if kind == "single_label_classification":
        dlogits = np.zeros_like(head.logits)
        add_cross_entropy(learner, head.logits, np.reshape(labels, -1), IGNORED, scale, dlogits)
    else:
        truth, x = np.reshape(labels, logits.shape).astype(np.float64), logits.astype(np.float64)  # (B, C)
        slope = 2 * (x - truth) if kind == "regression" else np.exp(-np.logaddexp(0, -x)) - truth
        dlogits = learner.ops.send((scale / max(B * config.num_labels, 1) * slope).astype(logits.dtype))
    learner.encode_backward(learner.head_backward(dlogits, head), run)
    return float(loss)


def loss_of(config: Config, logits: Array, labels: Any) -> np.floating:
    """The loss of a call: (B, C) logits; labels as `sequence_loss` takes them. A problem_type of None is decided."""
    kind = config.problem_type or losses.problem_type_of(config.num_labels, labels)
    loss = losses.sequence_loss(kind, logits, labels)
    if config.problem_type is None:
        config.problem_type = kind
    return loss


def two_maps(first: str = "pre_classifier", second: str = "classifier", activation: str = "relu") -> Head:
    """The head of these."""
    maps = Maps(first, second, activation)
    return Head(
        "sequence_classification",
        arrays={f"{first}.weight": "D D", f"{first}.bias": "D", f"{second}.weight": "C D", f"{second}.bias": "C"},
        activation=activation,
        forward=partial(forward, maps=maps),
        backward=partial(backward, maps=maps),
        kept=(first,),
        dropout=((f"{first}.activation", lambda config: config.seq_classif_dropout),),
        objective=objective,
    )


SEQUENCE_CLASSIFICATION = two_maps()


class ForSequenceClassification(Pretrained, head=SEQUENCE_CLASSIFICATION):
    """The encoder and, on its first token, a classifier: sentiment, topic, whether one sentence follows from another.

    config.num_labels classes. config.problem_type says which loss belongs to it, "regression",
    "single_label_classification" or "multi_label_classification"; None is decided at the first call with labels, as in
    transformers, and kept in the config.
    """

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, **options: Unpack[Options],
    ) -> SequenceClassifierOutput:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> logits (B, C). labels: (B,), or (B, C) for several at once."""
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, "first", **options)
        logits = self.ops.fetch(self._scores(e))  # (B, C)
        loss = None if labels is None else loss_of(self.config, logits, labels)
        output = SequenceClassifierOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)
