"""The fields of a request: each is of a type, and one that nobody knows is refused, not passed over.

A field that is null counts as not given, as clients send it. What is passed over on purpose (a client's `user`) is
named where a request is read.
"""

from __future__ import annotations

from typing import Any

from nanodistil.serve.limits import Limits
from nanodistil.serve.problems import too_large, unusable
from nanodistil.weights.errors import excerpt, meant


class Fields:
    """A JSON object, read field by field; `known` are those that may stand in it.

    >>> Fields({"inputs": "a", "truncate": None}, "inputs truncate").flag("truncate")
    False
    """

    def __init__(self, body: dict[str, Any], known: str) -> None:
        """Raises Problem (422) for a field that is not known."""
        names = known.split()
        for name in body:
            if name not in names:
                hint = meant(name, names) or f"; there are {', '.join(names)}"
                raise unusable(f"there is no field {excerpt(name)}{hint}", name[:60])
        self.body = {name: value for name, value in body.items() if value is not None}

    def get(self, name: str) -> Any:
        """The value. Raises Problem (422) if there is none."""
        if name not in self.body:
            raise unusable(f"`{name}` is needed", name)
        return self.body[name]

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.body.get(name, default)
        if not isinstance(value, bool):
            raise unusable(f"`{name}` must be true or false", name)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise unusable(f"`{name}` must be a whole number from {low} to {high}", name)
        return value

    def real(self, name: str, low: float, high: float, default: float) -> float:
        value = self.body.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise unusable(f"`{name}` must be a number from {low} to {high}", name)
        return float(value)

    def word(self, name: str, words: tuple[str, ...]) -> str:
        """One of these, the first of them if none is given."""
        value = self.body.get(name, words[0])
        if not isinstance(value, str) or value not in words:
            raise unusable(f"`{name}` must be one of {', '.join(words)}", name)
        return value

    def refuse(self, name: str, allowed: tuple[Any, ...], why: str) -> None:
        """Raises Problem (422) for a field that is part of the interface and that we have nothing behind."""
        if self.body.get(name, allowed[0]) not in allowed:
            raise unusable(f"`{name}`: {why}", name)


def texts(value: Any, name: str, limits: Limits) -> list[str]:
    """A text, or a list of texts, as a list. Raises Problem: 422 for anything else, 413 for too many."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        numbers = isinstance(listed, list) and _are_numbers(listed)
        hint = "; token ids are not taken, since those of another tokenizer would look the same" if numbers else ""
        raise unusable(f"`{name}` must be a string or a list of strings{hint}", name)
    return counted(listed, name, limits)


def counted(listed: list[Any], name: str, limits: Limits) -> list[Any]:
    """The list as it is. Raises Problem: 422 if it is empty, 413 if it is too long."""
    if not listed:
        raise unusable(f"`{name}` must not be empty", name)
    if len(listed) > limits.inputs:
        raise too_large(f"`{name}` has {len(listed)} inputs, and at most {limits.inputs} are taken at once")
    return listed


def _are_numbers(listed: list[Any]) -> bool:
    first = listed[0] if listed else None
    return isinstance(first[0] if isinstance(first, list) and first else first, int)
