"""A classifier on every token: names of people and places, parts of speech.

x (N, D) -> classifier (N, C)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Unpack

import numpy as np

from nanodistil import losses
from nanodistil.backend import Array, BackwardOps, Ops
from nanodistil.head import Batch, Head, HeadRun, Learner
from nanodistil.heads.calling import finished, flat, with_masked
from nanodistil.heads.learning import at_labels
from nanodistil.outputs import Output
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.taps import Tap
from nanodistil.weights.layout import Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenClassifierOutput(Output):
    """Of ForTokenClassification."""

    loss: np.floating | None = None
    logits: Array  # (B, T, C)
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


def forward(x: Array, w: Weights, ops: Ops, tap: Tap) -> Array:
    """A score for every class at every token: (N, D) -> (N, C)."""
    return tap("classifier", ops.linear(x, w.head.classifier))


def backward(dlogits: Array, run: HeadRun, w: Weights, d: Weights, ops: Ops, bops: BackwardOps) -> Array:
    """(N, C) -> (N, D)."""
    bops.linear_backward_weight(dlogits, run.x, *d.head.classifier)
    return bops.linear_backward_input(dlogits, w.head.classifier)


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the tokens whose label is not -100: labels (B, T) -> the loss."""
    return at_labels(learner, batch, learner.config.num_labels, None, key, scale)


TOKEN_CLASSIFICATION = Head(
    "token_classification",
    arrays={"classifier.weight": "C D", "classifier.bias": "C"},
    forward=forward,
    backward=backward,
    dropout=(("hidden", lambda config: config.token_classif_dropout),),
    objective=objective,
)


class ForTokenClassification(Pretrained):
    """The encoder and a classifier on every token: names of people and places, parts of speech."""

    head: ClassVar[Head] = TOKEN_CLASSIFICATION

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, **options: Unpack[Options],
    ) -> TokenClassifierOutput:  # fmt: skip
        """(B, T) ids and mask -> logits (B, T, C), zero at masked positions. labels: (B, T), or -100."""
        options = with_masked(options, labels)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        logits = self.ops.fetch(self._scores(e))  # (N, C)
        loss = None if labels is None else losses.cross_entropy(logits, flat(labels, e.packing.computed.shape))
        output = TokenClassifierOutput(loss=loss, logits=e.packing.unpack(logits), **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)
