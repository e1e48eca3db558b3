"""cupy.cuda: one device, streams and events that have nothing to wait for."""

import importlib
from time import perf_counter

from ..memory import MemoryPool
from . import memory, runtime

__all__ = [
    "Device",
    "Event",
    "MemoryPool",
    "Stream",
    "get_current_stream",
    "get_elapsed_time",
    "memory",
    "runtime",
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
        pass

    @property
    def mem_info(self):
        return runtime.memGetInfo()


class Stream:
    null: "Stream"
    ptr = 0

    def __init__(self, null=False, non_blocking=False):
        self.null_stream, self.is_non_blocking = null, non_blocking

    def __enter__(self):
        streams.append(self)
        return self

    def __exit__(self, *error):
        streams.pop()

    def use(self):
        streams[-1] = self
        return self

    def synchronize(self):
        pass

    def record(self, event=None):
        return event or Event()

    def wait_event(self, event):
        pass


Stream.null = Stream(null=True)
streams = [Stream.null]


def get_current_stream(device_id=-1):
    return streams[-1]


class Event:
    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        self.seconds = perf_counter()

    def synchronize(self):
        pass


def get_elapsed_time(start_event, end_event):
    """Milliseconds between two events: of the emulator, so they say nothing about a GPU."""
    return 1e3 * (end_event.seconds - start_event.seconds)
