"""Small batches on a GPU: the encoder's launches recorded once, and from then on asked for in one.

A forward pass of six layers is 49 launches. Each costs the host some microseconds, Python's share included; but all
that a short sentence asks of the GPU is to read 85 MB of float16 weights, and an H200 reads them in 18 microseconds. So
the GPU waits for its next order most of the time. CUDA's answer is a graph: launches are written down while a stream
captures them, with every address and number they were given, and replayed by one call.

What is written down does not change. So everything that a batch changes must lie in memory, at addresses that stay
(`_Recording`; lane.py has what all recordings share).

The price: a size that was not seen before is recorded first, which takes the time of two passes and of cuBLASLt's
search for four shapes. Sizes are few: 14 numbers of rows, and powers of two of entries. Whether a batch is answered
from a recording depends on its size alone, not on what was asked before: cuBLAS may add in another order if there
are other rows, and a question should not be answered in other last bits the second time. In the last layer all rows are
computed, not only those a head will look at. Recordings keep their memory, some ten megabytes and a workspace of 32,
which `free_memory` does not reach.

What is not recorded: a model whose pass asks for the host on the way (an activation that has no kernel); one that is
being trained, whose weights move; anything while the GPU is full, or while another thread waits for the whole device,
which CUDA forbids during a capture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_source import cupy as cp
from .cupy_ops import CupyOps
from .lane import Lane, attempted, captured, lane_of, pinned, refuse
from .tables import Table, blocks_of_queries

Array = Any  # a cupy.ndarray
Batch = Any  # what the encoder takes: ids, positions, starts, keep
Encode = Callable[[Batch, CupyOps], Array]  # a batch on the GPU -> (N, D)

MOST_ROWS = 512  # beyond them the GPU works longer than the host takes to launch


def room(rows: int, entries: int) -> tuple[int, int]:
    """The recording for a batch of this size: its rows and the entries of its table."""
    step = 16 if rows <= 128 else 64
    return -(-rows // step) * step, 1 << (entries - 1).bit_length()


class Graphs:
    """The recordings of one model with the weights it has."""

    def __init__(self) -> None:
        self.recorded: dict[tuple[int, int], _Recording] = {}  # by `room`
        self.possible = True

    def __call__(self, encode: Encode, ops: CupyOps, batch: Batch) -> Array | None:
        """The hidden states (N, D) of a packed batch on the host, as `encode` computes them, always with these weights.

        None if that is left to `encode` itself: the head of this file says when.
        """
        N = batch.ids.shape[0]
        if not 0 < N <= MOST_ROWS or batch.keep is not None or not self.possible or not isinstance(ops, CupyOps):
            return None
        entries = blocks_of_queries(batch.starts, batch.starts)[0]
        size = room(N, len(entries))
        ops.device.use()
        lane = lane_of(ops.device.id)
        with lane.lock:
            recording = self.recorded.get(size) or self._record(encode, batch, ops, lane, size)
            return recording and recording.replay(batch.ids, batch.positions, entries)

    def _record(
        self, encode: Encode, batch: Batch, ops: CupyOps, lane: Lane, size: tuple[int, int]
    ) -> _Recording | None:
        """A new recording of this size, None if there cannot be one, now or ever."""
        made, self.possible = attempted(lambda: _Recording(encode, batch, ops, lane, *size))
        if made is not None:
            self.recorded[size] = made
        return made


class _Recording:
    """The encoder's launches for S rows and E entries.

    rows       A recording is for S rows, a batch of N brings its own and repeats token 0 for the rest. The rows that
               are made up belong to no sentence: linear maps, GELU and LayerNorm work on them for nothing, attention
               never looks.
    sentences  Attention is told where they are by a table with an entry for each of its blocks (blocks_of_queries). A
               recording has room for some number of entries, and those without queries end at once.
    inputs     Ids, positions and the table lie in one piece, and come from the host in one copy, from memory that the
               GPU can read without the host's help ("pinned").
    arrays     What is made on the way lies in the memory that all recordings share (lane.py).
    """

    def __init__(self, encode: Encode, like: Batch, ops: CupyOps, lane: Lane, S: int, E: int) -> None:
        size = 16 * (S + E)  # bytes
        self.lane, self.copied = lane, cp.cuda.Event(disable_timing=True)
        self.pinned, self.with_copy = pinned((size,), np.uint8), ops.with_copy
        self.ids, self.positions, self.entries = _parts(self.pinned, S)
        lane.stream.wait_event(lane.last)
        with lane.stream, cp.cuda.using_allocator(lane.pool.malloc):
            self.inputs = cp.zeros(size, np.uint8)
            ids, positions, entries = _parts(self.inputs, S)
            still = copy.copy(ops)
            still.table = lambda asking, starts: Table(entries, entries)  # type: ignore[assignment]
            still.fetch = refuse  # type: ignore[method-assign]
            batch = like._replace(ids=ids, positions=positions)
            encode(batch, still)  # kernels are compiled, products planned: nothing of that may happen while capturing
            self.graph, self.x = captured(lane.stream, lambda: encode(batch, still))  # x (S, D)
            lane.last.record(lane.stream)

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the process there is nobody to ask
            self.copied.synchronize()  # or `pinned` would be somebody else's while it is read

    def replay(self, ids: Array, positions: Array, entries: NDArray[np.int32]) -> Array:
        """(N,), (N,), (blocks, 4) on the host -> (N, D) and its rounded copy, on the current stream."""
        N, stream = len(ids), cp.cuda.get_current_stream()
        self.copied.synchronize()  # the last replay has read what is overwritten now
        self.pinned[:] = 0
        self.ids[:N], self.positions[:N], self.entries[: len(entries)] = ids, positions, entries
        out, _ = self.with_copy((N, self.x.shape[1]))
        stream.wait_event(self.lane.last)
        self.inputs.data.copy_from_host_async(self.pinned.ctypes.data, self.pinned.nbytes, stream)
        self.copied.record(stream)
        self.graph.launch(stream)
        for to, of in ((out, self.x), (out.rounded, self.x.rounded)):
            if to is not None:
                to.data.copy_from_device_async(of.data, to.nbytes, stream)
        self.lane.last.record(stream)
        return out


def _parts(inputs: Any, S: int) -> tuple[Any, Any, Any]:
    """One piece of bytes as ids (S,), positions (S,) and the table (E, 4)."""
    ids, positions, entries = inputs[: 8 * S], inputs[8 * S : 16 * S], inputs[16 * S :]
    return ids.view(np.int64), positions.view(np.int64), entries.view(np.int32).reshape(-1, 4)
