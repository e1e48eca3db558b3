"""Processors with opinions of their own on tokens and runs of tokens: a bias, a ban, or a function that says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.processing import LogitsProcessor
from nanodistil.weights.errors import InputError, excerpt


def _ids(run: Any, least: int = 0) -> bool:
    return all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) and i >= least for i in run)


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """A number added to the score of the token that completes a run of them: {(ids): bias}, or [[[ids], bias], ...].

    >>> SequenceBiasLogitsProcessor({(1,): 2.0, (0, 2): -1.0})([[0, 0]], [[0.5, 0.5, 0.5]])
    array([[ 0.5, 2.5, -0.5]])
    """

    def __init__(self, sequence_bias: Any) -> None:
        if isinstance(sequence_bias, list):
            pairs = all(
                isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], list) and pair[0]
                and _ids(pair[0]) and isinstance(pair[1], float)
                for pair in sequence_bias
            )  # fmt: skip
            if not pairs:
                raise InputError(
                    "Each element in `sequence_bias` has to be a non-empty list of lists of positive integers and "
                    f"float, but is {excerpt(sequence_bias)}."
                )
            sequence_bias = {tuple(ids): bias for ids, bias in sequence_bias}
        if not isinstance(sequence_bias, dict) or not sequence_bias:
            raise InputError(
                "`sequence_bias` has to be a non-empty dictionary, or non-empty list of lists but is "
                f"{excerpt(sequence_bias)}."
            )
        if not all(isinstance(ids, tuple) and ids and _ids(ids) for ids in sequence_bias):
            raise InputError(
                "Each key in `sequence_bias` has to be a non-empty tuple of positive integers, but is "
                f"{excerpt(sequence_bias)}."
            )
        if not all(isinstance(bias, float) for bias in sequence_bias.values()):
            raise InputError(
                f"`sequence_bias` has to be a dict with floats as values, but is {excerpt(sequence_bias)}."
            )
        self.sequence_bias: dict[tuple[int, ...], float] = sequence_bias
        self._split()

    def _split(self) -> None:
        alone = {ids[0]: bias for ids, bias in self.sequence_bias.items() if len(ids) == 1}
        self.alone = np.array([*alone], np.int64), np.array([*alone.values()], np.float64)
        self.runs = [(np.array(ids[:-1]), ids[-1], bias) for ids, bias in self.sequence_bias.items() if len(ids) > 1]
        self.largest = max((max(ids) for ids in self.sequence_bias), default=-1)

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        if self.largest >= scores.shape[-1]:
            unknown = [i for ids in self.sequence_bias for i in ids if i >= scores.shape[-1]]
            raise InputError(
                f"The model vocabulary size is {scores.shape[-1]}, but the following tokens were being biased: "
                f"{excerpt(unknown)}"
            )
        tokens, biases = self.alone
        scores[:, tokens] += biases.astype(scores.dtype)
        for before, token, bias in self.runs:
            if len(before) < input_ids.shape[1]:
                scores[(input_ids[:, -len(before) :] == before).all(axis=1), token] += scores.dtype.type(bias)


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """Runs of tokens that never stand in the text; an end alone is no bad word.

    >>> NoBadWordsLogitsProcessor([[0], [0, 1]], eos_token_id=0)([[0, 0]], [[0.5, 0.5]])
    array([[ 0.5, -inf]])
    """

    def __init__(self, bad_words_ids: list[list[int]], eos_token_id: Any = None) -> None:
        if not isinstance(bad_words_ids, list) or not bad_words_ids:
            raise InputError(f"`bad_words_ids` has to be a non-empty list, but is {excerpt(bad_words_ids)}.")
        if not all(isinstance(ids, list) for ids in bad_words_ids):
            raise InputError(f"`bad_words_ids` has to be a list of lists, but is {excerpt(bad_words_ids)}.")
        if not all(_ids(ids) for ids in bad_words_ids):
            raise InputError(
                f"Each list in `bad_words_ids` has to be a list of positive integers, but is {excerpt(bad_words_ids)}."
            )
        ends = [] if eos_token_id is None else [[int(i)] for i in np.atleast_1d(np.asarray(eos_token_id))]
        self.sequence_bias = {tuple(ids): -np.inf for ids in bad_words_ids if ids and ids not in ends}
        self._split()


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Only tokens that a function allows: of a prompt's number and the ids so far, the ids that may follow.

    >>> PrefixConstrainedLogitsProcessor(lambda prompt, ids: [1], 1)([[0, 0]], [[0.5, 0.5]])
    array([[-inf, 0.5]])
    """

    def __init__(self, prefix_allowed_tokens_fn: Callable[[int, Any], Any], num_beams: int) -> None:
        self.allowed, self.num_beams = prefix_allowed_tokens_fn, num_beams

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        for i in range(len(input_ids) // self.num_beams * self.num_beams):
            allowed = np.asarray(self.allowed(i // self.num_beams, input_ids[i]), np.int64)
            if not allowed.size:
                raise InputError(
                    f"`prefix_allowed_tokens_fn` returned an empty list for batch ID {i // self.num_beams}: no token "
                    "may follow; check the function"
                )
            kept = scores[i, allowed]
            scores[i] = -np.inf
            scores[i, allowed] = kept
