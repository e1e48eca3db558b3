"""Which rows a block of attention's threads works on: made on the host, which knows where sentences begin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cuda_source import cupy as cp

Array = Any  # a cupy.ndarray
Ints = NDArray[np.int64]

QUERIES = 64  # of one sentence and head, that a block of attention's threads works on


class Table(NamedTuple):
    """`blocks_of_queries` on the GPU."""

    tiles: Array  # (tiles, 4) int32
    places: Array  # (tiles, 4) int32


class MadeOnce(threading.local):
    """A Table made once a batch: all its layers are handed the same two arrays, and each thread's last is kept."""

    def __init__(self, blocks: Callable[[Ints, Ints], tuple[NDArray[np.int32], NDArray[np.int32]]]) -> None:
        self.blocks = blocks
        self.made: tuple[Ints, Ints, Table] | None = None

    def __call__(self, asking: Ints, starts: Ints) -> Table:
        """The table of this batch, on the GPU in use."""
        if self.made is None or self.made[0] is not asking or self.made[1] is not starts:
            self.made = asking, starts, Table(*map(cp.asarray, self.blocks(asking, starts)))
        return self.made[2]


def cut(lengths: Ints, work: Ints) -> tuple[Ints, Ints]:
    """Sentences of these lengths (B,) in pieces of QUERIES rows: of each piece its sentence, and its first row in that.

    Those with most work (B,) come first: what is still running when the others are done should be short.
    """
    pieces = -(-lengths // QUERIES)  # (B,)
    sentence = np.repeat(np.arange(len(pieces)), pieces)  # (tiles,)
    first = QUERIES * (np.arange(len(sentence)) - (np.cumsum(pieces) - pieces)[sentence])  # (tiles,)
    order = np.argsort(-work[sentence], kind="stable")
    return sentence[order], first[order]


def columns(*of: Ints) -> NDArray[np.int32]:
    """4 x (tiles,) -> (tiles, 4), as the kernels read them."""
    return np.stack(of, axis=1).astype(np.int32)


def blocks_of_queries(asking: Ints, starts: Ints) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each block of attention's threads works on, (tiles, 4) each:

    tiles   first query row, number of queries, first key row, number of keys
    places  number of the sentence; in it, number of the first query and of the first key, 0; number of keys

    No loop over sentences: the GPU waits for this, and Python's took 0.9 ms for 256 of 128 tokens, NumPy's 0.05.
    """
    queries, keys = np.diff(asking), np.diff(starts)  # (B,)
    b, first = cut(queries, keys)
    tiles = columns(asking[b] + first, np.minimum(queries[b] - first, QUERIES), starts[b], keys[b])
    return tiles, columns(b, first, np.zeros_like(b), keys[b])
