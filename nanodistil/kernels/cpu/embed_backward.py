"""The derivative of looking rows up: adding rows where they were looked up, many to the same place.

Definition: embed_backward in numpy_backward.py.

`out[ids] += dx` is wrong if an id occurs twice, and `np.add.at`, which is right, goes number by number. Two threads
cannot simply take half of the rows each, since both may meet the same id. They can take half of the columns each: a
work item is STRIP columns of all rows, in the order of the rows, so every number of the table is the sum np.add.at
makes of it, to the last bit, with any number of threads.
"""

from __future__ import annotations

from typing import Any

from ..runtime.jit import kernel

STRIP = 64  # columns a work item: 4 lines of the cache


@kernel()
def scatter_strips(start: int, stop: int, dx: Any, ids: Any, out: Any) -> None:
    """Work items start..stop: out[ids[i]] += dx[i] in columns item * STRIP on: (N, D) float32, (N,) -> (V, D)."""
    D = dx.shape[1]
    for item in range(start, stop):
        left, right = item * STRIP, min((item + 1) * STRIP, D)
        for i in range(dx.shape[0]):
            word = ids[i]
            for d in range(left, right):
                out[word, d] += dx[i, d]
