"""Who attends to whom: what every attention of every backend is told about the sentences of a packed batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sentences(NamedTuple):
    """B sentences, whose rows stand in one matrix of queries (M, D) and one of keys and values (N, D)."""

    asking: NDArray[np.int64]  # (B + 1,) first query of each sentence, then M: all tokens, or those a head needs
    starts: NDArray[np.int64]  # (B + 1,) first key of each, then N
    heads: int
    keep: NDArray[np.bool_] | None  # (N,) False at keys that are masked; None: there are none
    reach: NDArray[np.int64] | None = None  # (M,) how many keys of its sentence a query sees, from the first; None: all

    def causal(self, send: Callable[[Any], Any]) -> Sentences:
        """The same where every token asks, and sees itself and what stands before it.

        send: takes an array of the host where the backend computes.

        >>> Sentences(np.array([0, 3, 5]), np.array([0, 3, 5]), 1, None).causal(lambda x: x).reach
        array([1, 2, 3, 1, 2])
        """
        begins = np.repeat(self.starts[:-1], np.diff(self.starts))  # (N,)
        return self._replace(reach=send(np.arange(len(begins)) - begins + 1))

    def asked_by(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> Sentences:
        """The same where only these rows ask, starts[b] : starts[b + 1] of them in sentence b."""
        return self._replace(asking=starts, reach=None if self.reach is None else self.reach[rows])
