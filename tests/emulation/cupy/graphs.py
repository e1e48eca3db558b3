"""Streams, events, and graphs of launches.

The default stream does at once what it is asked. Any other does as little as it may: its work stands in a queue until
somebody waits for it (an event, the stream, a copy to the host), as a GPU may be late. So what reads before it was told
to wait finds poison or yesterday's numbers. A GPU may also be early, and here sometimes is: an operation that is no
launch (arithmetic of arrays, copies to the host) finishes its own stream first, and memory that a pool gives out again
is left by everybody before.

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

from . import memory
from .emulation import EmulationError

numbers = count(1)
one_at_a_time = threading.RLock()  # around queues, and what stands in them: a thread may do another's work
everybody = weakref.WeakSet()  # all streams that are not the default one
captures = []  # functions that want to know of a stream that begins to capture, its ptr, or, 0, ends


class Entered(threading.local):
    """The streams that this thread is within, and the current one, which `use` changes behind their backs."""

    def __init__(self):
        self.stack, self.current = [Stream.null], Stream.null


class Graph:
    """Launches in order. One that is replayed while it is recorded, or on a stream that captures, is refused."""

    def __init__(self):
        self.launches = []

    def launch(self, stream=None):
        no_capture("a graph", stream)
        (stream or entered.current).submit(lambda: [run() for run in self.launches])

    def upload(self, stream=None):
        no_capture("a graph", stream)


class Stream:
    null: "Stream"

    def __init__(self, null=False, non_blocking=False):
        self.null_stream, self.is_non_blocking = null, non_blocking
        self.ptr = 0 if null else 4096 * next(numbers)
        self.capturing, self.queue, self.done = None, [], 0
        if not null:
            everybody.add(self)

    def __enter__(self):
        entered.stack.append(self)
        return self.use()

    def __exit__(self, *error):
        entered.stack.pop()
        entered.current = entered.stack[-1]  # not what `use` may have made of it: so it is in CuPy 14

    def use(self):
        entered.current = self
        return self

    def submit(self, run):
        if self.null_stream:
            run()
            return
        with one_at_a_time:
            self.queue.append(run)

    def finish(self, until=None):
        """Do what was asked for, or its first `until` things since the beginning."""
        with one_at_a_time:
            while self.queue and (until is None or self.done < until):
                run = self.queue.pop(0)
                self.done += 1
                run()

    def synchronize(self):
        no_capture("waiting", self)
        self.finish()

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        no_capture("waiting", self)
        if event.after:
            stream, until = event.after
            self.submit(lambda: stream.finish(until))

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


Stream.null = Stream(null=True)
entered = Entered()


class Event:
    done = True

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.after = None  # a stream, and how much of its work

    def record(self, stream=None):
        no_capture("an event", stream)
        stream = stream or entered.current
        with one_at_a_time:
            self.after = stream, stream.done + len(stream.queue)
        self.seconds = perf_counter()

    def synchronize(self):
        no_capture("waiting")
        if self.after:
            stream, until = self.after
            stream.finish(until)


def finish_all():
    for stream in list(everybody):
        stream.finish()


memory.before_reuse.append(finish_all)


def launched(name, arrays, run):
    """A launch on the current stream, or, where that captures, written down. arrays: (Pages, name) it is given."""
    stream = entered.current
    if not stream.is_capturing():
        stream.submit(lambda: checked(arrays, run, name))
        return
    watched = [(weakref.ref(pages), of) for pages, of in arrays]

    def again():
        there = [(pages(), of) for pages, of in watched]
        for pages, of in there:
            if pages is None:
                raise EmulationError(f"{name} is launched by a graph, and `{of}` was freed")
        checked(there, run, name)

    stream.capturing.launches.append(again)


def checked(arrays, run, name):
    run()
    for pages, of in arrays:
        if not pages.unharmed():
            raise EmulationError(f"{name} wrote outside of `{of}`, or of a neighbour of it")


def no_capture(what, stream=None):
    if (stream or entered.current).is_capturing():
        raise EmulationError(f"{what} while the stream captures")


def at_once(what):
    """Before an operation that is not queued: all that its stream was asked before it is done."""
    no_capture(what)
    entered.current.finish()
