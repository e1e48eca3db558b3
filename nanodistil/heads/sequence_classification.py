"""A classifier on the first token of a text: sentiment, topic, whether one sentence follows from another.

    x (B, D) -> pre_classifier -> ReLU -> classifier (B, C)

A BERT has tanh where DistilBERT has ReLU (family/bert.py): `of_activation` makes the head for either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Unpack

import numpy as np

from nanodistil import losses
from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.head import Batch, Head, HeadRun, Learner
from nanodistil.heads.calling import finished
from nanodistil.heads.learning import add_cross_entropy, at_first, only, packed
from nanodistil.losses import IGNORED
from nanodistil.outputs import Output
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.taps import Tap, showing
from nanodistil.weights.layout import Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceClassifierOutput(Output):
    """Of ForSequenceClassification."""

    loss: np.floating | None = None
    logits: Array  # (B, C)
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


def forward(x: Array, w: Weights, ops: Ops, tap: Tap, activation: str = "relu") -> Array:
    """A score for every class, from the first token of each sentence: (B, D) -> (B, C).

    For multiple choice there is one class: how well the sentence answers. activation: "tanh" in a BERT.
    """
    h = showing(ops, tap, "pre_classifier").linear_activation(x, w.head.pre_classifier, activation)  # (B, D)
    h = tap("pre_classifier.activation", h)
    return tap("classifier", ops.linear(h, w.head.classifier))  # (B, C)


def backward(
    dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps, activation: str = "relu"
) -> Array:
    """(B, C) -> (B, D). The activation is computed again, and dropped out again."""
    z = run.seen["pre_classifier"]  # (B, D)
    dropout = run.dropout
    h = dropout("pre_classifier.activation", ops.activation(z, activation))  # (B, D)
    bops.linear_backward_weight(dlogits, h, *d.head.classifier)
    dh = dropout("pre_classifier.activation", bops.linear_backward_input(dlogits, w.head.classifier))  # (B, D)
    dz = bops.activation_backward(dh, z, activation)  # (B, D)
    bops.linear_backward_weight(dz, run.x, *d.head.pre_classifier)
    return bops.linear_backward_input(dz, w.head.pre_classifier)  # (B, D)


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy, squared error or binary cross-entropy by config.problem_type: labels (B,) or (B, C) -> the loss.

    A problem_type of None is decided at the first call and kept in the config, as in its call.
    """
    only(batch, "labels")
    labels, config = batch["labels"], learner.config
    kind = config.problem_type or losses.problem_type_of(config.num_labels, labels)
    packing = packed(learner, batch, first=True)
    B = len(packing.computed)
    run, head = at_first(learner, packing, key)  # (B, C)
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


def of_activation(activation: str) -> Head:
    """The head with this between its two maps."""
    return Head(
        "sequence_classification",
        arrays={
            "pre_classifier.weight": "D D",
            "pre_classifier.bias": "D",
            "classifier.weight": "C D",
            "classifier.bias": "C",
        },
        activation=activation,
        forward=partial(forward, activation=activation),
        backward=partial(backward, activation=activation),
        kept=("pre_classifier",),
        dropout=(("pre_classifier.activation", lambda config: config.seq_classif_dropout),),
        objective=objective,
    )


SEQUENCE_CLASSIFICATION = of_activation("relu")


class ForSequenceClassification(Pretrained):
    """The encoder and, on its first token, a classifier: sentiment, topic, whether one sentence follows from another.

    config.num_labels classes. config.problem_type says which loss belongs to it, "regression",
    "single_label_classification" or "multi_label_classification"; None is decided at the first call with labels, as in
    transformers, and kept in the config.
    """

    head: ClassVar[Head] = SEQUENCE_CLASSIFICATION

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, **options: Unpack[Options],
    ) -> SequenceClassifierOutput:  # fmt: skip
        """(B, T) ids and mask (1 = real token) -> logits (B, C). labels: (B,), or (B, C) for several at once."""
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, "first", **options)
        logits = self.ops.fetch(self._scores(e))  # (B, C)
        loss = None
        if labels is not None:
            kind = self.config.problem_type or losses.problem_type_of(self.config.num_labels, labels)
            loss = losses.sequence_loss(kind, logits, labels)
            if self.config.problem_type is None:
                self.config.problem_type = kind
        output = SequenceClassifierOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)
