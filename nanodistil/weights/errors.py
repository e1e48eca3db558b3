"""The one exception hierarchy: everything nanodistil raises on purpose is a NanoDistilError.

It lives here, in the lowest room, because a broken file is noticed here and no room below `nanodistil` may import it;
users meet it as `nanodistil.NanoDistilError`. Each class also derives from the builtin that transformers raises in the
same place, so code written for either keeps working. A message is one line that says what is wrong and what to do; what
somebody else wrote is quoted in it by `excerpt`, so that no file or argument can fill the screen.

    NanoDistilError
      InputError           (ValueError)   a text, id, mask or argument that cannot be used
        TooLongError                      a text of more tokens than the model has positions, which is not to be cut
      CheckpointError      (ValueError)   a file of a model that is broken, or does not fit the others
      ModelNotFoundError   (OSError)      no such folder, not in the cache, and not to be had from the hub
      MissingExtraError    (ImportError)  an optional dependency is needed: names the extra that brings it
      DeviceError          (RuntimeError) a GPU was asked for, and there is none that can be used
"""

import reprlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

LONGEST = 2_000  # characters of a message; a path alone may have 4,096


class NanoDistilError(Exception):
    """Base of all errors raised on purpose. Its message is one line, and not longer than LONGEST characters."""

    def __init__(self, message: str = "") -> None:
        message = " ".join(message.splitlines())
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        super().__init__(message)


class InputError(NanoDistilError, ValueError):
    """A text, id, mask or argument that cannot be used."""


class TooLongError(InputError):
    """A text of more tokens than the model has positions, which nobody allowed to be cut."""


class CheckpointError(NanoDistilError, ValueError):
    """A file of a model that is broken, or does not fit the others."""


class ModelNotFoundError(NanoDistilError, OSError):
    """No such folder, not in the cache, and not to be had from the hub."""


class MissingExtraError(NanoDistilError, ImportError):
    """An optional dependency is needed; the message names the extra that brings it."""


class DeviceError(NanoDistilError, RuntimeError):
    """A GPU was asked for, and there is none that can be used."""


def meant(word: object, words: Iterable[str], alike: float = 0.6) -> str:
    """The end of a message about a word that nobody knows: what was perhaps meant, if anything is near.

    >>> meant("tok_k", ["top_k", "targets"]), meant("colour", ["top_k"]), meant(7, ["top_k"])
    ('; did you mean top_k?', '', '')
    """
    near = get_close_matches(word[:60], list(words), 1, alike) if isinstance(word, str) else []
    return f"; did you mean {near[0]}?" if near else ""


def excerpt(value: Any, most: int = 60) -> str:
    """What somebody else wrote, as a message quotes it: as Python writes it, on one line, with about `most` characters.

    >>> excerpt("a"), excerpt(7), excerpt("x" * 100_000, 20)
    ("'a'", '7', "'xxxxxxx...xxxxxxxx'")
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    short.maxlevel, short.maxlist, short.maxtuple, short.maxdict, short.maxset = 2, 4, 4, 3, 4
    try:
        said = " ".join(short.repr(value).split())
    except Exception:  # whatever its __repr__ does; an int of more digits than Python likes to write
        said = f"<{type(value).__name__}>"
    return said if len(said) <= 2 * most else f"{said[:most]}..."
