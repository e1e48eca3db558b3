"""Results in memory that was used before.

A forward pass makes a dozen large arrays a layer, each dead a moment later. Fresh memory from the system is not free:
the kernel clears it page by page on first touch, half a microsecond for 4 KB, which for a batch of 4096 tokens is 10 ms
an array. So arrays come from a few buffers that are handed out again once nobody holds them.

Who holds a buffer, Python knows: every array made of it, and every view of such an array, counts as a reference to it.
A tap, an output or a caller that keeps an array keeps its buffer out of circulation; nothing is ever overwritten that
someone can still see. Buffers belong to one Python thread, and together never exceed KEPT bytes.
"""

from __future__ import annotations

import math
import sys
import threading

import numpy as np
from numpy.typing import NDArray

KEPT = 256 << 20  # bytes a thread may keep in buffers: enough for 8192 tokens of the official model
SMALL = 64 << 10  # below this the allocator is as fast


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.free: list[NDArray[np.float32]] = []


_buffers = _Buffers()


def _holders(buffers: list[NDArray[np.float32]], i: int) -> int:
    return sys.getrefcount(buffers[i])


_NOBODY = _holders([np.empty(1, np.float32)], 0)  # what an unused buffer counts, on this version of Python


def empty(*shape: int) -> NDArray[np.float32]:
    """An uninitialised float32 array of this shape.

    >>> a = empty(300, 100)
    >>> a.shape, a.flags["C_CONTIGUOUS"]
    ((300, 100), True)
    """
    size = math.prod(shape)
    if size * 4 < SMALL or size * 4 > KEPT // 2:
        return np.empty(shape, np.float32)
    buffers = _buffers.free
    best = -1
    for i in range(len(buffers)):
        if size <= buffers[i].size <= 2 * size and _holders(buffers, i) == _NOBODY:
            best = i if best < 0 or buffers[i].size < buffers[best].size else best
    if best < 0:
        buffers.append(np.empty(size, np.float32))
        best = len(buffers) - 1
        while sum(b.size for b in buffers) * 4 > KEPT and best > 0:  # forget the oldest; whoever holds it keeps it
            buffers.pop(0)
            best -= 1
    return buffers[best][:size].reshape(shape)
