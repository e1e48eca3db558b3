"""A fork waits until no other thread is in the middle of importing us, of compiling, or of loading compiled code.

A forked child has one thread, and what the others of its parent were about stays as it was at that moment for ever: a
module half imported, whose lock nobody will open, and Numba's compiler locked, or LLVM, which every load from the
cache locks a hundred times. A child that then loads a model waits for them until it is killed. So before a fork
(`os.fork`, multiprocessing's "fork") we wait for all of them, seconds at most, and let nobody begin anew; threads that
only compute, or read a file, keep nothing that the child needs.

Modules of the standard library take locks of theirs before a fork, in the reverse order of being imported. An import
may need those, so it must be awaited before they are taken: they are imported here, ahead of us.
"""

from __future__ import annotations

import _imp
import concurrent.futures.thread
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

OURS = ("nanodistil", "numba", "llvmlite", "numpy", "safetensors", "regex")
LONGEST = 60.0  # seconds; longer than any import takes
AHEAD = logging, concurrent.futures.thread

_held: list[Callable[[], None]] = []  # what opens again the locks that are held from before a fork until after it


def _importing() -> bool:
    """Whether another thread is importing one of our modules, or of those we stand on.

    Python has a lock for each module, and knows whose it is. Without them, under another Python, nothing is awaited.
    """
    locks = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    for name, reference in list(locks.items()):
        if name.partition(".")[0] in OURS:
            owner = getattr(reference(), "owner", None)
            if owner is not None and owner != threading.get_ident():
                return True
    return False


def _locks() -> list[Any]:
    """Those of the compiler, in the order in which it takes them: Numba's, and that of every call of LLVM."""
    numba = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    llvm = getattr(getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None), "_lock", None)
    return [lock for lock in (numba, getattr(llvm, "_lock", None)) if lock is not None]


def _before() -> None:
    until = time.monotonic() + LONGEST
    while True:
        for lock in _locks():
            lock.acquire()
            _held.append(lock.release)
        _imp.acquire_lock()  # nobody finds a module from now on
        _held.append(_imp.release_lock)
        if not _importing() or time.monotonic() >= until:
            return
        _after()
        time.sleep(0.001)


def _after() -> None:
    while _held:
        _held.pop()()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
