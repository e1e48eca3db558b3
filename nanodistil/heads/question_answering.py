"""Two scores on every token: does the answer start here, does it end here?

x (N, D) -> qa_outputs (N, 2)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

import numpy as np

from nanodistil import losses
from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.head import Batch, Learner
from nanodistil.heads.calling import finished, with_masked
from nanodistil.heads.learning import add_cross_entropy, only, packed
from nanodistil.heads.one_map import one_map
from nanodistil.outputs import Output
from nanodistil.pretrained import Arrays, Options, Pretrained
from nanodistil.signatures import spelled_out
from nanodistil.weights.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class QuestionAnsweringModelOutput(Output):
    """Of ForQuestionAnswering."""

    loss: np.floating | None = None
    start_logits: Array  # (B, T)
    end_logits: Array  # (B, T)
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


def objective(learner: Learner, batch: Batch, *, key: int | None = None, scale: float = 1.0) -> float:
    """Cross-entropy over all T positions of where the answer starts and ends: start_, end_positions (B,) -> the loss.

    A position from T on is an answer that was cut off, and does not count. Padding does: see above.
    """
    only(batch, "start_positions", "end_positions")
    packing = packed(learner, batch, keep_masked=True)
    B, T = packing.computed.shape
    run = learner.encode(packing.batch, None, key)  # (B T, D)
    head = learner.apply_head(run.x, key)  # (B T, 2)
    both = learner.ops.fetch(head.logits)
    start, end = (np.ascontiguousarray(both[:, i].reshape(B, T)) for i in range(2))
    places = (batch["start_positions"], batch["end_positions"])
    loss = losses.span_loss(start, end, *places)  # checks the places too
    dlogits = np.empty_like(head.logits)  # (B T, 2)
    for i, (logits, at) in enumerate(zip(map(learner.ops.send, (start, end)), places, strict=True)):
        d = np.zeros_like(logits)  # (B, T)
        add_cross_entropy(learner, logits, np.reshape(at, -1).clip(0, T), T, scale / 2, d)
        dlogits[:, i] = d.reshape(-1)
    learner.encode_backward(learner.head_backward(dlogits, head), run)
    return float(loss)


QUESTION_ANSWERING = one_map("question_answering", "qa_outputs", "2", lambda config: config.qa_dropout, objective)


class ForQuestionAnswering(Pretrained, head=QUESTION_ANSWERING):
    """The encoder and two scores on every token: does the answer start here, does it end here?"""

    def _set(self, config: Config, tensors: dict[str, Array]) -> None:
        if config.num_labels != 2:
            raise InputError(f"question answering has two labels, not {config.num_labels}: pass num_labels=2")
        super()._set(config, tensors)

    @spelled_out(Options, keep_masked=False)
    def __call__(
        self, input_ids: Arrays = None, attention_mask: Arrays = None, head_mask: Arrays = None,
        inputs_embeds: Arrays = None, start_positions: Arrays = None, end_positions: Arrays = None,
        **options: Unpack[Options],
    ) -> QuestionAnsweringModelOutput:  # fmt: skip
        """(B, T) ids and mask -> start and end logits (B, T) each, zero at masked positions.

        start_positions, end_positions: (B,) tokens between which the answer stands; both are needed for a loss.
        """
        counted = None if start_positions is None or end_positions is None else (start_positions, end_positions)
        options = with_masked(options, counted)
        e = self._encode(input_ids, attention_mask, head_mask, inputs_embeds, None, **options)
        logits = self.ops.fetch(self._scores(e))  # (N, 2)
        logits = e.packing.unpack(logits)  # (B, T, 2)
        start, end = logits[..., 0], logits[..., 1]  # (B, T)
        loss = None if counted is None else losses.span_loss(start, end, *counted)
        output = QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end, **e.recorded)
        return finished(output, options, self.config, input_ids, inputs_embeds)
