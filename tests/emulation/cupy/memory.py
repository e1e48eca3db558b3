"""Device memory: pages with a forbidden one on each side, so that whoever leaves an array is caught at it.

An array begins on a multiple of 512 bytes, as CuPy's do. The rest of the last page is too small to forbid, so it is
filled with a pattern: reading it gives NaN, writing it shows when the array is checked, after every launch. A fresh
array holds the same NaN.
"""

import ctypes
import mmap
import threading

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
    """Counts what is in use, so that a limit can be set and a full device be played.

    The one everybody allocates from keeps nothing that is freed, so that whoever still uses it is killed. One that
    somebody makes keeps all it ever had, and gives out again what was freed, as CuPy's do: a graph of launches relies
    on the former and must bear the latter.
    """

    def __init__(self):
        self.used, self.limit = 0, 0  # bytes; a limit of 0 is none
        self.all, self.idle = [], []  # Pages

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.used if self is pool else sum(pages.rounded for pages in self.all)

    def set_limit(self, size=None, fraction=None):
        if size is None:
            raise TypeError("the stand-in knows set_limit(size=) only")
        self.limit = size

    def get_limit(self):
        return self.limit

    def free_all_blocks(self, stream=None):
        self.all = [pages for pages in self.all if pages not in self.idle]
        self.idle = []

    def malloc(self, size):
        """For using_allocator, which looks whose it is; here nobody calls it."""
        raise TypeError("the stand-in's arrays find their memory themselves")

    def take(self, size):
        rounded = -(-size // ALIGNMENT) * ALIGNMENT
        if pool.limit and pool.used + rounded > pool.limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {rounded:,} bytes (allocated so far: {pool.used:,} bytes)"
            )
        for pages in self.idle:
            if pages.size == size:
                self.idle.remove(pages)
                break
        else:
            pages = Pages(size, rounded)
            if self is not pool:
                self.all.append(pages)
        self.used += rounded
        pages.inner[:] = POISON
        return pages

    def give(self, pages):
        self.used -= pages.rounded
        if self is not pool:
            self.idle.append(pages)


pool = MemoryPool()
allocating = threading.local()  # .pool: which one this thread's arrays come from, where it is not `pool`


class Pages:
    """`size` bytes of device memory between guards."""

    def __init__(self, size, rounded):
        self.size, self.rounded = size, rounded
        inner = -(-rounded // PAGE) * PAGE
        pages = mmap.mmap(-1, inner + 2 * PAGE)
        whole = np.frombuffer(pages, np.uint8)
        start = PAGE + inner - rounded  # its end, but for the rounding, is the forbidden page
        self.inner = whole[PAGE : PAGE + inner]
        self.bytes = whole[start : start + size]
        self.before, self.after = whole[PAGE:start], whole[start + size : PAGE + inner]
        self.extent = whole.ctypes.data, whole.ctypes.data + inner + 2 * PAGE
        for page in (whole.ctypes.data, whole.ctypes.data + PAGE + inner):
            forbid(page, PAGE)

    def unharmed(self):
        return bool((self.before == POISON).all() and (self.after == POISON).all())


class Block:
    """Pages as long as an array, or a view of it, wants them."""

    def __init__(self, size):
        self.pool = getattr(allocating, "pool", None) or pool
        self.pages = self.pool.take(size)

    def __del__(self):
        if hasattr(self, "pages"):
            self.pool.give(self.pages)
