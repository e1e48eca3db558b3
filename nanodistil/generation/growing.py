"""Texts that grow by a token at a time, all of them in one array: (S, T), seen without a copy."""

from __future__ import annotations

import numpy as np

from nanodistil.backend import Ints


class Growing:
    """(S, T) ids with room behind them, doubled if it is used up.

    >>> texts = Growing(np.array([[1, 2]]))
    >>> texts.add(np.array([[3, 4]])); texts.ids
    array([[1, 2, 3, 4]])
    """

    def __init__(self, ids: Ints) -> None:
        self.length = ids.shape[1]
        self.room = np.empty((len(ids), 2 * self.length + 16), np.int64)
        self.room[:, : self.length] = ids

    @property
    def ids(self) -> Ints:
        """(S, T), a view."""
        return self.room[:, : self.length]

    def add(self, tokens: Ints) -> None:
        """(S, n) behind them."""
        longer = self.length + tokens.shape[1]
        if longer > self.room.shape[1]:
            more = np.empty((len(self.room), longer), np.int64)
            self.room = np.concatenate([self.room, more], axis=1)
        self.room[:, self.length : longer] = tokens
        self.length = longer
