"""Arrays with walls: a learner's function gets copies, and what it does to them, or beside them, is seen.

Compiled code checks no index. One that is too large by a little reads its neighbours in memory, and often nothing
happens. So every array stands in a larger one between walls of NaN: what is read there spoils the result, and what is
written there is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WALL = 64  # numbers before and behind


class Guarded:
    """Copies of the arguments of one call.

    >>> guarded = Guarded((np.arange(3.0), "a"), ["x", "name"])
    >>> guarded.given[0][1] = 7
    >>> guarded.harm()
    'it changes its argument x'
    """

    def __init__(self, given: tuple[Any, ...], names: Sequence[str], writes: Sequence[str] = ()) -> None:
        """names: of the arguments. writes: those that may be changed."""
        self.walled: list[tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]] = []
        self.names, self.writes = names, writes
        self.given = tuple(self._copied(value, names[i] if i < len(names) else f"{i}") for i, value in enumerate(given))

    def _copied(self, value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [self._copied(one, name) for one in value]
        if isinstance(value, tuple):
            return tuple(self._copied(one, name) for one in value)
        if not isinstance(value, np.ndarray):
            return value
        memory = np.full(value.size + 2 * WALL, _wall(value.dtype), value.dtype)
        inside = memory[WALL : WALL + value.size].reshape(value.shape)
        inside[...] = value
        self.walled.append((name, memory, memory.copy(), inside))
        return inside

    def harm(self) -> str:
        """What was done to them that should not be; "" if nothing was."""
        for name, memory, before, _ in self.walled:
            now = memory.view(np.uint8)
            changed = now != before.view(np.uint8)
            edge = WALL * memory.itemsize
            if changed[:edge].any() or changed[-edge:].any():
                return f"it writes beside its argument {name}: an index is out of range"
            if changed.any() and name not in self.writes:
                return f"it changes its argument {name}"
        return ""


def _wall(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).min
