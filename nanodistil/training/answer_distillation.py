"""Learning to answer from a model that answers already: DistilBERT's second distillation (Sanh 2019, section 4.1).

    loss = alpha_ce tau^2 (KL_start + KL_end) / 2 + alpha_squad (CE_start + CE_end) / 2

Soft targets are the teacher's softmax over all T positions of a row, at temperature tau, for starts and for ends, and
KL is its mean over the rows, as in upstream's run_squad_w_distillation. All T means the question and the padding too:
how far rows are padded changes the loss a little. Upstream pads every row to 384; here a batch is as long as its
longest row.

What differs: the teacher may be a DistilBERT (upstream allows any model but that). A BERT gets token types: 1 for the
context and the [SEP] behind it, 0 elsewhere. Upstream's loop unpacks a dict and so gets the outputs' names since 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nanodistil import losses
from nanodistil.backend import Array, Ints
from nanodistil.heads.learning import add_cross_entropy, packed
from nanodistil.heads.question_answering import ForQuestionAnswering
from nanodistil.training.trainee import Trainee


@dataclass(frozen=True)
class AnswerShares:
    """How much each term counts, with upstream's names and defaults."""

    alpha_ce: float = 0.5
    alpha_squad: float = 0.5
    temperature: float = 2.0


class AnswerDistillation(AnswerShares):
    """The loss."""

    def of_batch(
        self,
        trainee: Trainee,
        teacher: ForQuestionAnswering,
        batch: dict[str, Any],
        separator: int,
        *,
        key: int | None = None,
        scale: float = 1.0,
    ) -> tuple[float, float, float]:
        """The loss, its soft part and its hard part (before the alphas), for a batch of the student's call.

        Adds scale times the gradients to the trainee's. separator: the id of [SEP]. Raises InputError for a batch that
        does not fit the models.
        """
        ids, mask = batch["input_ids"], batch["attention_mask"]
        places = batch["start_positions"], batch["end_positions"]
        packing = packed(trainee, batch, keep_masked=True)
        B, T = packing.computed.shape
        run = trainee.encode(packing.batch, None, key)  # (B T, D)
        head = trainee.apply_head(run.x, key)  # (B T, 2)
        send, both = trainee.ops.send, trainee.ops.fetch(head.logits)
        student = [np.ascontiguousarray(both[:, i].reshape(B, T)) for i in range(2)]
        hard = float(losses.span_loss(student[0], student[1], *places))  # checks the places too
        soft, dlogits = 0.0, np.empty_like(head.logits)  # (B T, 2)
        share = self.alpha_ce * self.temperature**2 / (2 * B)
        taught = said(teacher, ids, mask, separator)
        for i, (logits, target, at) in enumerate(zip(map(send, student), taught, places, strict=True)):
            d = np.zeros_like(logits)  # (B, T)
            target = send(target.astype(logits.dtype))
            kl = trainee.bops.divergence(logits, target, self.temperature, scale * share, d)
            soft += kl * self.temperature**2 / (2 * B)
            # T: the answer was cut off, and does not count
            add_cross_entropy(trainee, logits, np.reshape(at, -1).clip(0, T), T, scale * self.alpha_squad / 2, d)
            dlogits[:, i] = d.reshape(-1)
        trainee.encode_backward(trainee.head_backward(dlogits, head), run)
        return self.alpha_ce * soft + self.alpha_squad * hard, soft, hard


def said(teacher: ForQuestionAnswering, ids: Ints, mask: Any, separator: int) -> tuple[Array, Array]:
    """The teacher's logits of starts and of ends, (B, T) each, padding included."""
    told: dict[str, Any] = {}
    if teacher.config.token_types > 1:
        ended = np.cumsum(ids == separator, axis=1) - (ids == separator)  # (B, T) how many [SEP] are before
        told["token_type_ids"] = ((ended > 0) & (mask != 0)).astype(np.int64)
    output = teacher(input_ids=ids, attention_mask=mask, keep_masked=True, **told)
    return np.ascontiguousarray(output.start_logits), np.ascontiguousarray(output.end_logits)
