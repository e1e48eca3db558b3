"""Short batches, answered from recordings: a pass over so few rows takes Python as long as it may take the kernels.

runtime/recording.py says how a recording works; here is which passes are recorded, and the proof that each needs. A
recording is of a size: how many rows, how many sentences. It is made when a size comes for the third time, with other
numbers than the batch's, replayed with the batch's, and compared, bit for bit, with the pass as it is without. So a
pass that asks NumPy for something on the way (an activation that has no kernel) is found out, and its model is never
recorded again. Results are the same bits either way, so it does not matter to anybody who was answered how.

Recordings hold what a pass allocates, up to 4 MB each for the official width. Gain, full-size model, two threads on an
Ice Lake Xeon with busy neighbours, best of many against best of many: float32 at 8 to 32 rows 1.18, at 128 rows 1.07;
int8 at 8 rows 1.45, at 32 1.58, at 128 1.19.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime import pool
from ..runtime.recording import Recording
from ..runtime.target import INTERPRETED

MOST_ROWS = 128  # beyond them Python's share is small
MOST_KEPT = 24  # recordings of a model; the one that was asked for longest ago goes first
MOST_BYTES = 48 << 20  # that they hold together
OFTEN = 3  # a size is recorded when it comes for the third time
WORTH = 10  # replays that pay for a recording: so many there must have been of each, before one takes another's place

Array = NDArray[np.float32]
Inputs = list[NDArray[Any]]


class Recordings:
    """Of one model with the weights it has, by size."""

    def __init__(self) -> None:
        self.kept: dict[Hashable, _Known] = {}
        self.seen: Counter[Hashable] = Counter()
        self.possible = not INTERPRETED
        self.made = self.replays = 0
        self.lock = threading.Lock()

    def answer(self, size: Hashable, inputs: Inputs, others: Inputs, compute: Callable[..., Array]) -> Array | None:
        """compute(*inputs, *others) from a recording, a copy; None if there is none, or it is in use.

        size: what a recording is for; inputs and others: arrays of which only the numbers differ between calls of one
        size. inputs: ids and the like, of which 0 is always one. compute: asks kernels for everything.
        """
        size = size, pool.threads()
        if not self.possible or not self.lock.acquire(blocking=False):
            return None
        try:
            known = self.kept.pop(size, None)
            if known is not None:
                self.kept[size] = known  # the youngest
                self.replays += 1
                return known.replayed(*inputs, *others)
            self.seen[size] += 1
            full = self.made >= MOST_KEPT and self.replays < WORTH * self.made
            if full or self.seen[size] < OFTEN or not any(x.any() for x in inputs):
                return None
            wanted = compute(*inputs, *others)
            known = _Known([np.zeros_like(x) for x in inputs] + [x.copy() for x in others], compute)
            self.possible = np.array_equal(known.replayed(*inputs, *others), wanted, equal_nan=True)
            if self.possible:
                self.kept[size] = known
                self.made += 1
                while len(self.kept) > 1 and (len(self.kept) > MOST_KEPT or self.bytes() > MOST_BYTES):
                    self.kept.pop(next(iter(self.kept)))
            return wanted
        finally:
            self.lock.release()

    def bytes(self) -> int:
        """What the recordings hold."""
        return sum(known.recording.bytes() for known in self.kept.values())


class _Known:
    """A recording, and the arrays that its first kernels read."""

    def __init__(self, inputs: Inputs, compute: Callable[..., Array]) -> None:
        self.inputs, self.recording = inputs, Recording(lambda: compute(*inputs))

    def replayed(self, *inputs: NDArray[Any]) -> Array:
        for here, there in zip(self.inputs, inputs, strict=True):
            here[...] = there
        self.recording.again()
        return np.array(self.recording.result)


class Graphs(Recordings):
    """The encoder of a model on short batches."""

    def __call__(self, encode: Callable[[Any, Any], Array], ops: Any, batch: Any) -> Array | None:
        """The hidden states (N, D) of a packed batch, as `encode` computes them; None if that is left to it."""
        N, B = len(batch.ids), len(batch.starts) - 1
        if not 0 < N <= MOST_ROWS or batch.keep is not None:
            return None

        def compute(ids: Any, positions: Any, starts: Any) -> Array:
            return encode(batch._replace(ids=ids, positions=positions, starts=starts), ops)

        return self.answer((N, B), [batch.ids, batch.positions], [batch.starts], compute)
