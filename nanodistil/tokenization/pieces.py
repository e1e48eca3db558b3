"""Text to pieces: what every way of cutting a text must be able to do, and what comes of it.

WordPiece (wordpiece.py) is one such way. Another one is a class of its own with these few members; added tokens,
special tokens, truncation, padding, offsets, files and everything a call offers are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Span = tuple[int, int]
Text = tuple[str, list[Span]]  # normalized characters, and for each its [start, end) in the original string


class Pieces(NamedTuple):
    """One stretch of text as pieces: four lists of the same length, and how many words they make up."""

    ids: list[int]
    tokens: list[str]
    spans: list[Span]
    words: list[int]  # which word of the stretch a piece belongs to, from 0
    n_words: int


class Normalizing(Protocol):
    """What is done to a text before it is cut."""

    def __call__(self, text: str) -> Text: ...

    def text(self, text: str) -> str:
        """The normalized text alone."""


class PieceMaker(Protocol):
    """A vocabulary, and the way to it."""

    @property
    def vocabulary(self) -> Mapping[str, int]: ...

    @property
    def normalizer(self) -> Normalizing: ...

    @property
    def unknown(self) -> str:
        """The token for what no other token stands for."""

    def identity(self) -> list[Any]:
        """What decides, beside the vocabulary, which ids a text becomes; as JSON can say it."""

    def __call__(self, text: str) -> Pieces:
        """A text, or what stands between two added tokens in it. Spans count from the stretch's start."""

    def split(self, characters: str, spans: list[Span]) -> Pieces:
        """The same for characters that are normalized already; spans say where in the stretch they come from."""


class AsItIs:
    """The normalizer that changes nothing.

    >>> AsItIs()("ab")
    ('ab', [(0, 1), (1, 2)])
    """

    def __call__(self, text: str) -> Text:
        return text, [(i, i + 1) for i in range(len(text))]

    def text(self, text: str) -> str:
        return text
