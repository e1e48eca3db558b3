"""What a command is run in: its encoding, and standard streams that may be closed.

A locale that knows no more than ASCII (LC_ALL=C if Python was told to take that at its word) would make surrogates
of every other character in arguments, and refuse to open files by their names. Almost all that is written today is
UTF-8, so the interpreter begins once more in its UTF-8 mode, with the same words: arguments, standard input, output and
the names of files are then UTF-8 together. Any other locale is taken at its word.

If a stream is closed (`>&-`), a file that is opened gets its number, and whatever writes to standard output writes
into that file. So the numbers are taken by the null device first, and what is written to no output is an error.
"""

from __future__ import annotations

import errno
import io
import os
import sys


class Nowhere(io.TextIOBase):
    """A stream that takes everything and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


class Closed(io.TextIOBase):
    """A stream that takes nothing.

    >>> print("x", file=Closed())
    Traceback (most recent call last):
    OSError: [Errno 9] standard output is closed
    """

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "standard output is closed")


def as_utf8() -> None:
    """Begin again in UTF-8 if the locale has nothing but ASCII; as the first thing a process does."""
    if sys.getfilesystemencoding().lower() in ("ascii", "us-ascii") and sys.executable and len(sys.orig_argv) > 1:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def mended() -> None:
    """Put something where streams are missing, and let none fail on a character that it cannot show."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stderr is None:
        sys.stderr = Nowhere()
    if sys.stdout is None:
        sys.stdout = Closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number
