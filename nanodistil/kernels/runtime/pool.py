"""Threads: one pool for all kernels of the process.

`run(kernel, items, ...)` divides the range of `items` into shares and calls kernel(start, stop, ...) on each, here and
on the threads of the pool at once. An item is always computed whole, by one thread, by the same code, so neither the
number of threads nor who takes which share can change a bit of the result.

1. Shares are taken, not given: whoever is free takes the next from a counter. Halves fixed beforehand end when the
   slower thread ends, and on a shared machine there is always a slower one.
2. Between two ops of a forward pass lie some 20 us, less than it takes to wake a thread. So a worker that has finished
   keeps looking for the next job for about 0.1 ms and only then goes to sleep. While the cores are free, an op on
   two threads costs 2 to 3 us more than on one; through a ThreadPoolExecutor it was 64 us more.
3. Callers do not wait for one another: each takes the workers that are free at the moment and does the rest itself.
   Who has several batches computes two beside each other, on half the threads each (`divided`): a thread that is put
   aside with a share in its hands then holds up half of them and not all.
4. A signal handler may raise between any two instructions of Python, in a `finally` too, and whatever was half done
   stays so. So there are none: a job is one call of machine code, which takes workers, wakes them, works, waits and
   frees them (`perform`); and a worker lives in one call, to the end of the process (`serve`).

Why not Numba's `prange`: its layers abort or hang when two Python threads enter at once, or after a fork.

What both sides share lies in rows of 64-bit words: the pool's own, a worker's box, a job (atomics.py).
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from .atomics import add, call, exchange, load, pause
from .granted import OURS, thread_limits
from .jit import address_of, helper
from .native import Entry, as_python, c_function, callable_at, entry, words_of
from .target import INTERPRETED
from .undisturbed import undisturbed

SHARES = 8  # a thread takes about so many in an op: fewer wait for the slowest, more cost 0.1 us each
LOOKS = 3000  # so often one looks for a new job, or for the end of one, before one makes room: 0.1 ms or so
MOST = 1024  # workers

# A job: what to call, how much of it, how much is taken, how often it failed, the boxes of the workers that are on it.
# Of one that is written down (recording.py) also how many workers it wants. A line of the cache apart: what changes.
ADDRESS, WORDS, ITEMS, SHARE, OTHERS, TAKEN, FAILED, BOXES = 0, 1, 2, 3, 4, 8, 9, 16
# A worker's box: whether it has a worker, and a free one; jobs posted, the address of the last; whether the worker
# sleeps, and the lock that it sleeps on; jobs done.
HIRED, FREE, POSTED, JOB, SLEEPS, LOCK, DONE, BOX_SIZE = 0, 1, 2, 3, 4, 5, 8, 16
# The pool: how many boxes count, and the addresses of what it needs of the system. The boxes follow.
WANTED, NEW_LOCK, ACQUIRE, RELEASE, YIELD, POOL_SIZE = 0, 1, 2, 3, 4, 16


@helper()
def take_shares(job: int) -> int:
    """Take shares of a job until none is left. Always 0."""
    share: int = load(job, SHARE)
    items: int = load(job, ITEMS)
    start = add(job, TAKEN, share)
    while start < items:
        if call(load(job, ADDRESS), start, min(start + share, items), load(job, WORDS)) != 1:
            add(job, FAILED, 1)
        start = add(job, TAKEN, share)
    return 0


@helper()
def box_of(pool: int, i: int) -> int:
    """The address of box i."""
    return pool + 8 * (POOL_SIZE + i * BOX_SIZE)


@helper()
def perform(pool: int, job: int, wanted: int) -> int:
    """Do a job, together with at most `wanted` workers that are free. How many shares failed."""
    count, i = 0, 0
    while count < wanted and i < load(pool, WANTED):
        box = box_of(pool, i)
        i += 1
        if load(box, FREE) == 1 and exchange(box, FREE, 0) == 1:
            exchange(job, BOXES + count, box)
            count += 1
            exchange(box, JOB, job)
            add(box, POSTED, 1)
            if exchange(box, SLEEPS, 0) == 1:
                call(load(pool, RELEASE), load(box, LOCK), 0, 0)
    take_shares(job)
    for n in range(count):
        box = load(job, BOXES + n)
        looked = 0
        while load(box, DONE) != load(box, POSTED):
            pause()
            looked += 1
            if looked == LOOKS:  # it may be waiting for this very core
                call(load(pool, YIELD), 0, 0, 0)
                looked = 0
        exchange(box, FREE, 1)
    return load(job, FAILED)


@helper()
def serve(pool: int) -> int:
    """A worker: take a box without one, and do what is posted there for ever. Comes back if no box needs one."""
    box, i = 0, 0
    while box == 0 and i < load(pool, WANTED):
        if exchange(box_of(pool, i), HIRED, 1) == 0:
            box = box_of(pool, i)
        i += 1
    lock: int = call(load(pool, NEW_LOCK), 0, 0, 0) if box else 0
    if lock == 0:
        if box:
            exchange(box, HIRED, 0)
        return 0
    call(load(pool, ACQUIRE), lock, 1, 0)  # from now on, to acquire it is to sleep until someone releases it
    exchange(box, LOCK, lock)
    exchange(box, FREE, 1)
    done, looked = 0, 0
    while load(pool, WANTED):  # always, but Numba takes no loop without an end
        if load(box, POSTED) != done:
            take_shares(load(box, JOB))
            done += 1
            exchange(box, DONE, done)
            looked = 0
        elif looked < LOOKS:
            pause()
            looked += 1
        else:
            exchange(box, SLEEPS, 1)
            # Posted meanwhile? Then whoever posted has seen SLEEPS and wakes us, or we are the first to take it back.
            if load(box, POSTED) == done or exchange(box, SLEEPS, 0) == 0:
                call(load(pool, ACQUIRE), lock, 1, 0)
            looked = 0
    return 0


@cache
def _functions() -> list[tuple[int, Callable[..., int]]]:
    """`perform` and `serve`, compiled: the address of each, and its callable. Once a process, a forked one included."""
    return undisturbed(_made)


def _made() -> list[tuple[int, Callable[..., int]]]:
    made = []
    for function, count in (perform.py_func, 3), (serve.py_func, 1):
        address = address_of(function, "", partial(c_function, function, count))
        made.append((address, callable_at(address, count)))
    return made


def _system() -> list[int]:
    """The addresses of the functions that the pool needs. Python's locks do not need Python's own big one."""
    python = ctypes.pythonapi
    give_way = ctypes.WinDLL("kernel32").SwitchToThread if os.name == "nt" else ctypes.CDLL(None).sched_yield
    functions = python.PyThread_allocate_lock, python.PyThread_acquire_lock, python.PyThread_release_lock, give_way
    return [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions]


class Pool:
    """The workers of a process. Its memory is never given back: they look at it to the last moment of the process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Have no workers yet: at first, and in a forked child, whose parent's did not come along."""
        size = 8 * (POOL_SIZE + MOST * BOX_SIZE)
        calloc = ctypes.pythonapi.PyMem_RawCalloc
        calloc.restype, calloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t, ctypes.c_size_t)
        address = calloc(1, size + 64)
        if address is None:
            raise MemoryError("no memory for the threads' boxes")
        address += -address % 64
        self.memory = (ctypes.c_int64 * (size // 8)).from_address(address)
        for i, function in zip((NEW_LOCK, ACQUIRE, RELEASE, YIELD), _system(), strict=True):
            self.memory[i] = function
        self.asked = 0  # threads that were started
        self.address = address

    def workers(self) -> int:
        """How many there are."""
        return sum(self.memory[POOL_SIZE + HIRED :: BOX_SIZE])

    def hire(self, serve: Callable[[int], int], wanted: int) -> None:
        """Have so many workers. A thread too many, begun by two callers at once or before a signal, ends by itself."""
        wanted = min(wanted, MOST)
        while (asked := self.asked) < wanted:
            self.memory[WANTED] = max(self.memory[WANTED], wanted)
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down, or the system gives no threads
                _thread.start_new_thread(serve, (self.address,))  # no Thread: that one has locks
            self.asked = asked + 1  # not += 1: one that was begun twice must not count twice

    def do(self, compiled: Entry, items: int, share: int, words: array[int], parts: int) -> None:
        """Do a job on `parts` threads, this one among them."""
        (_, perform), (_, serve) = _functions()
        self.hire(serve, threads() - 1)
        others = min(parts - 1, MOST)
        begin = compiled.address, words.buffer_info()[0], items, share
        job = array("q", [*begin, *[0] * (BOXES + others - len(begin))])
        if perform(self.address, job.buffer_info()[0], others):
            raise MemoryError("a kernel found no memory to work in")


_pool = Pool()
_threads: int | None = None
_callers: dict[int, None] = {}  # Python threads that divide them; its methods need no lock
if hasattr(os, "register_at_fork"):
    for forget in (_pool.begin, _callers.clear):
        os.register_at_fork(after_in_child=forget)


def available_threads() -> int:
    """What the environment grants: affinity, the cgroup's quota, and *_NUM_THREADS, whichever is least; at least 1.

    NANODISTIL_NUM_THREADS, if it is a number, wins over the others.
    """
    limits = thread_limits()
    if asked := limits.get(OURS):
        return min(asked, MOST + 1)
    return max(1, min(limits.values()))


def all_threads() -> int:
    """How many threads kernels use: what set_threads said, else what the environment granted when first asked.

    Asking anew each time would cost 20 us, for the cgroup's file, before every op.
    """
    global _threads
    if _threads is None:
        _threads = available_threads()
    return _threads


def threads() -> int:
    """How many of them the kernels of this Python thread use now: all, or its part if it divides them with others."""
    n, callers = all_threads(), list(_callers)
    if len(callers) < 2 or (me := _thread.get_ident()) not in callers:
        return n
    return max(1, (n + len(callers) - 1 - callers.index(me)) // len(callers))


@contextlib.contextmanager
def divided() -> Iterator[None]:
    """Divide the threads with whoever else is in here: each has its part of them from its next op on, at least one.

    >>> with divided():  # nobody else is
    ...     threads() == all_threads()
    True
    """
    me = _thread.get_ident()
    _callers[me] = None
    try:
        yield
    finally:
        _callers.pop(me, None)


def set_threads(n: int) -> None:
    """Use n threads from the next kernel on."""
    global _threads
    _threads = n


class _Listening(threading.local):
    """Whoever writes down what this Python thread runs."""

    def __init__(self) -> None:
        self.notes: list[Callable[..., None]] = []


_listening = _Listening()


def listening() -> list[Callable[..., None]]:
    """Who is told of every call of this Python thread."""
    return _listening.notes


def workers_for(n: int) -> None:
    """Have the workers that a job of n threads may take."""
    _pool.hire(_functions()[1][1], n - 1)


def address() -> int:
    """Of the pool, for compiled code: another one in a forked child."""
    return _pool.address


_only_compile: list[bool] = []


def only_compile() -> None:
    """From now on compile what is run, and do not run it: for another processor. What comes out means nothing."""
    _only_compile.append(True)


def run(kernel: Any, items: int, *arguments: Any, least: int = 1) -> None:
    """kernel(start, stop, *arguments) over 0..items, divided among the threads, at least `least` items to each."""
    if not items:
        return
    if INTERPRETED:
        with np.errstate(all="ignore"):  # compiled code does not warn either, when 64 bits wrap around by design
            kernel(0, items, *as_python(arguments))
        return
    kinds, words = words_of(arguments)
    compiled = entry(kernel, kinds)
    if _only_compile:
        _functions()
        return
    parts = max(1, min(threads(), items // least))
    share = max(least, items // (parts * SHARES))
    for note in listening():
        note(compiled, items, share, words, parts, arguments)
    if parts == 1:
        if compiled.call(0, items, words.buffer_info()[0]) != 1:
            raise MemoryError("a kernel found no memory to work in")
        return
    _pool.do(compiled, items, share, words, parts)
