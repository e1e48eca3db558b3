"""cupy.cuda: one device."""

import importlib
from contextlib import contextmanager

from ..graphs import Event, Graph, Stream, entered, finish_all, no_capture
from ..memory import MemoryPool, allocating
from . import memory, runtime

__all__ = [
    "Device",
    "Event",
    "Graph",
    "MemoryPool",
    "Stream",
    "alloc_pinned_memory",
    "get_current_stream",
    "get_elapsed_time",
    "memory",
    "runtime",
    "using_allocator",
]


def __getattr__(name):
    """They load libraries, so CuPy too imports them when somebody looks."""
    if name in ("cublas", "nccl"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(name)


class Device:
    compute_capability = "90"

    def __init__(self, device=None):
        if device not in (None, 0):
            raise runtime.CUDARuntimeError(101, f"cudaErrorInvalidDevice: invalid device ordinal {device}")
        self.id = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __int__(self):
        return self.id

    def use(self):
        return self

    def synchronize(self):
        no_capture("waiting")
        finish_all()

    @property
    def mem_info(self):
        return runtime.memGetInfo()


def get_current_stream(device_id=-1):
    return entered.current


@contextmanager
def using_allocator(allocator=None):
    """Arrays of this thread come from another pool: that of allocator, its `malloc`."""
    before, allocating.pool = getattr(allocating, "pool", None), allocator.__self__
    try:
        yield
    finally:
        allocating.pool = before


class PinnedMemory(bytearray):
    """Memory of the host that the device can read by itself."""


def alloc_pinned_memory(size):
    return PinnedMemory(-(-size // 512) * 512)


def get_elapsed_time(start_event, end_event):
    """Milliseconds between two events: of the emulator, so they say nothing about a GPU."""
    return 1e3 * (end_event.seconds - start_event.seconds)
