"""What runs in the process of its own: the learner's code. It tells its parent what it is about, one JSON line a time.

Everything here may be the last thing that happens: each step is announced before it begins, and each result is told as
soon as it is there. What the learner prints goes elsewhere (sandbox.py), so it cannot be taken for a message.

This is a guard against accidents. It is none against malice: the code runs as whoever started it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nanodistil.exercises import exercise
from nanodistil.exercises.judging import OURS, judge, said
from nanodistil.exercises.learner import Unfit, function_in, lines_of_code
from nanodistil.exercises.race import run_race

COMPILING = 60.0  # seconds that Numba may take for a function
LOADING = 5.0  # that a file may take, with what it imports
TRIAL = 20.0
MEMORY, MORE = 2 << 30, 6 << 30  # bytes beyond what Python, NumPy and we have: for cases, and for models


def main(arguments: list[str]) -> None:
    """arguments: the exercise, the file, the number of the pipe for messages, and "cases" if that is all."""
    name, file, pipe, how = arguments
    out = os.fdopen(int(pipe), "w", buffering=1)

    def tell(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    def announce(what: str, seconds: float) -> None:
        tell(at=what, seconds=seconds)

    warnings.simplefilter("ignore")
    announce("", OURS)
    asked = exercise(name)
    limited(MEMORY)
    announce("its file is run", LOADING)
    try:
        function = function_in(Path(file), asked.function)
    except (Exception, SystemExit) as error:
        tell(cannot=str(error) if isinstance(error, Unfit) else said(error, file))
        return
    watch_numba(tell)
    kernels = logging.getLogger("nanodistil.kernels")
    kernels.addHandler(OurKernels(tell))
    kernels.setLevel(logging.INFO)
    kernels.propagate = False
    verdict = judge(asked, function, announce, file)
    lines = lines_of_code(Path(file).read_text(encoding="utf-8", errors="replace"))
    tell(verdict=asdict(verdict), lines=lines)
    if how != "cases" and verdict.passed:
        limited(MORE)
        try:
            announce("the real model with it", TRIAL)
            tell(report=asked.trial(function))
            tell(report=run_race(asked.race, function, announce))
        except (Exception, SystemExit) as error:
            tell(cannot=said(error, file))
            return
    tell(end=True)


def limited(beyond: int) -> None:
    """No more memory than this, beyond what is there now; where the system has such a limit (Linux)."""
    with suppress(Exception):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + beyond, hard))


class OurKernels(logging.Handler):
    """What is said of our own kernels: once that they are being compiled, which takes seconds, and warnings."""

    def __init__(self, tell: Any) -> None:
        super().__init__(logging.INFO)
        self.tell, self.told = tell, False

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.tell(report=[f"({record.getMessage()})"])
        elif not self.told:
            self.told = True
            self.tell(report=["(our kernels are being compiled, once for this machine, to be timed beside yours)"])


def watch_numba(tell: Any) -> None:
    """Say when Numba compiles, which takes seconds, and when it is done."""
    events = sys.modules.get("numba.core.event")
    if events is None:
        return
    tell(numba=True)

    class Watching(events.Listener):  # type: ignore[name-defined, misc]
        def on_start(self, event: Any) -> None:
            tell(compiling=True, seconds=COMPILING)

        def on_end(self, event: Any) -> None:
            tell(compiling=False)

    events.register("numba:compile", Watching())
