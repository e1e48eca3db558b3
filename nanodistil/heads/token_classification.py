"""A classifier on every token: names of people and places, parts of speech.

x (N, D) -> classifier (N, C)
"""

from __future__ import annotations

from typing import Unpack

from nanodistil import losses
from nanodistil.head import Batch, Learner
from nanodistil.heads.calling import finished, flat, with_masked
from nanodistil.heads.learning import at_labels
from nanodistil.heads.one_map import one_map
from nanodistil.outputs import ScoredOutput
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out


class TokenClassifierOutput(ScoredOutput):
    """Of ForTokenClassification: logits (B, T, C)."""


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Mean cross-entropy at the tokens whose label is not -100: labels (B, T) -> the loss."""
    return at_labels(learner, batch, learner.config.num_labels, None, key, scale)


TOKEN_CLASSIFICATION = one_map(
    "token_classification", "classifier", "C", lambda config: config.token_classif_dropout, objective
)


class ForTokenClassification(Pretrained, head=TOKEN_CLASSIFICATION):
    """The encoder and a classifier on every token: names of people and places, parts of speech."""

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
