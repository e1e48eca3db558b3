"""Processors that know how long the text is: an end not before or exactly at a length, and what may not begin it.

Lengths are those of the padded ids, as in transformers. Names and arguments are transformers' too, here and in the
files beside this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.processing import LogitsProcessor, token_ids, whole
from nanodistil.weights.errors import InputError, excerpt

NEVER = -np.inf


def check_known(ids: Ints, scores: Array, name: str) -> Ints:
    """Ids that V scores have. Raises InputError for others, of which transformers says nothing or IndexError."""
    if ids.max() >= scores.shape[-1]:
        raise InputError(f"`{name}` has {ids.max()}, and the vocabulary {scores.shape[-1]} tokens")
    return ids


class MinLengthLogitsProcessor(LogitsProcessor):
    """No end before `min_length` tokens, the prompt's included.

    >>> MinLengthLogitsProcessor(3, eos_token_id=1)([[0, 0]], [[0.5, 0.5]])
    array([[ 0.5, -inf]])
    """

    def __init__(self, min_length: int, eos_token_id: Any) -> None:
        self.min_length = whole(min_length, "min_length", 0, "a non-negative integer")
        self.eos_token_id = token_ids(eos_token_id, "eos_token_id")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if input_ids.shape[-1] < self.min_length:
            scores[:, self.eos_token_id[self.eos_token_id < scores.shape[-1]]] = NEVER


class MinNewTokensLengthLogitsProcessor(MinLengthLogitsProcessor):
    """No end before `min_new_tokens` tokens behind the prompt's.

    >>> MinNewTokensLengthLogitsProcessor(1, 2, eos_token_id=1)([[0, 0]], [[0.5, 0.5]])
    array([[ 0.5, -inf]])
    """

    def __init__(self, prompt_length_to_skip: int, min_new_tokens: int, eos_token_id: Any) -> None:
        self.prompt_length_to_skip = whole(prompt_length_to_skip, "prompt_length_to_skip", 0, "a positive integer")
        self.min_new_tokens = whole(min_new_tokens, "min_new_tokens", 0, "a positive integer")
        super().__init__(self.prompt_length_to_skip + self.min_new_tokens, eos_token_id)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """The first token behind a prompt of a single one."""

    def __init__(self, bos_token_id: int) -> None:
        self.bos_token_id = token_ids(bos_token_id, "forced_bos_token_id")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if input_ids.shape[-1] == 1:
            forced = check_known(self.bos_token_id, scores, "forced_bos_token_id")
            scores[:] = NEVER
            scores[:, forced] = 0


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """The token that fills `max_length`.

    >>> ForcedEOSTokenLogitsProcessor(3, eos_token_id=1)([[0, 0]], [[0.5, 0.5]])
    array([[-inf, 0.]])
    """

    def __init__(self, max_length: int, eos_token_id: Any) -> None:
        self.max_length = max_length
        self.eos_token_id = token_ids(eos_token_id, "eos_token_id")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if input_ids.shape[-1] == self.max_length - 1:
            forced = check_known(self.eos_token_id, scores, "forced_eos_token_id")
            scores[:] = NEVER
            scores[:, forced] = 0


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """An end that is likelier with every token after a number of them: (start, factor).

    An end that was left out stays so; in transformers it becomes NaN, and is taken for the best token.

    >>> ExponentialDecayLengthPenalty((1, 2.0), eos_token_id=1, input_ids_seq_length=0)([[0, 0]], [[0.5, -0.5]])
    array([[0.5, 0. ]])
    """

    def __init__(
        self, exponential_decay_length_penalty: tuple[int, float], eos_token_id: Any, input_ids_seq_length: int
    ) -> None:
        try:
            start, factor = exponential_decay_length_penalty
            self.regulation_start, self.regulation_factor = start + input_ids_seq_length, float(factor)
        except (TypeError, ValueError):
            raise InputError(
                "`exponential_decay_length_penalty` has to be (start, factor), but is "
                f"{excerpt(exponential_decay_length_penalty)}"
            ) from None
        self.eos_token_id = token_ids(eos_token_id, "eos_token_id")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        behind = input_ids.shape[-1] - self.regulation_start
        if behind > 0:
            ends = check_known(self.eos_token_id, scores, "eos_token_id")
            score = scores[:, ends]
            more = np.abs(score) * (self.regulation_factor**behind - 1)
            scores[:, ends] = np.where(score == NEVER, NEVER, score + more)


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """Tokens that never follow.

    >>> SuppressTokensLogitsProcessor([0])([[0, 0]], [[0.5, 0.5]])
    array([[-inf, 0.5]])
    """

    def __init__(self, suppress_tokens: Any) -> None:
        self.suppress_tokens = token_ids(suppress_tokens, "suppress_tokens") if len(suppress_tokens) else None

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if self.suppress_tokens is not None:
            scores[:, self.suppress_tokens[self.suppress_tokens < scores.shape[-1]]] = NEVER


class SuppressTokensAtBeginLogitsProcessor(SuppressTokensLogitsProcessor):
    """Tokens that are not the first behind the prompt."""

    def __init__(self, begin_suppress_tokens: Any, begin_index: int) -> None:
        super().__init__(begin_suppress_tokens)
        self.begin_index = begin_index

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if input_ids.shape[-1] == self.begin_index:
            super().change(input_ids, scores)
