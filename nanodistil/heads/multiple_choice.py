"""One score for each candidate: which continuation fits? The sequence classifier's maps, with a single class."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from nanodistil import losses
from nanodistil.head import Batch, Head, Learner
from nanodistil.heads.calling import finished, joined
from nanodistil.heads.learning import TOKENS, add_cross_entropy, at_first, only, packed
from nanodistil.heads.sequence_classification import SEQUENCE_CLASSIFICATION
from nanodistil.losses import IGNORED
from nanodistil.outputs import ScoredOutput
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out


class MultipleChoiceModelOutput(ScoredOutput):
    """Of ForMultipleChoice: logits (B, choices)."""


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy among the choices: input_ids and attention_mask (B, choices, T), labels (B,) -> the loss."""
    only(batch, "labels")
    sentences = {name: joined(batch[name]) for name in TOKENS if batch.get(name) is not None}
    run, head = at_first(learner, packed(learner, sentences, first=True), key)  # (B choices, 1)
    logits = head.logits.reshape(np.shape(batch["input_ids"])[:2])  # (B, choices)
    loss = losses.cross_entropy(learner.ops.fetch(logits), batch["labels"])
    dlogits = np.zeros_like(logits)
    add_cross_entropy(learner, logits, batch["labels"], IGNORED, scale, dlogits)
    learner.encode_backward(learner.head_backward(dlogits.reshape(head.logits.shape), head), run)
    return float(loss)


def of_classifier(classifier: Head) -> Head:
    """The head that a classifier of texts becomes with a single class."""
    arrays = {**classifier.arrays, "classifier.weight": "1 D", "classifier.bias": "1"}
    return replace(classifier, name="multiple_choice", arrays=arrays, objective=objective)


MULTIPLE_CHOICE = of_classifier(SEQUENCE_CLASSIFICATION)


class ForMultipleChoice(Pretrained, head=MULTIPLE_CHOICE):
    """The encoder and one score for each candidate: which continuation fits?"""

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, labels: Arrays = None, **options: Unpack[Options],
    ) -> MultipleChoiceModelOutput:  # fmt: skip
        """(B, choices, T) ids and mask -> logits (B, choices). labels: (B,), the number of the right choice."""
        ids, mask, embeds = joined(input_ids), joined(attention_mask), joined(inputs_embeds)  # (B choices, T) each
        more: dict[str, Any] = {**options}
        for name in ("position_ids", "token_type_ids"):
            if more.get(name) is not None and np.ndim(more[name]) > 2:
                more[name] = joined(more[name])
        e = self._encode(ids, mask, head_mask, embeds, "first", **more)
        scores = self.ops.fetch(self._scores(e))  # (B choices, 1)
        given: Any = inputs_embeds if input_ids is None else input_ids
        logits = scores.reshape(np.shape(given)[:2])  # (B, choices)
        loss = None if labels is None else losses.cross_entropy(logits, labels)
        output = MultipleChoiceModelOutput(loss=loss, logits=logits, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)
