"""Results in memory that was used before.

A forward pass makes a dozen large arrays a layer, each dead a moment later. Fresh memory from the system is not free:
the kernel clears it page by page on first touch, half a microsecond for 4 KB, which for a batch of 4096 tokens is 10 ms
an array. So arrays come from a few buffers that are handed out again once nobody holds them.

Who holds a buffer, Python knows: every array made of it, and every view of such an array, counts as a reference to it.
A tap, an output or a caller that keeps an array keeps its buffer out of circulation; nothing is ever overwritten that
someone can still see. Buffers belong to one Python thread, and together never exceed KEPT bytes.

They begin at a multiple of LINE bytes, which NumPy's own do not: a vector of 64 bytes that begins elsewhere lies in two
lines of the cache, and every load of it is two. A product of 128 rows gained up to 9 % by that alone, and another 4 %
when what its kernel works in began so too.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .jit import helper

KEPT = 256 << 20  # bytes a thread may keep in buffers: enough for 8192 tokens of the official model
SMALL = 64 << 10  # below this the allocator is as fast


LINE = 64  # bytes of a cache line


def first_level() -> int:
    """Bytes of a core's first-level cache for data: what Linux says of this machine, else 32 KB, the least of today.

    >>> first_level() >= 8 << 10
    True
    """
    for cache in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with suppress(OSError, ValueError):
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
            if level == "1" and kind != "Instruction":
                return max(8 << 10, int(size.removesuffix("K")) << 10)
    return 32 << 10


class _Buffer(NamedTuple):
    memory: NDArray[np.uint8]
    start: int  # where in `memory` the first line begins


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.free: list[_Buffer] = []
        self.small, self.most = SMALL, float(KEPT)


_buffers = _Buffers()


def _holders(buffers: list[_Buffer], i: int) -> int:
    return sys.getrefcount(buffers[i].memory)


def _buffer(size: int) -> _Buffer:
    memory = np.empty(size + LINE, np.uint8)
    return _Buffer(memory, -memory.ctypes.data % LINE)


_NOBODY = _holders([_buffer(1)], 0)  # what an unused buffer counts, on this version of Python


def _array(buffer: _Buffer, shape: tuple[int, ...], dtype: DTypeLike, size: int) -> NDArray[Any]:
    return buffer.memory[buffer.start : buffer.start + size].view(dtype).reshape(shape)


def aligned(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An uninitialised array of this shape in memory of its own, at the beginning of a cache line.

    >>> aligned(3, 5).ctypes.data % LINE
    0
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return _array(_buffer(size), shape, dtype, size)


@helper()
def room(size: int) -> Any:
    """(size,) float32 for a kernel to work in, at the beginning of a cache line: what it asks for begins anywhere.

    >>> room(5).shape, room(5).ctypes.data % LINE
    ((5,), 0)
    """
    found = np.empty(size + LINE // 4, np.float32)
    first = -found.ctypes.data % LINE // 4
    return found[first : first + size]


def empty(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """The same in memory that was used before, if it is large enough to be worth it.

    >>> a = empty(300, 100)
    >>> a.shape, a.flags["C_CONTIGUOUS"]
    ((300, 100), True)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize  # bytes
    if size < _buffers.small:
        return np.empty(shape, dtype)
    if size > KEPT // 2:
        return aligned(*shape, dtype=dtype)
    # Ours alone meanwhile: a signal handler, or what Python clears away, may run a model between any two lines.
    buffers, _buffers.free = _buffers.free, []
    best = -1
    for i in range(len(buffers)):
        if size <= buffers[i].memory.size - LINE <= 2 * size and _holders(buffers, i) == _NOBODY:
            best = i if best < 0 or buffers[i].memory.size < buffers[best].memory.size else best
    if best < 0:
        buffers.append(_buffer(size))
        best = len(buffers) - 1
        total = sum(b.memory.size for b in buffers)
        while total > _buffers.most and best > 0:  # forget the oldest; whoever holds it keeps it
            total -= buffers.pop(0).memory.size
            best -= 1
    made = _array(buffers[best], shape, dtype, size)
    _buffers.free = buffers
    return made


@contextmanager
def apart() -> Iterator[list[_Buffer]]:
    """Within, arrays come from the buffers that this gives, small ones too, and none is forgotten."""
    before = vars(_buffers).copy()
    made: list[_Buffer] = []
    _buffers.free, _buffers.small, _buffers.most = made, 0, math.inf
    try:
        yield made
    finally:
        vars(_buffers).update(before)
