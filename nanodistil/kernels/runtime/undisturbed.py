"""Work that a signal handler must not break off in the middle: compiling.

Handlers run on the main thread, between any two instructions of Python, and may raise there: Ctrl-C, a test's time-out.
Numba's compiler is no place for that: its lock would stay locked, its registries half filled. So the main thread has
such work done on another one and waits; an exception ends the waiting, not the work, whose result the next call finds.

An import is broken off like anything else, and may leave the main thread with the lock that Python takes to find a
module. Then no other thread can import again, and ours would wait for ever for the one that waits for it.
"""

from __future__ import annotations

import _imp
import _thread
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_under_way: dict[tuple[Any, ...], _Task] = {}


class _Task:
    """A call that is made once, by whichever thread begins first."""

    def __init__(self, key: tuple[Any, ...]) -> None:
        self.key = key
        self.result: Any = None
        self.error: BaseException | None = None
        self.claim, self.gate = _thread.allocate_lock(), _thread.allocate_lock()
        self.gate.acquire()
        self.begun = self.done = False

    def run(self) -> None:
        if not self.claim.acquire(blocking=False):
            return
        function, arguments = self.key
        try:
            self.result = function(*arguments)
        except BaseException as error:
            self.error = error
        _under_way.pop(self.key, None)
        self.done = True
        self.gate.release()


def undisturbed(function: Callable[..., T], *arguments: Any) -> T:
    """function(*arguments). One call of a function with the same arguments is under way at a time.

    >>> undisturbed(max, 3, 5)
    5
    """
    if threading.get_ident() != threading.main_thread().ident:
        return function(*arguments)
    with contextlib.suppress(RuntimeError):  # it is not ours, as it should be: we are in the middle of no search
        while True:
            _imp.release_lock()
    key = function, arguments
    task = _under_way.setdefault(key, _Task(key))
    if not task.begun:  # or nobody had the time to note it: then the second thread finds nothing to do
        try:
            _thread.start_new_thread(task.run, ())
        except RuntimeError:  # the interpreter is shutting down, or the system gives no more threads
            task.run()
        task.begun = True
    while not task.done:
        if task.gate.acquire(timeout=0.1):  # 0.1 s: a handler may have raised between this and the next line
            task.gate.release()
    if task.error is not None:
        raise task.error
    result: T = task.result
    return result


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.clear)  # whoever was at it did not come along
