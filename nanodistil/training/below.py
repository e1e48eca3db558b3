"""Layers that learn nothing are computed once: what the lowest of them say of a sentence is remembered.

If the embeddings and the first n blocks stay as they are, and have no dropout, then what reaches block n of a sentence
is the same in every epoch. So it is computed at the first meeting and kept: D numbers a token, 1.4 GB of SST-2. Later
epochs begin at block n, and the way back ends there. With 3 of 6 blocks that leaves half of the forward and of the
backward pass.

A sentence is known by its ids and positions: no number of one depends on its neighbours in a batch (packing.py), so
a run that was killed and goes on meets the same numbers. What does not fit in `room` is computed again every time.
"""

from __future__ import annotations

import numpy as np

from nanodistil import model
from nanodistil.backend import Array, Ops
from nanodistil.config import Config
from nanodistil.model import Packed, attending
from nanodistil.packing import sent
from nanodistil.taps import NoTap
from nanodistil.weights.layout import Weights

ROOM = 4 << 30  # bytes


class Below:
    """The embeddings and the first `layers` blocks, frozen."""

    def __init__(self, layers: int, room: int = ROOM) -> None:
        self.layers, self.room = layers, room
        self.known: dict[bytes, Array] = {}

    def __call__(self, batch: Packed, w: Weights, config: Config, ops: Ops) -> Array:
        """What reaches the first block that learns: (N,) -> (N, D). The batch is in the host's memory."""
        if batch.keep is not None:
            return self._computed(batch, w, config, ops)
        spans = list(zip(batch.starts[:-1].tolist(), batch.starts[1:].tolist(), strict=True))
        keys = [batch.ids[a:b].tobytes() + batch.positions[a:b].tobytes() for a, b in spans]
        new = [i for i, key in enumerate(keys) if key not in self.known]
        found = [self.known.get(key) for key in keys]
        if new:
            rows = np.concatenate([np.arange(*spans[i]) for i in new])
            starts = np.concatenate([[0], np.cumsum([spans[i][1] - spans[i][0] for i in new])]).astype(np.int64)
            fresh = Packed(batch.ids[rows], batch.positions[rows], starts, None)
            x = ops.fetch(self._computed(fresh, w, config, ops))
            for i, a, b in zip(new, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
                found[i] = x[a:b]
                if keys[i] not in self.known and self.room >= x[a:b].nbytes:
                    self.known[keys[i]] = x[a:b].copy()
                    self.room -= x[a:b].nbytes
        together: Array = ops.send(np.concatenate([one for one in found if one is not None]))
        return together

    def _computed(self, batch: Packed, w: Weights, config: Config, ops: Ops) -> Array:
        batch, tap = sent(batch, ops.send), NoTap()
        x, who = model.embeddings(batch, w, ops, tap), attending(batch, config, ops)
        for i in range(self.layers):
            x = model.block(x, w.layers[i], who, config, ops, tap, f"layer.{i}", None)  # (N, D)
        return x
