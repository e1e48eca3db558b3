"""What a tokenizer returns: one Encoding a text, and the BatchEncoding that holds the lists a model asks for.

An Encoding carries everything known of each token, whether asked for or not: that is what cutting and padding work
on, and what maps tokens back to the text. Cutting follows the fast tokenizer, also where the slow one of the
same name does otherwise: when both texts of a pair must shrink, the odd token goes to the second (or to the longer).
"""

from collections import UserDict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from nanodistil.tokenization.wordpiece import Span
from nanodistil.weights.errors import InputError


@dataclass(slots=True)
class Encoding:
    """One text or pair as tokens: lists of the same length, T.

    `sequence` says which text a token is from, 0 or 1, and None where it was put in; `words` counts words within a
    text; `offsets` are [start, end) in the text given, in code points; `special_tokens_mask` is 1 for tokens put in.
    """

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    words: list[int | None]
    sequence: list[int | None]
    special_tokens_mask: list[int]
    attention_mask: list[int]  # 1 = real token, 0 = padding

    @classmethod
    def inserted(cls, number: int, token: str, type_id: int = 0, count: int = 1, attention: int = 1) -> "Encoding":
        """`count` times a token that is in no text: [CLS], [SEP], [PAD]."""
        return cls(
            ids=[number] * count,
            type_ids=[type_id] * count,
            tokens=[token] * count,
            offsets=[(0, 0)] * count,
            words=[None] * count,
            sequence=[None] * count,
            special_tokens_mask=[1] * count,
            attention_mask=[attention] * count,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: "Encoding") -> "Encoding":
        return Encoding(*(getattr(self, f) + getattr(other, f) for f in _FIELDS))

    def cut(self, length: int, side: str = "right") -> "Encoding":
        """At most `length` tokens; `side` is where the others are taken away."""
        if length >= len(self):
            return self
        kept = slice(0, length) if side == "right" else slice(len(self) - length, None)
        return Encoding(*(getattr(self, f)[kept] for f in _FIELDS))

    def pad(self, length: int, number: int, token: str, side: str = "right") -> "Encoding":
        """At least `length` tokens, the new ones not to be attended to."""
        if length <= len(self):
            return self
        padding = Encoding.inserted(number, token, count=length - len(self), attention=0)
        return self + padding if side == "right" else padding + self


_FIELDS = [f.name for f in fields(Encoding)]


def truncate(
    a: Encoding, b: Encoding | None, length: int, strategy: str, side: str = "right"
) -> tuple[Encoding, Encoding | None]:
    """Shorten a text or a pair to `length` tokens together, by "longest_first", "only_first" or "only_second".

    longest_first takes from the longer until both are equally long, then from both. Raises InputError where
    the text that is to shrink is missing, or would have to vanish.
    """
    excess = len(a) + (len(b) if b else 0) - length
    if excess <= 0:
        return a, b
    if length == 0:
        return a.cut(0), b and b.cut(0)
    if strategy == "longest_first":
        if b is None:
            return a.cut(length, side), None
        shorter, longer = sorted((len(a), len(b)))
        longer = shorter if shorter > length else max(shorter, length - shorter)
        if shorter + longer > length:
            shorter, longer = length // 2, length - length // 2
        for_a, for_b = (longer, shorter) if len(a) > len(b) else (shorter, longer)
        return a.cut(for_a, side), b.cut(for_b, side)
    target = a if strategy == "only_first" else b
    if target is None:
        raise InputError("truncation='only_second' needs a text_pair; pass one, or use 'longest_first'")
    if len(target) <= excess:
        raise InputError(f"truncation={strategy!r} would leave nothing of that text; raise max_length")
    cut = target.cut(len(target) - excess, side)
    return (cut, b) if target is a else (a, cut)


class BatchEncoding(UserDict[str, Any]):
    """The lists (or arrays) a model asks for, by name, with the encodings they were made of.

    `batch["input_ids"]` and `batch.input_ids` are the same; `batch.tokens(i)`, `batch.word_ids(i)` and
    `batch.sequence_ids(i)` tell of text i.
    """

    def __init__(self, data: dict[str, Any], encodings: list[Encoding]) -> None:
        super().__init__(data)
        self.encodings = encodings

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(f"no {name!r} in this BatchEncoding, only {', '.join(self.keys())}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def tokens(self, index: int = 0) -> list[str]:
        return self.encodings[index].tokens

    def word_ids(self, index: int = 0) -> list[int | None]:
        return self.encodings[index].words

    def sequence_ids(self, index: int = 0) -> list[int | None]:
        return self.encodings[index].sequence


def as_arrays(lists: dict[str, list[Any]]) -> dict[str, Any]:
    """Every list as an int64 array, (B, T) or (B, T, 2). Raises InputError where the rows differ in length."""
    import numpy as np

    rows = {len(row) for row in lists["input_ids"]}
    if len(rows) > 1:
        raise InputError(f"return_tensors='np' with texts of {min(rows)} to {max(rows)} tokens; pass padding=True")
    width = max(rows, default=0)
    shapes = {"offset_mapping": (-1, width, 2), "length": (-1,)}
    batch = len(lists["input_ids"])
    return {
        key: np.array(value, dtype=np.int64).reshape(batch, *shapes.get(key, (-1, width))[1:])
        for key, value in lists.items()
    }
