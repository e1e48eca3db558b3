"""Ready-made taps: what to hang on the named intermediates of model.py.

A tap is any function (name, value) -> value. `Recorder` keeps what passes under the names it is asked for;
`as_tap` turns a plain function of yours into a tap that wants everything.

Values are packed, as the model has them: (N, width) arrays, and lists of B arrays (H, T, T) for scores and probs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

from nanodistil.model import NoTap, Tap, Value


class Recorder:
    """Keeps the values of the given names, after `inner` (if any) has had them.

    >>> tap = Recorder(["ffn"])
    >>> tap("ffn", 3) + tap("other", 4), tap.seen
    (7, {'ffn': 3})
    """

    def __init__(self, names: Iterable[str], inner: Tap | None = None) -> None:
        self.names = frozenset(names)
        self.inner = inner or NoTap()
        self.seen: dict[str, Any] = {}

    def __call__(self, name: str, value: Value) -> Value:
        value = self.inner(name, value)
        if name in self.names:
            self.seen[name] = value
        return value

    def wants(self, *names: str) -> bool:
        return not self.names.isdisjoint(names) or self.inner.wants(*names)


class _FunctionTap:
    def __init__(self, function: Callable[[str, Any], Any]) -> None:
        self.function = function

    def __call__(self, name: str, value: Value) -> Value:
        return cast(Value, self.function(name, value))

    def wants(self, *names: str) -> bool:
        return True


def as_tap(tap: Tap | Callable[[str, Any], Any] | None) -> Tap:
    """None -> the identity; a tap -> itself; a plain function -> a tap that wants every intermediate."""
    if tap is None:
        return NoTap()
    if hasattr(tap, "wants"):
        return cast(Tap, tap)
    return _FunctionTap(tap)
