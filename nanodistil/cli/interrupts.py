"""Ctrl-C at any moment ends the command with the exit code 130, and at most one line.

Python raises KeyboardInterrupt wherever it happens to be. In a destructor or a callback of the garbage collector that
is printed as "Exception ignored in ..." and forgotten; in the middle of an import it may be taken for a module that is
not there. Both would let the command go on. There is nothing to clean up then: every file is whole or not there,
whatever ends the process, so it ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

CODE = 130  # as shells have it: 128 and the signal's number


def install() -> None:
    """For the whole process, which must be the command's own."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored, as behind nohup
        signal.signal(signal.SIGINT, interrupted)
        sys.unraisablehook = unraisable


def interrupted(_: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt, but if it could get lost."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(CODE)
        frame = frame.f_back
    raise KeyboardInterrupt


def unraisable(found: Any) -> None:
    """What Python does with an exception that it cannot raise."""
    if issubclass(found.exc_type, KeyboardInterrupt):
        os._exit(CODE)
    sys.__unraisablehook__(found)
