"""Columns of text on a terminal, where not every character is one column wide.

East Asian wide characters take two, combining marks and what formats text take none. A character that a terminal may
show either way (ambiguous) is taken for narrow, as terminals do outside East Asia.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Sequence


def width(text: str) -> int:
    """How many columns a text takes.

    >>> width("film"), width("映画"), width("cafe\\u0301"), width("\\u200b")
    (4, 4, 4, 0)
    """
    if text.isascii():
        return len(text)
    return sum(_width(c) for c in text)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def padded(text: str, columns: int, right: bool = False) -> str:
    """A text with spaces behind it, or before it, so that it takes so many columns.

    >>> padded("映画", 6) + "|", padded("7", 3, right=True)
    ('映画  |', '  7')
    """
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def aligned(rows: Sequence[Sequence[str]], right: Container[int]) -> str:
    """Rows of cells as lines, two spaces apart, the columns in `right` to the right.

    >>> print(aligned([("1", "a"), ("20", "b")], right={0}))
     1  a
    20  b
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(padded(cell, widths[i], i in right) for i, cell in enumerate(row)).rstrip() for row in rows
    )
