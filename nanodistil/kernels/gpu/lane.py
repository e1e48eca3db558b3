"""Where launches are recorded and replayed, one recording after the other: what all of a GPU's have in common.

A recording is made on a stream of its own, for the default one cannot capture. It is replayed on the caller's; an event
makes each wait for the one before it, wherever that ran. What is made on the way is allocated while recording, so at
the same address in every replay, and must not be given to anybody else, ever: it comes from a pool that only recordings
use, and that never gives anything back. Replays run one after another, so recordings may lie over each other, but for
what they read and give.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cuda_source import cupy as cp

DISTURBED = 900, 901  # cudaErrorStreamCaptureUnsupported and ...Invalidated: somebody waited for the device


class AskedForTheHost(Exception):
    """The pass wants numbers on the host before it can go on."""


def refuse(x: Any) -> NDArray[Any]:
    """In the place of `fetch` while something is recorded."""
    raise AskedForTheHost


def pinned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array of the host that the GPU reads and writes without its help, its numbers any.

    Its memory is a power of two of bytes: CuPy keeps what is given back for others of that very size.
    """
    n = math.prod(shape)
    memory = cp.cuda.alloc_pinned_memory(1 << (n * np.dtype(dtype).itemsize - 1).bit_length())
    return np.frombuffer(memory, dtype, n).reshape(shape)


class Lane:
    """Of one GPU."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # one recording runs at a time
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.kept: list[Any] = []
        self.pool = cp.cuda.MemoryPool(self.keep)
        self.last = cp.cuda.Event(disable_timing=True)  # after what was last asked of the shared memory

    def keep(self, size: int) -> Any:
        """More memory for the pool, for good: a pool that is short gives back what lies idle, and what lies idle here
        is written by the next replay. The pool below, whose idle memory is nobody's, may give that up instead."""
        self.kept.append(cp.get_default_memory_pool().malloc(size))
        return self.kept[-1]


_lanes: dict[int, Lane] = {}
_making = threading.Lock()


def lane_of(device: int) -> Lane:
    """Of the GPU in use, `device`."""
    with _making:
        if device not in _lanes:
            _lanes[device] = Lane()
        return _lanes[device]


def captured(stream: Any, run: Callable[[], Any]) -> tuple[Any, Any]:
    """The graph of what `run` launches on a stream, and what it gives."""
    stream.begin_capture()
    try:
        found = run()
    except BaseException:
        with suppress(Exception):  # the error above is the one to be seen
            stream.end_capture()
        raise
    return stream.end_capture(), found


def attempted(make: Callable[[], Any]) -> tuple[Any, bool]:
    """A recording, or None where it cannot be made; and whether there may ever be one."""
    callers = cp.cuda.get_current_stream()
    try:
        return make(), True
    except AskedForTheHost:
        return None, False
    except MemoryError:
        return None, True
    except cp.cuda.runtime.CUDARuntimeError as error:
        if error.status not in DISTURBED:
            raise
        return None, True
    finally:
        if cp.cuda.get_current_stream() != callers:
            callers.use()  # `with` forgets a stream that was chosen so
