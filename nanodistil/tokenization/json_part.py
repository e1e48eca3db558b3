"""A file of JSON, part by part: each is of the kind expected, or named in the message that says what is wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from nanodistil.weights.errors import CheckpointError, excerpt

T = TypeVar("T")


class Part:
    """An object of a file, with the path to it for error messages. whose: the model it should be of."""

    def __init__(self, value: Any, where: str, whose: str) -> None:
        if not isinstance(value, dict):
            found = "null" if value is None else excerpt(value)
            raise CheckpointError(f"{where}: is {found}, not an object; only what a {whose} tokenizer has is read")
        self.value, self.where, self.whose = value, where, whose

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self.value.get(key, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CheckpointError(f"{self.where}.{key}: is {excerpt(value)}, not {kind.__name__}; get it again")
        return value

    def part(self, key: str) -> Part:
        return Part(self.value.get(key), f"{self.where}.{key}", self.whose)

    def expect(self, kind: str, otherwise: str | None = None) -> None:
        found = self.value.get("type", otherwise)
        if found != kind:
            raise CheckpointError(f"{self.where}.type: is {excerpt(found)}, where {self.whose} has {kind!r}")
