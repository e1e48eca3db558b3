"""Threads: one pool for all kernels of the process.

`run(kernel, items, ...)` divides the range of `items` into shares and calls kernel(start, stop, ...) on each, here and
on the threads of the pool at once. An item is always computed whole, by one thread, by the same code, so neither the
number of threads nor who takes which share can change a bit of the result.

1. Shares are taken, not given: whoever is free takes the next from a counter. Halves fixed beforehand end when the
   slower thread ends, and on a shared machine there is always a slower one.
2. Between two ops of a forward pass lie some 20 us, less than it takes to wake a thread. So a worker that has finished
   keeps looking for the next job for about 0.1 ms, in machine code, without the interpreter's lock, and only then goes
   to sleep. An op on two threads costs 2 us more than on one; through a ThreadPoolExecutor it was 64 us more.
3. Callers do not wait for one another: each takes the workers that are free at the moment and does the rest itself. So
   any number of Python threads may compute at once, and a forked child, whose workers did not come along, makes new
   ones.

Why not Numba's `prange`: its layers abort or hang when two Python threads enter at once, or after a fork.

A job and a worker's box are rows of 64-bit words in memory that both sides read and write with atomic operations; the
functions that do so are compiled like kernels and are the first half of this file.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import OneFilePerKernel, kernel
from .native import Entry, as_python, c_function, callable_at, entry, words_of

SHARES = 8  # a thread takes about so many in an op: fewer wait for the slowest, more cost 0.1 us each
LOOKS = 3000  # a worker looks so often for a new job before it sleeps: 0.1 ms or so

# A job: what to call, how much of it, how much is taken, how often it failed. A line of the cache apart: what changes.
ADDRESS, WORDS, ITEMS, SHARE, TAKEN, FAILED, JOB_SIZE = 0, 1, 2, 3, 8, 9, 16
# A worker's box: jobs posted, the address of the last, whether the worker sleeps; jobs done.
POSTED, JOB, SLEEPS, DONE, BOX_SIZE = 0, 1, 2, 8, 16

_i64 = ir.IntType(64)


def _word(builder: Any, base: Any, i: Any) -> Any:
    return builder.gep(builder.inttoptr(base, _i64.as_pointer()), [i])


def _whole(count: int) -> Any:
    return types.int64(*(types.int64,) * count)


@intrinsic
def load(typing_context, base, i):  # type: ignore[no-untyped-def]
    """Word i at the address `base`."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_word(builder, *arguments), "seq_cst", 8)

    return _whole(2), codegen


@intrinsic
def exchange(typing_context, base, i, value):  # type: ignore[no-untyped-def]
    """Write word i; what was there before."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("xchg", _word(builder, *arguments[:2]), arguments[2], "seq_cst")

    return _whole(3), codegen


@intrinsic
def add(typing_context, base, i, value):  # type: ignore[no-untyped-def]
    """Add to word i; what was there before."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.atomic_rmw("add", _word(builder, *arguments[:2]), arguments[2], "seq_cst")

    return _whole(3), codegen


@intrinsic
def call(typing_context, address, start, stop, words):  # type: ignore[no-untyped-def]
    """Call the entry of a kernel (native.py)."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        function = ir.FunctionType(_i64, [_i64] * 3)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])

    return _whole(4), codegen


@intrinsic
def pause(typing_context):  # type: ignore[no-untyped-def]
    """Tell the processor that this is a loop that waits."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if str(builder.module.triple).startswith(("x86_64", "i686")):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel(inline=True)
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


@kernel(inline=True)
def serve(box: int, looks: int) -> int:
    """A worker: do what is posted in `box` until `looks` looks in a row found nothing. 1: go to sleep, 0: come back."""
    done: int = load(box, DONE)
    looked = 0
    while looked < looks:
        if load(box, POSTED) == done:
            pause()
            looked += 1
            continue
        take_shares(load(box, JOB))
        done += 1
        exchange(box, DONE, done)
        looked = 0
    exchange(box, SLEEPS, 1)
    # Posted meanwhile? Then whoever posted has seen SLEEPS and wakes us, or we are the first to take it back.
    return 1 if load(box, POSTED) == done or exchange(box, SLEEPS, 0) == 0 else 0


@kernel(inline=True)
def post(box: int, job: int) -> int:
    """Give a worker a job. 1: it sleeps, and must be woken."""
    exchange(box, JOB, job)
    add(box, POSTED, 1)
    return exchange(box, SLEEPS, 0)


@kernel(inline=True)
def finished(box: int, looks: int) -> int:
    """Wait for a worker for so many looks. Whether it is done."""
    for _ in range(looks):
        if load(box, DONE) == load(box, POSTED):
            return 1
        pause()
    return 0


@cache
def _functions() -> list[tuple[Any, Callable[..., int]]]:
    """The functions above, compiled: code and callable of each. Once a process, and a forked child has its parent's:
    to compile it would need Numba's lock, which another thread may have held when it was forked."""
    functions = [(take_shares, 1), (serve, 2), (post, 2), (finished, 2)]
    code = [c_function(f.py_func, count, OneFilePerKernel(f.py_func)) for f, count in functions]
    return [(c, callable_at(c)) for c in code]


