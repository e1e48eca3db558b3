"""Threads: one pool for all kernels of the process.

`run(kernel, items, ...)` cuts the range of `items` into one contiguous part a thread and calls kernel(start, stop, ...)
on each; kernels are compiled nogil, so the parts run at the same time. An item is always computed whole, by one thread,
by the same code, so the number of threads cannot change a bit of the result.

Why not Numba's `prange`: its layers abort or hang when two Python threads enter at once, or after a fork. Here callers
only share a queue, parts never wait for other parts, and a forked child makes a pool of its own on first use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_pool: tuple[int, int, ThreadPoolExecutor] | None = None  # (process id, threads, executor)
_threads: int | None = None


def available_threads() -> int:
    """What the environment grants: affinity, the cgroup's quota, and *_NUM_THREADS, whichever is least; at least 1.

    NANODISTIL_NUM_THREADS, where it is a number, wins over the others.
    """
    asked = os.environ.get("NANODISTIL_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        limits.append(-(-int(quota) // int(period)))  # rounded up
    except (OSError, ValueError):
        pass  # no cgroup v2, or "max"
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


def _executor(workers: int) -> ThreadPoolExecutor:
    global _pool
    pool = _pool
    if pool is None or pool[:2] != (os.getpid(), workers):
        pool = (os.getpid(), workers, ThreadPoolExecutor(workers, "nanodistil"))
        _pool = pool
    return pool[2]


def run(kernel: Callable[..., None], items: int, *arguments: Any, least: int = 1) -> None:
    """kernel(start, stop, *arguments) over 0..items, divided among the threads, at least `least` items to each."""
    parts = min(threads(), items // least)
    if parts <= 1:
        if items:
            kernel(0, items, *arguments)
        return
    cuts = [items * i // parts for i in range(parts + 1)]
    pool = _executor(threads() - 1)
    try:
        others = [pool.submit(kernel, cuts[i], cuts[i + 1], *arguments) for i in range(1, parts)]
    except RuntimeError:  # the interpreter is shutting down and starts no threads
        kernel(0, items, *arguments)
        return
    try:
        kernel(cuts[0], cuts[1], *arguments)
    finally:
        for other in others:  # also after an error: nobody may write to `arguments` once we have returned
            other.exception()
    for other in others:
        other.result()
