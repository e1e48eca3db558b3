"""What is said of a text that was cut: the steps of the normalizer, then every word with the reason for its tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Step:
    """One step of the normalizer, if it changed something."""

    name: str
    changes: list[tuple[str, str]]  # what was changed -> what it became, each once, as they came
    text: str  # the whole text after it


@dataclass
class Word:
    """A word as it was looked up, where it stands in the text given, and what came of it."""

    text: str
    start: int
    end: int
    tokens: list[str]
    ids: list[int]
    why: str


@dataclass
class Explanation:
    """Of one text. Concatenated, the words' tokens are those of the text, without [CLS] and [SEP]."""

    steps: list[Step]
    words: list[Word]
