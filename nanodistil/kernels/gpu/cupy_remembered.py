"""Keys and values of texts that are written on, in the GPU's memory; definition: Rows in remembered.py.

Of each layer there is one matrix; a row holds a token's keys and, beside them, its values. A text has a slot: `room`
rows of it, in their order. attention.cu is told the first of them and how many there are, as of any sentence, so it
reads them where they lie. A step copies its own tokens there (keep.cu) and nothing else. When a text outgrows its slot
all slots become twice as long, and when there is one text more than slots there are twice as many: a token pays for a
copy of itself or two, all told.

Where a new token goes, whom it sees and how the work is cut is the same in all layers: it is sent once a pass.

A step of one token each is some sixty launches that hardly do anything. For so many texts as are written on at once it
is recorded, as in cuda_graph.py: all that changes lies at addresses that stay, and comes in one copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ..definitions.remembered import Numbered
from ..definitions.sentences import Sentences
from .cuda_source import TYPES, compiled
from .cuda_source import cupy as cp
from .lane import Lane, attempted, captured, lane_of, pinned, refuse
from .tables import QUERIES, Table, columns, cut

Array = Any  # a cupy.ndarray
Ints = NDArray[np.int64]

LEAST_ROOM = 64  # rows of a slot
KEPT = 1 << 28  # bytes that are worth keeping for the next texts
KEEP_THREADS = 128
MOST_TEXTS = 64  # beyond them the GPU works longer than the host takes to launch


class Told(NamedTuple):
    """What all layers of a pass are told of those who ask."""

    asking: Ints | None  # None: whoever asks
    table: Table
    reach: Array  # (M,)


class Slots(Numbered):
    """What a model remembers of texts: see Remembered in remembered.py. `attend` is for the texts reserved last."""

    def __init__(self, ops: Any, widths: Sequence[int]) -> None:
        """ops: a CupyOps. widths: A of every layer."""
        super().__init__()
        self.ops, self.widths = ops, widths
        self.slots, self.room = 0, 0
        self.kept: list[Array] = [None] * len(widths)  # of each layer: (slots, room, 2 A)
        self.who, self.before = np.zeros(0, np.int64), np.zeros(0, np.int64)  # of what was reserved last
        self.rows = np.zeros(0, np.int64)  # (N,) where its tokens go
        self.there: Array = None  # the same on the GPU
        self.told: list[Told] = []  # all that ask and, of a last layer, some
        self.recorded: dict[int, _Step] = {}  # by number of texts
        self.possible = True  # to record

    def copy(self, parents: Ints) -> Ints:
        children = self.join(len(parents))
        lengths = self.lengths[parents]
        if lengths.any():
            self._grow(len(self._lengths), self.room)
            to, of = self.ops.send(children), self.ops.send(np.asarray(parents, np.int64))
            for kept in map(as_bits, self.kept):
                kept[to] = kept[of]
        self.cut(children, lengths)
        return children

    def reserve(self, who: Ints, counts: Ints) -> None:
        self.who, self.before = np.asarray(who), self.lengths[who]
        self._grow(len(self._lengths), int((self.before + counts).max(initial=0)))
        begins = np.repeat(np.cumsum(counts) - counts, counts)  # (N,)
        first = np.repeat(self.who * self.room + self.before, counts)
        self.rows = first + np.arange(len(first)) - begins
        self.there, self.told = None, []

    def clear(self) -> bool:
        self._lengths, self.gone = [], []
        return sum(kept.nbytes for kept in self.kept if kept is not None) <= KEPT

    def attend(self, layer: int, texts: Ints, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """See Remembered."""
        q, k, v = self.ops.asked_and_kept(q, k, v)
        (N, A), kept = k.shape, self.kept[layer]
        if self.there is None:
            self.there = self.ops.send(self.rows)
        kernel = compiled("keep.cu", STORED=TYPES[self.ops.stored.name]).get_function("keep")
        kernel((N,), (KEEP_THREADS,), (k, v, np.int32(k.strides[0] // k.itemsize), self.there, kept, np.int32(A)))
        told, flat = self._told(who), kept.reshape(-1, 2 * A)
        return self.ops.attention_by(
            told.table, None, q, flat[:, :A], flat[:, A:], who._replace(keep=None, reach=told.reach)
        )

    def _told(self, who: Sentences) -> Told:
        for told in self.told:
            if told.asking is None or told.asking is who.asking:
                return told
        queries, keys = np.diff(who.asking), self.before + np.diff(who.starts)  # (B,)
        b, first = cut(queries, keys)
        rows = np.minimum(queries[b] - first, QUERIES)
        tiles = self.ops.send(columns(who.asking[b] + first, rows, self.who[b] * self.room, keys[b]))
        reach = who.reach + self.ops.send(np.repeat(self.before, queries))
        self.told.append(Told(who.asking, Table(tiles, tiles), reach))
        return self.told[-1]

    def _grow(self, slots: int, room: int) -> None:
        """At least so many slots, of so many rows."""
        if slots <= self.slots and room <= self.room:
            return
        old = self.slots, self.room
        self.recorded = {}
        self.slots = max(self.slots, 1 << max(0, slots - 1).bit_length())
        self.room = max(self.room, LEAST_ROOM, 1 << max(0, room - 1).bit_length())
        for layer, A in enumerate(self.widths):
            before = self.kept[layer]
            self.kept[layer] = cp.empty((self.slots, self.room, 2 * A), self.ops.stored)
            if before is not None:
                as_bits(self.kept[layer])[: old[0], : old[1]] = as_bits(before)

    def short(self, inputs: list[Ints], compute: Callable[..., Array]) -> Array | None:
        """See Remembered. A recording is for so many texts, as long as slots lie where they do."""
        B = len(inputs[0])
        if not 0 < B <= MOST_TEXTS or not self.possible:
            return None
        ones, keys = np.ones(B, np.int64), self.before + 1
        b, _ = cut(ones, keys)
        given = [*inputs, self.rows, keys], columns(b, ones, self.who[b] * self.room, keys[b])
        self.ops.device.use()
        lane = lane_of(self.ops.device.id)
        with lane.lock:
            step = self.recorded.get(B)
            if step is None:
                step, self.possible = attempted(lambda: _Step(self, lane, compute, *given))
            if step is None:
                cp.cuda.get_current_stream().wait_event(lane.last)  # the attempt has written where the pass will
                return None
            self.recorded[B] = step
            return cast(Array, self.ops.fetch(step.replay(*given)))


def as_bits(x: Array) -> Array:
    """The same memory as whole numbers: a copy need not know what they mean."""
    return x.view(f"uint{8 * x.itemsize}")


class _Step:
    """The launches of one token more of each of B texts: ids, positions, rows, reach (B,), and the table (B, 4).

    The pass that goes before a recording, and compiles what is needed, is given the same numbers as the replay behind
    it, so what it remembers of the texts is what will be written there again.
    """

    def __init__(
        self, slots: Slots, lane: Lane, compute: Callable[..., Array], numbers: list[Ints], tiles: NDArray[np.int32]
    ) -> None:
        size = sum(x.nbytes for x in (*numbers, tiles))
        self.lane, self.copied = lane, cp.cuda.Event(disable_timing=True)
        self.pinned = pinned((size,), np.uint8)
        asked = cp.cuda.Event(disable_timing=True)  # what was asked before, such as the prompts' keys and values
        asked.record()
        for event in (asked, lane.last):
            lane.stream.wait_event(event)
        with lane.stream, cp.cuda.using_allocator(lane.pool.malloc):
            self.inputs = cp.empty(size, np.uint8)
            self.bring(numbers, tiles, lane.stream)
            B = len(tiles)
            ids, positions, rows, reach = (self.inputs[8 * B * i : 8 * B * (i + 1)].view(np.int64) for i in range(4))
            table = self.inputs[32 * B :].view(np.int32).reshape(B, 4)
            still = copy.copy(slots.ops)
            still.fetch = refuse
            still.send = lambda x: x if isinstance(x, cp.ndarray) else reach  # all that is sent is how far one sees
            before = slots.there, slots.told
            slots.there, slots.told = rows, [Told(None, Table(table, table), reach)]
            try:
                compute(ids, positions, still)
                self.graph, self.scores = captured(lane.stream, lambda: compute(ids, positions, still))  # (B, V)
            finally:
                slots.there, slots.told = before
                lane.last.record(lane.stream)

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the process there is nobody to ask
            self.copied.synchronize()  # or `pinned` would be somebody else's while it is read

    def bring(self, numbers: list[Ints], tiles: NDArray[np.int32], stream: Any) -> None:
        """All that a step changes, to where it is read, in one copy."""
        self.copied.synchronize()  # what was brought last has arrived
        self.pinned[:] = np.concatenate([x.reshape(-1).view(np.uint8) for x in (*numbers, tiles)])
        self.inputs.data.copy_from_host_async(self.pinned.ctypes.data, self.pinned.nbytes, stream)
        self.copied.record(stream)

    def replay(self, numbers: list[Ints], tiles: NDArray[np.int32]) -> Array:
        """-> (B, V), on the current stream."""
        stream, out = cp.cuda.get_current_stream(), cp.empty(self.scores.shape, self.scores.dtype)
        stream.wait_event(self.lane.last)
        self.bring(numbers, tiles, stream)
        self.graph.launch(stream)
        out.data.copy_from_device_async(self.scores.data, out.nbytes, stream)
        self.lane.last.record(stream)
        return out
