"""The first run on a machine: a second process compiles the dearest kernel while this one compiles the others.

Numba compiles one thing at a time, whatever the number of threads. Of the first forward pass's nine kernels attention
takes as long as the other eight, and is needed in the middle. So where there is a second core, another Python is
started for it when the first of them is compiled, and what it makes comes by way of the folder where kernels are kept.

Who wants a kernel that another process is at waits for it: a kernel is claimed, by a lock on a file beside it, which
ends with its process however that ends. Eight workers that start together on a new machine so compile everything once,
not eight times. A lock that is held for very long (a process that was stopped) is not waited for, nor one where the
system has no such locks: a kernel that is compiled twice is no harm.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import granted, store, target

DEAREST = "nanodistil.kernels.cpu.dearest"  # run as a program
KEPT_AS = "attention.attention_heads-"  # its kernel's files begin so
PATIENCE, LOOK = 60.0, 0.01  # seconds for another's kernel, and between two looks
_started: list[bool] = []


def begin() -> None:
    """Start the second process, if it can be of use. It says nothing, and nobody waits for its end."""
    if _started or min(granted.thread_limits().values()) < 2 or getattr(sys, "frozen", False) or not sys.executable:
        return
    program = getattr(sys.modules.get("__main__"), "__spec__", None)
    if getattr(program, "name", "") == DEAREST or target.INTERPRETED:
        return  # this is the one; nothing is compiled
    with contextlib.suppress(OSError, RuntimeError):  # not allowed; no thread more
        if store.state().why_not_writable or any(name.startswith(KEPT_AS) for name in store.listed()):
            return
        import subprocess  # 4 ms

        paths = [str(Path(__file__).parents[3]), *filter(None, [os.environ.get("PYTHONPATH")])]
        nothing = subprocess.DEVNULL
        _started.append(True)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", DEAREST],
            stdin=nothing, stdout=nothing, stderr=nothing,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        _thread.start_new_thread(process.wait, ())  # so that the system may forget it once it has ended


@contextlib.contextmanager
def claimed(name: str) -> Iterator[bool]:
    """Be the only process at this, until the end; True if another one was, and may have made it."""
    try:
        import fcntl

        lock = store.lock(name)
    except (ImportError, OSError):  # a system without; a folder where nothing is kept
        yield False
        return
    until, waited = time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < until:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = True
                time.sleep(LOOK)
            except OSError:  # no such locks on this file system
                break
        yield waited
    finally:
        store.unlock(name, lock)  # whoever waits finds the kernel, or makes it
