"""What a model returns: fields by name, by key, or by place among those present, as transformers' outputs have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nanodistil.backend import Array


class Output:
    """Attribute, key and index access over the dataclass fields that are not None."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are present, in order."""
        return tuple(value for _, value in self.items())

    def items(self) -> list[tuple[str, Any]]:
        """(name, value) of the fields that are present, in order."""
        pairs = [(f.name, getattr(self, f.name)) for f in fields(self)]  # type: ignore[arg-type]
        return [(name, value) for name, value in pairs if value is not None]

    def keys(self) -> list[str]:
        """Names of the fields that are present, in order."""
        return [name for name, _ in self.items()]

    def values(self) -> list[Any]:
        """The fields that are present, in order."""
        return list(self.to_tuple())

    def get(self, key: str, default: Any = None) -> Any:
        """A field, or the default if it is not present."""
        return dict(self.items()).get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.items())

    def __getitem__(self, key: str | int | slice) -> Any:
        return dict(self.items())[key] if isinstance(key, str) else self.to_tuple()[key]


@dataclass(frozen=True, eq=False)
class BaseModelOutput(Output):
    """Of DistilBertModel."""

    last_hidden_state: Array  # (B, T, D)
    hidden_states: tuple[Array, ...] | None = None  # L + 1 x (B, T, D): after the embeddings, after each layer
    attentions: tuple[Array, ...] | None = None  # L x (B, H, T, T): each row the weights of one query


@dataclass(frozen=True, eq=False)
class BaseModelOutputWithPast(Output):
    """Of GPT2Model."""

    last_hidden_state: Array  # (B, T, D)
    past_key_values: Any = None  # past.KeyValues, what the next call may be given
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True, eq=False)
class BaseModelOutputWithPooling(Output):
    """Of BertModel."""

    last_hidden_state: Array  # (B, T, D)
    pooler_output: Array | None = None  # (B, D), if the checkpoint has a pooler
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredOutput(Output):
    """Of a model whose head gives one array of scores."""

    loss: np.floating | None = None  # if labels were given; a number of the logits' dtype
    logits: Array
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredOutputWithPast(Output):
    """The same of one that reads from left to right."""

    loss: np.floating | None = None
    logits: Array
    past_key_values: Any = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None
