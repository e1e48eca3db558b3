"""What one process holds for all the tasks that an engine sends it: models that are loaded, and whose turn it is.

An engine sends many tasks to a process, one after another or several at once on threads. A model is loaded by the first
that asks and stays for those to come: the four that were asked for last, so that a job with two of them does not load
them in turns. A fork takes along what its parent has loaded.

One call computes at a time, on all the threads that the engine has granted the process. Several at once would each take
that many, and there is no more to be had: a call alone keeps every thread busy. So nothing waits for anything but the
call before it, and in a forked child nobody is in the middle of one.

What is granted is asked before every call, since a process may be given a task of another size:

    Ray      num_cpus, of the task or actor: OMP_NUM_THREADS, which Ray sets for the time of a call
    Spark    spark.task.cpus: OMP_NUM_THREADS, which Spark sets for its Python workers, one a task
    Dask     nthreads of the worker, since all its tasks run in one process (for which Dask sets OMP_NUM_THREADS to 1)
    others   what every command of ours takes: affinity, the cgroup's quota, the environment
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from nanodistil.backend import available_threads

KEPT = 4  # models


class Process:
    """Of this process there is one."""

    def __init__(self) -> None:
        self.models: OrderedDict[Hashable, Any] = OrderedDict()
        self.turn = Lock()

    def forked(self) -> None:
        """In a child: whoever had the turn is not here, and what was about to be loaded is not there."""
        self.turn = Lock()

    @contextmanager
    def turn_of(self, key: Hashable, load: Callable[[], Any], threads: int | None) -> Iterator[Any]:
        """The turn, and the pipeline that `load` makes unless it is here under that key. threads: None: as granted."""
        with self.turn:
            pipe = self.models.pop(key, None)
            if pipe is None:
                pipe = load()
            self.models[key] = pipe
            while len(self.models) > KEPT:
                self.models.popitem(last=False)
            set_threads = getattr(pipe.model.ops, "set_threads", None)  # NumPy's BLAS and a GPU have their own ways
            if set_threads is not None:
                set_threads(threads or granted())
            yield pipe


def granted() -> int:
    """How many threads the engine, or else the environment, grants this process.

    >>> granted() >= 1
    True
    """
    worker_of_dask = sys.modules.get("distributed.worker")
    if worker_of_dask is not None:
        try:
            return int(worker_of_dask.get_worker().state.nthreads)
        except ValueError:  # no task of a worker of Dask's
            pass
    return available_threads()


process = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.forked)
