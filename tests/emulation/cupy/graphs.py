"""Streams that capture what is launched on them, and the graphs that come of it.

While a stream captures, a launch on it is checked and written down, with the addresses and numbers it was given, and
nothing runs; a graph runs them in order, as often as it is asked. It keeps no array alive, as CUDA's does not: a launch
whose array is gone by then is a fault. Recorded are launches of kernels and cuBLASLt's products. CUDA could record some
more, such as copies on the device; this project has no use for that, so here all else is refused, and so is what CUDA
refuses, above all to wait.
"""

import threading
import weakref
from itertools import count
from time import perf_counter

from .emulation import EmulationError

numbers = count(1)
current = threading.local()  # .streams: those this thread has entered
captures = []  # functions that want to know of a stream that begins to capture, its ptr, or, 0, ends


class Graph:
    """Launches in order. One that is replayed while it is recorded, or on a stream that captures, is refused."""

    def __init__(self):
        self.launches = []

    def launch(self, stream=None):
        no_capture("a graph", stream)
        for run in self.launches:
            run()

    def upload(self, stream=None):
        pass


class Stream:
    null: "Stream"

    def __init__(self, null=False, non_blocking=False):
        self.null_stream, self.is_non_blocking = null, non_blocking
        self.ptr = 0 if null else 4096 * next(numbers)
        self.capturing = None

    def __enter__(self):
        streams().append(self)
        return self

    def __exit__(self, *error):
        streams().pop()

    def use(self):
        streams()[-1] = self
        return self

    def synchronize(self):
        no_capture("waiting", self)

    def record(self, event=None):
        return event or Event()

    def wait_event(self, event):
        pass

    def begin_capture(self, mode=None):
        if self.null_stream or not self.is_non_blocking or self.is_capturing():
            raise EmulationError("only a non-blocking stream captures, and one graph at a time")
        self.capturing = Graph()
        for tell in captures:
            tell(self.ptr)

    def end_capture(self):
        if not self.is_capturing():
            raise EmulationError("nothing was being captured")
        graph, self.capturing = self.capturing, None
        for tell in captures:
            tell(0)
        return graph

    def is_capturing(self):
        return self.capturing is not None


class Event:
    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        self.seconds = perf_counter()

    def synchronize(self):
        pass


Stream.null = Stream(null=True)


def streams():
    if not hasattr(current, "streams"):
        current.streams = [Stream.null]
    return current.streams


def launched(name, arrays, run, stream=None):
    """Run a launch, or write it down where the stream captures. arrays: (Pages, name) it reads or writes."""
    watched = [(weakref.ref(pages), of) for pages, of in arrays]

    def checked():
        for pages, of in watched:
            if pages() is None:
                raise EmulationError(f"{name} is launched by a graph, and `{of}` was freed")
        run()
        for pages, of in watched:
            if not pages().unharmed():
                raise EmulationError(f"{name} wrote outside of `{of}`, or of a neighbour of it")

    capturing = (stream or streams()[-1]).capturing
    if capturing is None:
        checked()
    else:
        capturing.launches.append(checked)


def no_capture(what, stream=None):
    if (stream or streams()[-1]).capturing is not None:
        raise EmulationError(f"{what} while the stream captures")
