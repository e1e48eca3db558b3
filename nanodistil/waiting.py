"""What long work says to whoever waits for it: what is being computed, and what share of that is done."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[str, float], None]


def silent(what: str, share: float) -> None:
    """Nobody waits."""
