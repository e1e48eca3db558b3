"""Calls of kernels, written down and asked for again in one.

A forward pass of six layers is forty calls of kernels, and Python takes 10 to 20 us for each: to allocate, to lay out
the arguments, to wake the threads. For a long text that is nothing. But all that a short one asks is to read the
weights, 5 ms in int8, and another one of Python's is a fifth of it. A pass over another batch of the same size differs
in its inputs alone. So the calls are written down once, with every address and number they were given, and from then on
machine code goes through the list; the inputs are written into the arrays that the first call reads.

    recording = Recording(lambda: encode(ids, positions))     ids and positions: arrays that stay
    ids[...], positions[...] = others
    recording.again()                                         recording.result holds the new result

What is written down does not change, so it must hold all there is: what NumPy does between two kernels is not in it.
`Recording` cannot see that, and whoever makes one has to prove it: record with other inputs, replay with these, compare
with what is computed without.

Arrays that a pass allocates come from buffers that belong to the recording (memory.py), which stay as they are; inside
it they are used again, as in the pass.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import memory, pool
from .atomics import call, exchange, load
from .jit import address_of, helper
from .native import Entry, Rows, c_function, callable_at
from .undisturbed import undisturbed


class Recording:
    """What `compute` asks of kernels. Raises what it raises.

    >>> from nanodistil.backend import load
    >>> ops, x, y = load("numba"), np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)
    >>> recording = Recording(lambda: ops.add(ops.add(x, y), y))
    >>> x[...] = 7
    >>> recording.again()
    >>> recording.result
    array([[11., 11., 11., 11.]], dtype=float32)
    """

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.jobs: list[array[int]] = []
        self.words: list[array[int]] = []
        self.held: list[Any] = []  # arrays that are not in the buffers
        self.threads = pool.threads()
        with memory.apart() as self.buffers:
            pool.listening().append(self._note)
            try:
                self.result = compute()
            finally:
                pool.listening().remove(self._note)
        self.script = array("q", [job.buffer_info()[0] for job in self.jobs])

    def _note(self, compiled: Entry, items: int, share: int, words: array[int], parts: int, arguments: Any) -> None:
        """One call, as pool.run makes it."""
        begin = compiled.address, words.buffer_info()[0], items, share, parts - 1
        self.jobs.append(array("q", [*begin, *[0] * (pool.BOXES + parts - 1 - len(begin))]))
        self.words.append(words)
        self._hold(arguments)

    def _hold(self, arguments: Any) -> None:
        ours = {id(buffer.memory) for buffer in self.buffers}
        for value in arguments:
            if isinstance(value, tuple):
                self._hold((value.matrix,) if isinstance(value, Rows) else value)
            elif isinstance(value, np.ndarray) and id(value if value.base is None else value.base) not in ours:
                self.held.append(value)

    def bytes(self) -> int:
        """What it holds in buffers of its own."""
        return sum(buffer.memory.size for buffer in self.buffers)

    def again(self) -> None:
        """Compute it once more, with what the inputs hold now."""
        pool.workers_for(self.threads)
        if _again()(pool.address(), self.script.buffer_info()[0], len(self.script)):
            raise MemoryError("a kernel found no memory to work in")


@helper()
def perform_all(workers: int, script: int, count: int) -> int:
    """Do `count` jobs, one after the other; script: their addresses. How many shares failed."""
    failed = 0
    for i in range(count):
        job: int = load(script, i)
        exchange(job, pool.TAKEN, 0)
        exchange(job, pool.FAILED, 0)
        if load(job, pool.OTHERS):
            failed += pool.perform(workers, job, load(job, pool.OTHERS))
        elif call(load(job, pool.ADDRESS), 0, load(job, pool.ITEMS), load(job, pool.WORDS)) != 1:
            failed += 1
    return failed


@cache
def _again() -> Callable[..., int]:
    return undisturbed(_made)


def _made() -> Callable[..., int]:
    function = perform_all.py_func
    return callable_at(address_of(function, "", partial(c_function, function, 3)), 3)
