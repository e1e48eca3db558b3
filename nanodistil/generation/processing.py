"""What stands between a model's scores and the choice of a token: processors, one behind the other.

A processor takes the ids so far (S, T), padding and all, and scores of what may follow (S, V), and gives scores. The
built-in ones overwrite `change`, which works in place; called alone they leave their argument as it was, and in a list
all of them share one copy: at V = 50257 each copy is a fifth of a megabyte a sequence. A user's own overwrites
`__call__`, as in transformers, or is any function of the two arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.backend import Array, Ints
from nanodistil.weights.errors import InputError, excerpt


class LogitsProcessor:
    """Base of all, and of a user's own."""

    def __call__(self, input_ids: ArrayLike, scores: ArrayLike) -> Array:
        """(S, T) ids and (S, V) scores -> (S, V) scores, a new array."""
        changed: Array = np.array(scores)
        self.change(np.asarray(input_ids), changed)
        return changed

    def change(self, input_ids: Ints, scores: Array) -> None:
        """The same in place."""
        raise NotImplementedError(f"a {type(self).__name__} has to say what __call__ does with scores")


Process: TypeAlias = LogitsProcessor | Callable[[Any, Any], Any]


class LogitsProcessorList(list[Process]):
    """Processors, one behind the other.

    >>> double = LogitsProcessorList([lambda input_ids, scores: 2 * scores])
    >>> double([[1, 2]], np.array([[0.5, 1.0]]))
    array([[1., 2.]])
    """

    def __call__(self, input_ids: ArrayLike, scores: ArrayLike) -> Array:
        """(S, T) ids and (S, V) scores -> (S, V) scores, a new array. Raises InputError for what is no such thing."""
        return self.processed(np.asarray(input_ids), np.array(scores))

    def processed(self, input_ids: Ints, scores: Array) -> Array:
        """The same, of scores that may be written over."""
        for processor in self:
            if isinstance(processor, LogitsProcessor) and type(processor).__call__ is LogitsProcessor.__call__:
                processor.change(input_ids, scores)
                continue
            shape = scores.shape
            scores = np.asarray(processor(input_ids, scores))
            if scores.shape != shape or scores.dtype.kind != "f":
                raise InputError(f"{excerpt(processor)} should give scores {shape}, not {scores.dtype} {scores.shape}")
            if not scores.flags.writeable:
                scores = scores.copy()
        return scores


def token_ids(value: Any, name: str) -> Ints:
    """(n,) ids, of one number or several. Raises InputError unless they are ids.

    >>> token_ids(3, "eos_token_id"), token_ids([1, 2], "eos_token_id")
    (array([3]), array([1, 2]))
    """
    try:
        ids = np.atleast_1d(np.asarray(list(value) if isinstance(value, Iterable) else value))
    except (TypeError, ValueError):
        ids = np.empty(0)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu" or ids.min() < 0:
        raise InputError(f"`{name}` has to be a list of positive integers, but is {excerpt(value)}")
    return ids.astype(np.int64)


def whole(value: Any, name: str, least: int, said: str) -> int:
    """An integer of `least` or more. Raises InputError, with transformers' words for it.

    >>> whole(0, "top_k", 1, "a strictly positive integer")
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: `top_k` has to be a strictly positive integer, but is 0
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"`{name}` has to be {said}, but is {excerpt(value)}")
    return int(value)


def real(value: Any, name: str, fits: Callable[[float], bool], said: str) -> float:
    """A number for which `fits` holds. Raises InputError, with transformers' words for it.

    >>> real(-1.0, "penalty", lambda x: x > 0, "a strictly positive float")
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: `penalty` has to be a strictly positive float, but is -1.0
    """
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not fits(float(value)):
        raise InputError(f"`{name}` has to be {said}, but is {excerpt(value)}")
    return float(value)
