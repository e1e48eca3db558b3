"""A place in an array: what travels together when a kernel hands a helper a part of a matrix.

Inside kernels matrices are flat arrays, and helpers work on a piece of one: so many rows from here on, so far apart.
Three values that never go alone, for each of up to four matrices; as separate arguments they were thirteen in a row. In
compiled code a Place is taken apart again, and what the processor gets to see is the same, instruction by instruction.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Place(NamedTuple):
    """Rows of a matrix: the flat array, where in it the first one begins, and the distance from each to the next."""

    numbers: Any
    at: int
    step: int
