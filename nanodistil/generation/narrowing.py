"""Processors of sampling: a temperature, and seven ways to leave unlikely tokens out.

Each works on one row of scores (V,) at a time: it then stays in the processor's cache, 200 KB at V = 50257. Where one
has to know an order, it sorts what can matter and no more: `top_k` finds the k-th largest, and leaves the rest at -inf;
those behind it look at what is left; and of a whole row `top_p` and `typical_p` sort the 512 that come first, and more
only if those do not hold the mass: 0.2 and 1 ms a row, not 2 and 7. Sorting is stable, so ties fall the same way
everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array, Ints
from nanodistil.generation.processing import LogitsProcessor, real, whole
from nanodistil.weights.errors import InputError, excerpt

FIRST = 512  # tokens that are sorted first; a nucleus of p = 0.9 has 10 to 300


def kth_largest(row: Array, k: int) -> np.floating:
    """(V,) -> the k-th largest; the smallest if there are not so many.

    >>> print(kth_largest(np.array([0.1, 0.3, 0.2]), 2))
    0.2
    """
    place = max(len(row) - k, 0)
    found: np.floating = np.partition(row, place)[place]
    return found


def alive(row: Array) -> Ints:
    """Tokens that are not left out yet: (V,) -> (k,)."""
    return np.flatnonzero(row > -np.inf)


def relative(row: Array) -> tuple[Array, np.floating]:
    """exp(row - max), and its sum: probabilities but for a division, which a comparison can do without."""
    p = np.exp(row - row.max())
    return p, p.sum()


def unlikely(scores: Array, least: int, limit: float, filter_value: float) -> None:
    """Leave out what has a probability below `limit`, but for the `least` best: (V,) in place."""
    p, total = relative(scores)
    out = p < limit * total
    if least > 1 or limit > p.max() / total:
        out &= scores < kth_largest(scores, least)
    scores[out] = filter_value


def holding(keys: Array, p: Array, mass: float | np.floating, least: int) -> NDArray[np.bool_]:
    """Tokens with the smallest keys, at least so many, that together have a mass or more: all three (k,) by token.

    Not as few as possible, but far fewer than all, if few will do.
    """
    count = max(FIRST, least)
    while count < len(keys):
        inside = keys <= np.partition(keys, count - 1)[count - 1]
        if p[inside].sum() > mass:
            return np.asarray(inside)
        count *= 8
    return np.ones(len(keys), bool)


class Narrowing(LogitsProcessor):
    """A processor that leaves tokens out: sets their scores to filter_value, but for the min_tokens_to_keep best."""

    def __init__(self, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        self.filter_value = filter_value
        self.min_tokens_to_keep = whole(min_tokens_to_keep, "min_tokens_to_keep", 1, "a positive integer")

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        for row in scores:
            self.narrow(row)

    def narrow(self, row: Array) -> None:
        """(V,) in place."""
        raise NotImplementedError

    def leave_out(self, row: Array, tokens: Ints | NDArray[np.bool_]) -> None:
        """Set their scores."""
        row[tokens] = self.filter_value


class TemperatureLogitsWarper(LogitsProcessor):
    """Scores divided by a number: below 1 the likely becomes likelier.

    >>> TemperatureLogitsWarper(2.0)([[0]], [[1.0, 3.0]])
    array([[0.5, 1.5]])
    """

    def __init__(self, temperature: float) -> None:
        try:
            self.temperature = real(temperature, "temperature", lambda x: x > 0, "a strictly positive float")
        except InputError:
            greedy = " for greedy decoding set `do_sample=False`" if temperature == 0 else ""
            raise InputError(
                f"`temperature` (={excerpt(temperature)}) has to be a strictly positive float, otherwise your next "
                f"token scores will be invalid.{greedy}"
            ) from None

    def change(self, input_ids: Ints, scores: Array) -> None:
        """See LogitsProcessor."""
        scores /= self.temperature


class TopKLogitsWarper(Narrowing):
    """The k best, and what is as good as the last of them (Fan 2018).

    >>> TopKLogitsWarper(1)([[0]], [[1.0, 3.0]])
    array([[-inf,   3.]])
    """

    def __init__(self, top_k: int, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.top_k = max(whole(top_k, "top_k", 1, "a strictly positive integer"), min_tokens_to_keep)

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        self.leave_out(row, row < kth_largest(row, self.top_k))


class TopPLogitsWarper(Narrowing):
    """The best that together have a probability of top_p, as few as possible (Holtzman 2020).

    >>> TopPLogitsWarper(0.8)([[0]], np.log([[0.1, 0.2, 0.7]])).round(1)
    array([[-inf, -1.6, -0.4]])
    """

    def __init__(self, top_p: float, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.top_p = real(top_p, "top_p", lambda x: 0 <= x <= 1, "a float > 0 and < 1")

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        p, total = relative(row)
        likely = p > (1 - self.top_p) * total / len(row)  # the others together have too little, and all go
        if np.count_nonzero(likely) >= self.min_tokens_to_keep:
            self.leave_out(row, ~likely)
            tokens = np.flatnonzero(likely)
        else:
            tokens = alive(row)
        p = p[tokens]
        inside = holding(-row[tokens], p, self.top_p * total, self.min_tokens_to_keep)
        self.leave_out(row, tokens[~inside])
        tokens, p = tokens[inside], p[inside]
        below = total - p.sum()
        order = np.argsort(row[tokens], kind="stable")
        summed = (below + np.cumsum(p[order])) / total
        gone = min(int((summed <= 1 - self.top_p).sum()), len(order) - self.min_tokens_to_keep)
        self.leave_out(row, tokens[order[: max(gone, 0)]])


class MinPLogitsWarper(Narrowing):
    """What has at least a share of the best one's probability (Nguyen 2024).

    >>> MinPLogitsWarper(0.5)([[0]], np.log([[0.1, 0.5, 0.4]])).round(1)
    array([[-inf, -0.7, -0.9]])
    """

    def __init__(self, min_p: float, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.min_p = real(min_p, "min_p", lambda x: 0 <= x <= 1, "a float in the [0, 1] interval")

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        p, _ = relative(row)  # the best one has 1
        out = p < self.min_p
        if self.min_tokens_to_keep > 1:
            out[np.argsort(-row, kind="stable")[: self.min_tokens_to_keep]] = False
        self.leave_out(row, out)


class TypicalLogitsWarper(Narrowing):
    """Those about as surprising as the row is on average, that together have a probability of `mass` (Meister 2022).

    >>> TypicalLogitsWarper(0.3)([[0]], np.log([[0.1, 0.5, 0.4]])).round(1)
    array([[-inf, -inf, -0.9]])
    """

    def __init__(self, mass: float = 0.9, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.mass = real(mass, "typical_p", lambda x: 0 < x < 1, "a float > 0 and < 1")

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        tokens = alive(row)
        scores = row[tokens]
        p, total = relative(scores)
        surprise = np.log(total) + scores.max() - scores
        p /= total
        far = np.abs(surprise - (surprise * p).sum())
        inside = holding(far, p, self.mass, self.min_tokens_to_keep)
        self.leave_out(row, tokens[~inside])
        tokens, p, far = tokens[inside], p[inside], far[inside]
        order = np.argsort(far, kind="stable")
        last = min(int((np.cumsum(p[order]) < self.mass).sum()), len(order) - 1)
        out = far[order] > far[order[last]]
        out[: self.min_tokens_to_keep] = False
        self.leave_out(row, tokens[order[out]])


class EpsilonLogitsWarper(Narrowing):
    """What has a probability of at least epsilon (Hewitt 2022).

    >>> EpsilonLogitsWarper(0.2)([[0]], np.log([[0.1, 0.5, 0.4]])).round(1)
    array([[-inf, -0.7, -0.9]])
    """

    def __init__(self, epsilon: float, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.epsilon = real(epsilon, "epsilon_cutoff", lambda x: 0 < x < 1, "a float > 0 and < 1")

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        unlikely(row, self.min_tokens_to_keep, self.epsilon, self.filter_value)


class EtaLogitsWarper(Narrowing):
    """What has a probability of at least epsilon, or less where the row is unsure: sqrt(epsilon) exp(-entropy).

    >>> EtaLogitsWarper(0.2)([[0]], np.log([[0.1, 0.5, 0.4]])).round(1)
    array([[-inf, -0.7, -0.9]])
    """

    def __init__(self, epsilon: float, filter_value: float = -np.inf, min_tokens_to_keep: int = 1) -> None:
        super().__init__(filter_value, min_tokens_to_keep)
        self.epsilon = real(epsilon, "eta_cutoff", lambda x: 0 < x < 1, "a float > 0 and < 1")

    def narrow(self, row: Array) -> None:
        """See Narrowing."""
        scores = row[alive(row)]
        p, total = relative(scores)
        entropy = np.log(total) + scores.max() - (p * scores).sum() / total
        limit = min(self.epsilon, self.epsilon**0.5 * np.exp(-entropy))
        unlikely(row, self.min_tokens_to_keep, limit, self.filter_value)
