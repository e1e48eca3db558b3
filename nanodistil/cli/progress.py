"""One line on a terminal during long work: how much is done, how fast, and how long the rest will take.

It keeps silent for the first second, and if the terminal shows the answers themselves. If there is no terminal,
as in a log file, the work of hours (`plain`) writes a line now and then: after ten seconds, then ever more seldom, so
that four days make a hundred lines and not thirty thousand. Nothing ends because a line cannot be written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from nanodistil.waiting import Told

FIRST, EVERY = 1.0, 0.2  # seconds before it is shown first, and between two times
PLAIN, SHARE = 10.0, 0.1  # between two lines of a log: at least so many seconds, and so much of those gone by
BAR = 20  # characters
ERASE = "\r\x1b[K"


class Line:
    """The line itself, on `out` if that is a terminal, or with `plain` in any case: `show` writes it, not too often."""

    def __init__(self, out: TextIO | None, plain: bool = False) -> None:
        self.terminal = out is not None and out.isatty() and os.environ.get("TERM") != "dumb"
        self.out = out if self.terminal or plain else None
        self.began = time.monotonic()
        self.next = self.began + (FIRST if self.terminal else PLAIN)
        self.shown = False

    def show(self, text: Callable[[], str]) -> None:
        """Have it say `text`, which is only asked for if it will be seen."""
        now = time.monotonic()
        if self.out is None or now < self.next:
            return
        said = f"nanodistil: {text()}"
        if self.terminal:
            columns = shutil.get_terminal_size().columns - 1  # a line that wraps cannot be erased
            self.write(ERASE + said[:columns])
            self.shown, self.next = True, now + EVERY
        else:
            self.write(said + "\n")
            self.next = now + max(PLAIN, SHARE * (now - self.began))

    def erase(self) -> None:
        """Leave an empty line."""
        if self.shown:
            self.write(ERASE)

    def write(self, text: str) -> None:
        if self.out is not None:
            with suppress(OSError):  # the terminal may have gone
                self.out.write(text)
                self.out.flush()


@contextmanager
def shown(out: TextIO | None) -> Iterator[Told]:
    """A line for work that says itself what it does (waiting.py); erased at the end, whatever the end is."""
    line = Line(out)
    try:
        yield lambda what, share: line.show(lambda: f"{what}, {share:.0%}".replace("%", " %"))
    finally:
        line.erase()


class Progress:
    """Keeps a line on inputs and how many are done, and erases it at the end of a `with`.

    done: how many there were before, which nobody has to wait for. of: what is counted, for the line. plain: as Line.
    """

    def __init__(self, out: TextIO | None, done: int = 0, of: str = "", plain: bool = False) -> None:
        self.of = f" {of}" if of else ""
        self.terminal = Line(out, plain)
        self.done = self.before = done
        self.share: float | None = None  # of the input, with what is being answered
        self.share_before = 0.0  # of the input, which nobody had to wait for
        self.began = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.erase()

    def answered(self, count: int = 1) -> None:
        """One more is done, or so many."""
        self.done += count
        self.terminal.show(lambda: self.line(time.monotonic() - self.began))

    def passed(self, share: float | None) -> None:
        """So much of the input, of 1, was answered before, if that is known."""
        self.share_before = share or 0.0

    def reached(self, share: float | None) -> None:
        """So much of the input has been worked through, if that is known."""
        self.share = share

    def erase(self) -> None:
        """Leave an empty line."""
        self.terminal.erase()

    def line(self, seconds: float) -> str:
        """What is shown after so many seconds of work.

        >>> progress = Progress(None, done=100)
        >>> progress.passed(0.1); progress.reached(0.4); progress.done = 1600
        >>> progress.line(60)
        '[########            ]  40 %  1,600 done, 25.0 a second, about 2 min left'
        """
        rate = (self.done - self.before) / seconds
        text = f"{self.done:,}{self.of} done, {rate:,.1f} a second"
        if self.share is None:
            return text
        bar = f"[{'#' * int(self.share * BAR):<{BAR}}] {self.share:4.0%}".replace("%", " %")
        gained = self.share - self.share_before
        if gained > 0:
            text += f", about {span(seconds * (1 - self.share) / gained)} left"
        return f"{bar}  {text}"


def span(seconds: float) -> str:
    """
    >>> span(41.6), span(754), span(7260)
    ('42 s', '13 min', '2 h 1 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
