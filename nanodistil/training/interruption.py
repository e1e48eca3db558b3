"""Ctrl-C and SIGTERM as a wish, which the training loop fulfils at its next safe place, not an exception anywhere.

A scheduler that takes a machine back sends SIGTERM and waits some seconds; that is enough to save a checkpoint. Who
presses Ctrl-C a second time is in a hurry, and gets the exception at once; the last checkpoint is whole in any case.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While its `with` lasts, `asked` tells whether the user or the system wants us to stop."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python allows it nowhere else
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
