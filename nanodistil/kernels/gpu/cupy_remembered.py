"""Keys and values of texts that are written on, in the GPU's memory; definition: Rows in remembered.py.

Of each layer there is one matrix; a row holds a token's keys and, beside them, its values. A text has a slot: `room`
rows of it, in their order. attention.cu is told the first of them and how many there are, as of any sentence, so it
reads them where they lie. A step copies its own tokens there (keep.cu) and nothing else. When a text outgrows its slot
all slots become twice as long, and when there is one text more than slots there are twice as many: a token pays for a
copy of itself or two, all told.

Where a new token goes, whom it sees and how the work is cut is the same in all layers: it is sent once a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..definitions.sentences import Sentences
from .cuda_source import compiled
from .cuda_source import cupy as cp
from .tables import QUERIES, Table, columns, cut

Array = Any  # a cupy.ndarray
Ints = NDArray[np.int64]

LEAST_ROOM = 64  # rows of a slot
KEPT = 1 << 28  # bytes that are worth keeping for the next texts
KEEP_THREADS = 128
TYPES = {"float32": "float", "float16": "float16", "bfloat16": "bfloat16"}  # dtype -> type in the sources


class Told(NamedTuple):
    """What all layers of a pass are told of those who ask."""

    asking: Ints
    table: Table
    reach: Array  # (M,)


class Slots:
    """What a model remembers of texts: see Remembered in remembered.py. `attend` is for the texts reserved last."""

    def __init__(self, ops: Any, widths: Sequence[int]) -> None:
        """ops: a CupyOps. widths: A of every layer."""
        self.ops, self.widths = ops, widths
        self.slots, self.room = 0, 0
        self.kept: list[Array] = [None] * len(widths)  # of each layer: (slots, room, 2 A)
        self._lengths: list[int] = []
        self.gone: list[int] = []  # numbers of texts that left
        self.who, self.before = np.zeros(0, np.int64), np.zeros(0, np.int64)  # of what was reserved last
        self.rows: Array = None  # (N,) where its tokens go
        self.told: list[Told] = []  # all that ask and, of a last layer, some

    @property
    def lengths(self) -> Ints:
        return np.array(self._lengths, np.int64)

    def join(self, count: int) -> Ints:
        numbers = [self.gone.pop() if self.gone else self._another() for _ in range(count)]
        return np.array(numbers, np.int64)

    def _another(self) -> int:
        self._lengths.append(0)
        return len(self._lengths) - 1

    def leave(self, who: Ints) -> None:
        self.cut(who, np.zeros(len(who), np.int64))
        self.gone += [int(text) for text in who]

    def copy(self, parents: Ints) -> Ints:
        children = self.join(len(parents))
        lengths = self.lengths[parents]
        if lengths.any():
            self._grow(len(self._lengths), self.room)
            to, of = self.ops.send(children), self.ops.send(np.asarray(parents, np.int64))
            for kept in self.kept:
                kept[to] = kept[of]
        self.cut(children, lengths)
        return children

    def cut(self, who: Ints, lengths: Ints) -> None:
        for text, length in zip(who, lengths, strict=True):
            self._lengths[int(text)] = int(length)

    def reserve(self, who: Ints, counts: Ints) -> None:
        self.who, self.before = np.asarray(who), self.lengths[who]
        self._grow(len(self._lengths), int((self.before + counts).max(initial=0)))
        begins = np.repeat(np.cumsum(counts) - counts, counts)  # (N,)
        first = np.repeat(self.who * self.room + self.before, counts)
        self.rows, self.told = first + np.arange(len(first)) - begins, []

    def fed(self, who: Ints, counts: Ints) -> None:
        self.cut(who, self.lengths[who] + counts)

    def clear(self) -> bool:
        self._lengths, self.gone = [], []
        return sum(kept.nbytes for kept in self.kept if kept is not None) <= KEPT

    def attend(self, layer: int, texts: Ints, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """See Remembered."""
        q, k, v = (self.ops.operand(x) for x in (q, k, v))
        if k.strides[0] != v.strides[0]:
            k, v = cp.ascontiguousarray(k), cp.ascontiguousarray(v)
        (N, A), kept = k.shape, self.kept[layer]
        if isinstance(self.rows, np.ndarray):
            self.rows = self.ops.send(self.rows)
        kernel = compiled("keep.cu", STORED=TYPES[self.ops.stored.name]).get_function("keep")
        kernel((N,), (KEEP_THREADS,), (k, v, np.int32(k.strides[0] // k.itemsize), self.rows, kept, np.int32(A)))
        told, flat = self._told(who), kept.reshape(-1, 2 * A)
        return self.ops.attention_by(
            told.table, None, q, flat[:, :A], flat[:, A:], who._replace(keep=None, reach=told.reach)
        )

    def _told(self, who: Sentences) -> Told:
        for told in self.told:
            if told.asking is who.asking:
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
        self.slots = max(self.slots, 1 << max(0, slots - 1).bit_length())
        self.room = max(self.room, LEAST_ROOM, 1 << max(0, room - 1).bit_length())
        for layer, A in enumerate(self.widths):
            before = self.kept[layer]
            self.kept[layer] = cp.empty((self.slots, self.room, 2 * A), self.ops.stored)
            if before is not None:
                self.kept[layer][: old[0], : old[1]] = before

    def short(self, inputs: list[Ints], compute: Callable[..., Array]) -> Array | None:
        """See Remembered."""
        return None
