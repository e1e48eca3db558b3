"""Processors against repetition: of tokens, and of runs of n of them, in the whole text or from the prompt alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.processing import LogitsProcessor, real, whole
from nanodistil.weights.errors import InputError


def penalised(scores: Array, ids: Ints, penalty: float) -> None:
    """Divide the scores of the tokens in ids that are positive, multiply those that are not: (S, V), (S, T)."""
    if ids.size and not 0 <= ids.min() <= ids.max() < scores.shape[-1]:
        raise InputError(f"input_ids has {ids.max()}, and the vocabulary {scores.shape[-1]} tokens")
    score = np.take_along_axis(scores, ids, axis=1)  # (S, T)
    np.put_along_axis(scores, ids, np.where(score < 0, score * penalty, score / penalty), axis=1)


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens of the text so far, the prompt included, are less likely (Keskar 2019).

    prompt_ignore_length: how many tokens at its beginning do not count.

    >>> RepetitionPenaltyLogitsProcessor(2.0)([[0, 1, 1]], [[1.0, -1.0, 1.0]])
    array([[ 0.5, -2. , 1. ]])
    """

    def __init__(self, penalty: float, prompt_ignore_length: int | None = None) -> None:
        self.penalty = real(penalty, "penalty", lambda x: x > 0, "a strictly positive float")
        ignored = 0 if prompt_ignore_length is None else prompt_ignore_length
        self.prompt_ignore_length = whole(ignored, "prompt_ignore_length", 0, "a positive integer")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        penalised(scores, input_ids[:, self.prompt_ignore_length :], self.penalty)


class EncoderRepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens of the prompt are likelier. Of S sequences the first B are changed, for B prompts: so in transformers,
    which is all of them but for beams and several answers to a prompt.

    >>> EncoderRepetitionPenaltyLogitsProcessor(2.0, [[0, 1]])([[0, 1, 1]], [[1.0, -1.0, 1.0]])
    array([[ 2. , -0.5, 1. ]])
    """

    def __init__(self, penalty: float, encoder_input_ids: Any) -> None:
        self.penalty = 1 / real(penalty, "penalty", lambda x: x > 0, "a strictly positive float")
        self.encoder_input_ids: Ints = np.asarray(encoder_input_ids)

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        penalised(scores[: len(self.encoder_input_ids)], self.encoder_input_ids, self.penalty)


def followers(ids: Ints, last: Ints) -> Ints:
    """Tokens that follow a run of tokens in ids: (T,), (n - 1,) -> (k,).

    >>> followers(np.array([5, 6, 7, 5, 6, 8]), np.array([5, 6]))
    array([7, 8])
    """
    count = len(ids) - len(last)
    if count <= 0:
        return ids[:0]
    same = np.ones(count, bool)
    for i, token in enumerate(last):
        same &= ids[i : i + count] == token
    return ids[len(last) :][same]


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No run of `ngram_size` tokens twice in a text, the prompt included.

    >>> NoRepeatNGramLogitsProcessor(2)([[0, 1, 0]], [[0.5, 0.5]])
    array([[ 0.5, -inf]])
    """

    def __init__(self, ngram_size: int) -> None:
        self.ngram_size = whole(ngram_size, "ngram_size", 1, "a strictly positive integer")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        behind = input_ids.shape[-1] + 1 - self.ngram_size  # where the run begins that the next token completes
        if behind >= 0:
            for ids, row in zip(input_ids, scores, strict=True):
                row[followers(ids, ids[behind:])] = -np.inf


class EncoderNoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No run of `encoder_ngram_size` tokens of the prompt again.

    >>> EncoderNoRepeatNGramLogitsProcessor(2, [[0, 1]])([[0, 1, 0]], [[0.5, 0.5]])
    array([[ 0.5, -inf]])
    """

    def __init__(self, encoder_ngram_size: int, encoder_input_ids: Any) -> None:
        self.ngram_size = whole(encoder_ngram_size, "encoder_ngram_size", 1, "a strictly positive integer")
        self.encoder_input_ids: Ints = np.atleast_2d(np.asarray(encoder_input_ids))

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        behind = input_ids.shape[-1] + 1 - self.ngram_size
        each = len(scores) // len(self.encoder_input_ids)  # sequences a prompt
        if behind >= 0:
            for i, (ids, row) in enumerate(zip(input_ids, scores, strict=True)):
                row[followers(self.encoder_input_ids[i // each], ids[behind:])] = -np.inf
