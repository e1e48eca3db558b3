"""Who attends to whom: what every attention of every backend is told about the sentences of a packed batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Sentences(NamedTuple):
    """B sentences, whose rows stand in one matrix of queries (M, D) and one of keys and values (N, D)."""

    asking: NDArray[np.int64]  # (B + 1,) first query of each sentence, then M: all tokens, or those a head needs
    starts: NDArray[np.int64]  # (B + 1,) first key of each, then N
    heads: int
    keep: NDArray[np.bool_] | None  # (N,) False at keys that are masked; None: there are none
