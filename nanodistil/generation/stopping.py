"""When a text is at its end: criteria, of which one is enough.

A criterion takes the ids so far (S, T) and the scores that were kept, a tuple of (S, V) or None, and says of each
sequence whether it ends here. Names and arguments are transformers'.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array, Ints
from nanodistil.generation.processing import token_ids
from nanodistil.weights.errors import InputError, excerpt

Kept: TypeAlias = tuple[Array, ...] | None
Ended: TypeAlias = NDArray[np.bool_]


class StoppingCriteria:
    """Base of all, and of a user's own."""

    def __call__(self, input_ids: Ints, scores: Kept, **kwargs: Any) -> Any:
        """(S, T) ids -> (S,) whether it ends here, or one word for all."""
        raise NotImplementedError("StoppingCriteria needs to be subclassed")


class MaxLengthCriteria(StoppingCriteria):
    """max_length tokens, the prompt's included.

    >>> MaxLengthCriteria(2)(np.array([[5, 6]]), None)
    array([ True])
    """

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length, self.max_position_embeddings = max_length, max_position_embeddings

    def __call__(self, input_ids: Ints, scores: Kept, **kwargs: Any) -> Ended:
        """See StoppingCriteria."""
        return np.full(len(input_ids), input_ids.shape[1] >= self.max_length)


class MaxTimeCriteria(StoppingCriteria):
    """max_time seconds, since it was made or since a time.time()."""

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Ints, scores: Kept, **kwargs: Any) -> Ended:
        """See StoppingCriteria."""
        return np.full(len(input_ids), time.time() - self.initial_timestamp > self.max_time)


class EosTokenCriteria(StoppingCriteria):
    """One of these ids.

    >>> EosTokenCriteria([1, 2])(np.array([[5, 2], [2, 5]]), None)
    array([ True, False])
    """

    def __init__(self, eos_token_id: Any) -> None:
        self.eos_token_id = token_ids(eos_token_id, "eos_token_id")

    def __call__(self, input_ids: Ints, scores: Kept, **kwargs: Any) -> Ended:
        """See StoppingCriteria."""
        return np.isin(input_ids[:, -1], self.eos_token_id)


class StopStringCriteria(StoppingCriteria):
    """A string in the text, which may begin and end within a token; the last token must have a part in it.

    Tokens are read one by one, as they are in the middle of a text, so those of half a character are no part of any.

    >>> from nanodistil import AutoTokenizer
    >>> tokenizer = AutoTokenizer.from_pretrained("nanodistil-mini")
    >>> stop = StopStringCriteria(tokenizer, "e wor")
    >>> [bool(stop(np.array([tokenizer(text).input_ids[1:-1]]), None)[0]) for text in ("the world", "the world is")]
    [True, False]
    """

    def __init__(self, tokenizer: Any, stop_strings: str | list[str]) -> None:
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
        if not self.stop_strings or not all(isinstance(one, str) and one for one in self.stop_strings):
            raise InputError(f"`stop_strings` should be strings that are not empty, not {excerpt(stop_strings)}")
        self.tokenizer = tokenizer
        self.before = tokenizer.convert_ids_to_tokens(tokenizer("abcdef", add_special_tokens=False)["input_ids"])
        self.written: dict[int, str] = {}  # id -> what it adds to a text
        self.longest = max(len(one) for one in self.stop_strings)

    def __call__(self, input_ids: Ints, scores: Kept, **kwargs: Any) -> Ended:
        """See StoppingCriteria."""
        return np.array([self.ended(ids) for ids in input_ids[:, -self.longest :].tolist()], bool)

    def ended(self, ids: list[int]) -> bool:
        """Whether one text ends, of its last tokens."""
        before, last = "".join(map(self.adds, ids[:-1])), self.adds(ids[-1])
        return any(s in before[max(len(before) - len(s) + 1, 0) :] + last for s in self.stop_strings)

    def adds(self, token_id: int) -> str:
        """What a token adds to a text."""
        if token_id not in self.written:
            token = self.tokenizer.convert_ids_to_tokens(token_id)
            text = self.tokenizer.convert_tokens_to_string([*self.before, token or ""])
            self.written[token_id] = text[text.index("abcdef") + len("abcdef") :]
        return self.written[token_id]


Stop: TypeAlias = StoppingCriteria | Callable[..., Any]


class StoppingCriteriaList(list[Stop]):
    """Criteria of which one is enough.

    >>> StoppingCriteriaList([MaxLengthCriteria(9), lambda ids, scores: ids[:, -1] == 6])(np.array([[5, 6]]), None)
    array([ True])
    """

    def __call__(self, input_ids: Ints, scores: Kept = None, **kwargs: Any) -> Ended:
        """(S, T) ids -> (S,). Raises InputError for a criterion that says neither yes nor no."""
        ended = np.zeros(len(input_ids), bool)
        for criterion in self:
            said = np.asarray(criterion(input_ids, scores, **kwargs))
            if said.dtype.kind not in "biu" or said.shape not in ((), (1,), ended.shape):
                raise InputError(f"{excerpt(criterion)} should say yes or no of each of {len(ended)} sequences")
            ended |= said.astype(bool)
        return ended

    @property
    def max_length(self) -> int | None:
        """That of its MaxLengthCriteria, if it has one."""
        return next((one.max_length for one in self if isinstance(one, MaxLengthCriteria)), None)
