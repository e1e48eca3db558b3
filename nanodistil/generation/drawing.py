"""Random draws that do not depend on who else is drawn for: each sequence has a stream of its own.

A stream is named by the seed, the prompt's tokens, and which of several answers to the same prompt this is. So with a
seed a prompt has the same answers alone and in any batch, in any order, on any number of threads; and prompts of one
batch are independent of each other. Draw number n is for token number n: what is guessed ahead (guessing.py) and thrown
away has used up nothing.

Torch's draws cannot be had without torch. What is equal to transformers' are the probabilities.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.weights.errors import InputError, excerpt

NO_NUMBER = (
    "no token can follow: scores hold NaN or infinity, or everything is left out; look at the processors, or set "
    "remove_invalid_values=True"
)


class Stream:
    """The draws of one sequence, by the number of its token."""

    def __init__(self, seed: int, text: Ints, answer: int) -> None:
        said = b"%d %d " % (seed, answer) + text.astype("<i8").tobytes()
        key = np.frombuffer(blake2b(said, digest_size=16).digest(), "<u8")
        self.generator = np.random.Generator(np.random.Philox(key=key))
        self.drawn: list[float] = []

    def uniform(self, number: int) -> float:
        """In [0, 1): for token `number`."""
        while len(self.drawn) <= number:
            self.drawn.append(self.generator.random())
        return self.drawn[number]

    def gumbel(self, count: int) -> Array:
        """Of a standard Gumbel distribution: the next (count,) in turn."""
        return -np.log(self.generator.standard_exponential(count))


def streams(seed: int | None, texts: Sequence[Ints], answers: int) -> list[Stream]:
    """One for each answer to each text; texts that are alike have different ones. seed: None for a fresh one.

    Raises InputError for what is no seed.

    >>> a, b = streams(7, [np.array([1, 2]), np.array([3])], 1)
    >>> [alone] = streams(7, [np.array([3])], 1)
    >>> a.uniform(0) == b.uniform(0), b.uniform(0) == alone.uniform(0)
    (False, True)
    """
    if seed is None:
        seed = secrets.randbits(63)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InputError(f"seed should be a whole number, or None for another one each time, not {excerpt(seed)}")
    met: Counter[bytes] = Counter()
    found = []
    for text in texts:
        for _ in range(answers):
            name = text.tobytes()
            found.append(Stream(int(seed), text, met[name]))
            met[name] += 1
    return found


def drawn(row: Array, uniform: float) -> int:
    """A token with probability softmax(row): (V,). Raises InputError if no token can follow.

    >>> [drawn(np.log([0.25, 0.75]), u) for u in (0.0, 0.2, 0.3, 0.99)]
    [0, 0, 1, 1]
    """
    tokens = np.flatnonzero(row > -np.inf)
    scores = row[tokens]
    best = row.max()  # NaN, if there is one
    if not np.isfinite(best):
        raise InputError(NO_NUMBER)
    summed = np.cumsum(np.exp(scores - best), dtype=np.float64)
    place = np.searchsorted(summed, uniform * summed[-1], side="right")
    return int(tokens[min(place, len(tokens) - 1)])
