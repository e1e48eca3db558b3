"""Device memory: pages with a forbidden one on each side, so that whoever leaves an array is caught at it.

An array begins on a multiple of 512 bytes, as CuPy's do. The rest of the last page is too small to forbid, so it is
filled with a pattern: reading it gives NaN, writing it shows when the array is checked, after every launch. A fresh
array holds the same NaN.
"""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
ALIGNMENT = 512
POISON = 0xFF  # 0xffff... is NaN in float16, bfloat16, float32 and float64, and -1 in integers

libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def forbid(address, size):
    """Whoever touches these pages from now on is killed, or caught in the emulator."""
    if libc.mprotect(address, size, 0):
        raise OSError(ctypes.get_errno(), "mprotect")


class OutOfMemoryError(MemoryError):
    """More than the pool's limit."""


class MemoryPool:
    """Counts what is in use, so that a limit can be set and a full device be played."""

    def __init__(self):
        self.used, self.limit = 0, 0  # bytes; a limit of 0 is none

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.used

    def set_limit(self, size=None, fraction=None):
        if size is None:
            raise TypeError("the stand-in knows set_limit(size=) only")
        self.limit = size

    def get_limit(self):
        return self.limit

    def free_all_blocks(self, stream=None):
        """Nothing is kept."""


pool = MemoryPool()


class Block:
    """`size` bytes of device memory between guards."""

    def __init__(self, size):
        self.size = size
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        if pool.limit and pool.used + rounded > pool.limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {rounded:,} bytes (allocated so far: {pool.used:,} bytes)"
            )
        self.rounded = rounded
        pool.used += rounded
        inner = -(-rounded // PAGE) * PAGE
        self.pages = mmap.mmap(-1, inner + 2 * PAGE)
        whole = np.frombuffer(self.pages, np.uint8)
        whole[PAGE : PAGE + inner] = POISON
        start = PAGE + inner - rounded  # its end, but for the rounding, is the forbidden page
        self.bytes = whole[start : start + size]
        self.before, self.after = whole[PAGE:start], whole[start + size : PAGE + inner]
        self.address = whole.ctypes.data + start
        self.extent = whole.ctypes.data, whole.ctypes.data + inner + 2 * PAGE
        for page in (whole.ctypes.data, whole.ctypes.data + PAGE + inner):
            forbid(page, PAGE)

    def __del__(self):
        pool.used -= getattr(self, "rounded", 0)

    def unharmed(self):
        return bool((self.before == POISON).all() and (self.after == POISON).all())
