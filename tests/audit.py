"""Watching what Python does while a file is read: an audit hook that lists whatever a reader has no business doing.

Python reports imports, compiling, executing, opening files, starting programs, sockets and some two hundred other
events to such a hook. Only those in ALLOWED may occur while a weights file is read, files may be opened for reading
only, and only below the folder of the model. A hook cannot be taken out again, so it sleeps between its uses.
"""

import os
import sys
from contextlib import contextmanager

ALLOWED = {"mmap.__new__", "builtins.id"}

_watched = None  # the folder, while somebody watches
_seen = []


def _hook(event, arguments):
    if _watched is None or event in ALLOWED:
        return
    if event == "open":
        path, _, flags = arguments
        reading = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if reading and not isinstance(path, int) and os.path.realpath(path).startswith(_watched + os.sep):
            return
    _seen.append((event, repr(arguments)[:200]))


sys.addaudithook(_hook)


@contextmanager
def watching(folder):
    """A list that fills with (event, arguments) of everything that should not have happened."""
    global _watched
    _seen.clear()
    _watched = os.path.realpath(folder)
    try:
        yield _seen
    finally:
        _watched = None
