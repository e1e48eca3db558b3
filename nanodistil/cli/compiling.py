"""One line on a terminal while kernels are being compiled: the first run of a machine takes seconds, silently else.

It listens to the logger that runtime/jit.py announces each compilation on, so it works for every verb and whichever
part of the library asks first, and nothing that a verb does not need is imported for it. A warning there, that nothing
can be kept, becomes a line that stays, on a terminal or not.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOGGER = "nanodistil.kernels"
ERASE = "\r\x1b[K"


class CompileLine(logging.Handler):
    """Keeps one line about what is being compiled; erases it when nothing is. `count`: how many were."""

    def __init__(self, out: TextIO | None) -> None:
        super().__init__(logging.INFO)
        self.out = out if out is not None and out.isatty() else None
        self.warnings = out
        self.count = 0
        self.going: list[str] = []  # a kernel may need another one compiled first

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            if self.warnings is not None:
                print(("" if self.out is None else ERASE) + record.getMessage(), file=self.warnings, flush=True)
            return
        what, _, name = record.getMessage().partition(" ")
        if what == "compiling":
            self.count += 1
            self.going.append(name)
        elif name in self.going:
            self.going.remove(name)
        self.show()

    def show(self) -> None:
        if self.out is not None:
            text = "nanodistil: compiling kernels, once for this machine: {}, {} ..."
            columns = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be erased
            said = text.format(self.count, self.going[-1])[:columns] if self.going else ""
            self.out.write(ERASE + said)
            self.out.flush()


@contextmanager
def announced(out: TextIO | None) -> Iterator[CompileLine]:
    """Count what is compiled in this context, and announce it on `out` if that is a terminal."""
    line = CompileLine(out)
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.addHandler(line)
    logger.setLevel(logging.INFO)
    try:
        yield line
    finally:
        logger.removeHandler(line)
        logger.setLevel(before)
        if line.going:
            line.going.clear()
            line.show()