class Worker:
    """A thread of the pool, its box, and what its last job uses, held until the next whatever becomes of its caller."""

    def __init__(self, pool: Pool) -> None:
        self.memory = array("q", [0] * BOX_SIZE)
        self.box = self.memory.buffer_info()[0]
        self.alarm = threading.Lock()
        self.alarm.acquire()
        self.holds: Any = None
        threading.Thread(target=self._work, args=(pool,), name="nanodistil", daemon=True).start()

    def _work(self, pool: Pool) -> None:
        while True:
            if pool.serve(self.box, LOOKS):
                self.alarm.acquire()


class Pool:
    """The workers of a process, and which of them are free."""

    def __init__(self) -> None:
        self.take_shares, self.serve, self.post, self.finished = (call for _, call in _functions())
        self.process = os.getpid()
        self.free: list[Worker] = []
        self.count = 0

    def take(self, wanted: int) -> list[Worker]:
        """At most so many free workers, new ones among them as long as there are fewer than threads allow."""
        taken: list[Worker] = []
        while len(taken) < wanted:
            try:
                taken.append(self.free.pop())
            except IndexError:
                if self.count >= threads() - 1:
                    break
                self.count += 1
                try:
                    taken.append(Worker(self))
                except RuntimeError:  # the interpreter is shutting down, or the system gives no more threads
                    break
        return taken

    def do(self, compiled: Entry, items: int, share: int, words: array[int], parts: int, holds: Any) -> None:
        """Do a job on `parts` threads, this one among them."""
        job = array("q", [compiled.code.address or 0, words.buffer_info()[0], items, share, *[0] * (JOB_SIZE - 4)])
        address = job.buffer_info()[0]
        workers = self.take(parts - 1)
        try:
            for worker in workers:
                worker.holds = holds, words, job
                if self.post(worker.box, address):
                    worker.alarm.release()
            self.take_shares(address)
        finally:
            for worker in workers:
                while not self.finished(worker.box, LOOKS):
                    time.sleep(0)  # it may be waiting for this very core
                self.free.append(worker)
        if job[FAILED]:
            raise MemoryError("a kernel found no memory to work in")


_pool: Pool | None = None
_executor: tuple[int, int, ThreadPoolExecutor] | None = None  # (process id, threads, executor)
_threads: int | None = None


def available_threads() -> int:
    """What the environment grants: affinity, the cgroup's quota, and *_NUM_THREADS, whichever is least; at least 1.

    NANODISTIL_NUM_THREADS, where it is a number, wins over the others.
    """
    asked = os.environ.get("NANODISTIL_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
        quota, period = file.read().split()  # no cgroup v2, or "max": no limit
        limits.append(-(-int(quota) // int(period)))  # rounded up
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit():
            limits.append(int(value))
    return max(1, min(limits))


def threads() -> int:
    """How many threads kernels use: what set_threads said, else what the environment granted when first asked.

    Asking anew each time would cost 20 us, for the cgroup's file, before every op.
    """
    global _threads
    if _threads is None:
        _threads = available_threads()
    return _threads


def set_threads(n: int) -> None:
    """Use n threads from the next kernel on."""
    global _threads
    _threads = n


def run(kernel: Callable[..., None], items: int, *arguments: Any, least: int = 1) -> None:
    """kernel(start, stop, *arguments) over 0..items, divided among the threads, at least `least` items to each."""
    global _pool
    if not items:
        return
    if numba.config.DISABLE_JIT:
        with np.errstate(all="ignore"):  # compiled code does not warn either, when 64 bits wrap around by design
            kernel(0, items, *as_python(arguments))
        return
    kinds, words = words_of(arguments)
    compiled = entry(kernel, kinds)
    parts = min(threads(), items // least)
    if parts <= 1:
        if compiled.call(0, items, words.buffer_info()[0]) != 1:
            raise MemoryError("a kernel found no memory to work in")
        return
    if _pool is None or _pool.process != os.getpid():
        _pool = Pool()
    _pool.do(compiled, items, max(least, items // (parts * SHARES)), words, parts, arguments)


def run_python(function: Callable[[int, int], None], items: int) -> None:
    """function(start, stop) over 0..items, one contiguous part a thread: for what is not a kernel but calls one."""
    global _executor
    parts = min(threads(), items)
    if parts <= 1:
        if items:
            function(0, items)
        return
    if _executor is None or _executor[:2] != (os.getpid(), threads()):
        _executor = os.getpid(), threads(), ThreadPoolExecutor(threads() - 1, "nanodistil")
    cuts = [items * i // parts for i in range(parts + 1)]
    try:
        others = [_executor[2].submit(function, cuts[i], cuts[i + 1]) for i in range(1, parts)]
    except RuntimeError:  # the interpreter is shutting down and starts no threads
        function(0, items)
        return
    try:
        function(cuts[0], cuts[1])
    finally:
        for other in others:  # also after an error: nobody may work on once we have returned
            other.exception()
    for other in others:
        other.result()
