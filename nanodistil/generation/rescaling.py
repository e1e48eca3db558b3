"""Processors that change all scores alike: normalised, made finite, or pulled away from another prompt's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.processing import LogitsProcessor, real
from nanodistil.generation.prompts import Prompts
from nanodistil.weights.errors import InputError, excerpt


def log_softmax(scores: Array) -> None:
    """(S, V) in place; a row at a time, so that it does not depend on the others.

    >>> log_softmax(scores := np.array([[1.0, 1.0]])); scores.round(2)
    array([[-0.69, -0.69]])
    """
    for row in scores:
        row -= row.max()
        row -= np.log(np.exp(row).sum())


class LogitNormalization(LogitsProcessor):
    """Scores become logarithms of probabilities again."""

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        log_softmax(scores)


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """NaN becomes 0, and what is infinite the largest number there is.

    >>> InfNanRemoveLogitsProcessor()([[0]], np.array([[np.nan, 1.0]]))
    array([[0., 1.]])
    """

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        np.nan_to_num(scores, copy=False)


class ClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """Of twice as many rows of scores as of ids, the first half pulled away from the second (Ho 2022).

    >>> ClassifierFreeGuidanceLogitsProcessor(2.0)([[0]], [[1.0, 3.0], [1.0, 1.0]])
    array([[1., 5.]])
    """

    def __init__(self, guidance_scale: float) -> None:
        self.guidance_scale = real(guidance_scale, "guidance_scale", lambda x: x > 1, "more than 1")

    def __call__(self, input_ids: ArrayLike, scores: ArrayLike) -> Array:
        """(S, T) and (2 S, V) -> (S, V)."""
        ids, both = np.asarray(input_ids), np.asarray(scores)
        if len(both) != 2 * len(ids):
            raise InputError(
                "Logits should have twice the batch size of the input ids, the conditional ones before the others: got "
                f"batch size {len(both)} for the logits and {len(ids)} for the input ids."
            )
        prompted, plain = both[: len(ids)], both[len(ids) :]
        guided: Array = plain + (prompted - plain) * self.guidance_scale
        return guided


class UnbatchedClassifierFreeGuidanceLogitsProcessor(LogitsProcessor):
    """Log-probabilities pulled away from those behind another prompt (Sanchez 2023); without one, behind none.

    decoding: of the model; sequence i continues the other prompt with what sequence i was given last.
    """

    def __init__(
        self,
        guidance_scale: float,
        decoding: Decoding,
        unconditional_ids: ArrayLike | None = None,
        unconditional_attention_mask: ArrayLike | None = None,
    ) -> None:
        self.guidance_scale = real(guidance_scale, "guidance_scale", np.isfinite, "a number")
        self.decoding = decoding
        self.prompts = None
        if unconditional_ids is not None:
            self.prompts = Prompts.of(unconditional_ids, unconditional_attention_mask, "negative_prompt")
        self.numbers: Ints | None = None

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        log_softmax(scores)
        if self.guidance_scale == 1:
            return
        if self.numbers is None:
            others = [ids[-1:] for ids in input_ids] if self.prompts is None else self.prompts.texts()
            if len(input_ids) % len(others):
                raise InputError(
                    f"negative_prompt_ids has {len(others)} rows for {excerpt(len(input_ids))} sequences; one each"
                )
            each = len(input_ids) // len(others)
            self.numbers = self.decoding.join(len(input_ids))
            given = [text for text in others for _ in range(each)]
        else:
            given = [ids[-1:] for ids in input_ids]
        plain = self.decoding.feed(self.numbers, given).astype(scores.dtype)
        log_softmax(plain)
        scores -= plain
        scores *= self.guidance_scale
        scores += plain
