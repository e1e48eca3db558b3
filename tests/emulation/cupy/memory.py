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
    somebody makes gives out again what was freed, as CuPy's do, and like CuPy's gives up all that is idle when there is
    no more to be had. allocator: where it has its memory from, otherwise from the first.
    """

    def __init__(self, allocator=None):
        self.allocator = allocator
        self.used, self.limit = 0, 0  # bytes; a limit of 0 is none
        self.idle = []  # Blocks of the pool below

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.used + sum(block.pages.rounded for block in self.idle)

    def set_limit(self, size=None, fraction=None):
        if size is None:
            raise TypeError("the stand-in knows set_limit(size=) only")
        self.limit = size

    def get_limit(self):
        return self.limit

    def free_all_blocks(self, stream=None):
        self.idle = []

    def malloc(self, size):
        return MemoryPointer(Block(size, self))

    def take(self, size):
        """Pages, or a Block of the pool below that has them."""
        if self is pool:
            rounded = -(-size // ALIGNMENT) * ALIGNMENT
            if self.limit and self.used + rounded > self.limit:
                raise OutOfMemoryError(
                    f"Out of memory allocating {rounded:,} bytes (allocated so far: {self.used:,} bytes)"
                )
            return Pages(size, rounded)
        for block in self.idle:
            if block.pages.size == size:
                for leave in before_reuse:
                    leave()
                self.idle.remove(block)
                return block
        allocate = self.allocator or pool.malloc
        try:
            return allocate(size).block
        except OutOfMemoryError:
            self.free_all_blocks()
            return allocate(size).block


class MemoryPointer:
    """What an allocator gives; here only pools ask what it is."""

    def __init__(self, block):
        self.block = block


pool = MemoryPool()
allocating = threading.local()  # .pool: which one this thread's arrays come from, where it is not `pool`
before_reuse = []  # functions to call before memory that somebody had is somebody else's


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

    def __init__(self, size, of=None):
        self.pool = of or getattr(allocating, "pool", None) or pool
        self.below = self.pool.take(size)
        self.pages = self.below if isinstance(self.below, Pages) else self.below.pages
        self.pages.inner[:] = POISON
        self.pool.used += self.pages.rounded

    def __del__(self):
        if hasattr(self, "pages"):
            self.pool.used -= self.pages.rounded
            if self.pool is not pool:
                self.pool.idle.append(self.below)
