"""What a tokenizer returns: one Encoding a text, and the BatchEncoding that holds the lists a model asks for.

An Encoding carries everything known of each token, whether asked for or not: that is what cutting and padding work
on, and what maps tokens back to the text. Cutting follows the fast tokenizer, also where the slow one of the
same name does otherwise: when both texts of a pair must shrink, the odd token goes to the second (or to the longer).
"""

from collections import UserDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

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
LISTS = {  # what a call may return -> where it stands in an Encoding
    "input_ids": "ids",
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}


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


class Frame(NamedTuple):
    """What stands around each text: a token before and one after (None: nothing), and how many are kept between."""

    before: tuple[str, int] | None = None
    after: tuple[str, int] | None = None
    room: int = -1  # -1: all
    from_left: bool = False  # where the others are taken away


class Padding(NamedTuple):
    """What makes a text `length` tokens long: the pad token, and the side it goes to, "left" or "right"."""

    length: int
    number: int
    token: str
    side: str


NO_FRAME = Frame()


class Encodings:
    """The encodings of a batch, B of them, and the lists made of them: what rows.py does without Python objects."""

    def __init__(self, encodings: list[Encoding]) -> None:
        self.encodings = encodings
        self.lengths = [len(encoding) for encoding in encodings]

    def pad(self, padding: Padding) -> None:
        self.encodings = [encoding.pad(*padding) for encoding in self.encodings]

    def encoding(self, i: int) -> Encoding:
        return self.encodings[i]

    def lists(self, key: str) -> list[Any]:
        """What a call returns under `key`: a list for each text."""
        return [len(e) for e in self.encodings] if key == "length" else [getattr(e, LISTS[key]) for e in self.encodings]

    def only(self, key: str) -> Any:
        """The same for a single text, without the outer list; lengths stay a list, as in the reference."""
        return self.lists(key) if key == "length" else self.lists(key)[0]

    def array(self, key: str) -> Any:
        """The same as one int64 array, (B, T) or (B, T, 2). Raises InputError where the texts differ in length."""
        import numpy as np

        rows = self.lists(key)
        if key == "length":
            return np.array(rows, dtype=np.int64)
        width = same_width([len(e) for e in self.encodings])
        return np.array(rows, dtype=np.int64).reshape(len(rows), width, *[2] * (key == "offset_mapping"))


def same_width(lengths: list[int]) -> int:
    """The length that all have. Raises InputError where they differ."""
    if len(set(lengths)) > 1:
        raise InputError(
            f"return_tensors='np' with texts of {min(lengths)} to {max(lengths)} tokens; pass padding=True"
        )
    return lengths[0] if lengths else 0


class BatchEncoding(UserDict[str, Any]):
    """The lists (or arrays) a model asks for, by name, with the encodings they were made of.

    `batch["input_ids"]` and `batch.input_ids` are the same; `batch.tokens(i)`, `batch.word_ids(i)` and
    `batch.sequence_ids(i)` tell of text i. Each is made when it is first looked at: a list of a million ones takes
    longer to make than to be told that nobody wants it.
    """

    def __init__(self, values: dict[str, Any], encoding: Callable[[int], Encoding], n: int) -> None:
        """`values`: a partial() without arguments stands for what it returns. `encoding`: of text i out of n."""
        self._values = values
        self._encoding, self._n = encoding, n
        self._encodings: list[Encoding] | None = None

    @property
    def data(self) -> dict[str, Any]:  # type: ignore[override]  # a plain attribute in UserDict
        """All of it, as a plain dict."""
        for key in self._values:
            self[key]
        return self._values

    @property
    def encodings(self) -> list[Encoding]:
        if self._encodings is None:
            self._encodings = [self._encoding(i) for i in range(self._n)]
        return self._encodings

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, partial):
            value = self._values[key] = value()
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_values", ()):
            return self[name]
        raise AttributeError(f"no {name!r} in this BatchEncoding, only {', '.join(self.__dict__.get('_values', ()))}")

    def __copy__(self) -> "BatchEncoding":
        return BatchEncoding(dict(self._values), self._encoding, self._n)

    copy = __copy__

    def tokens(self, index: int = 0) -> list[str]:
        return self._one(index).tokens

    def word_ids(self, index: int = 0) -> list[int | None]:
        return self._one(index).words

    def sequence_ids(self, index: int = 0) -> list[int | None]:
        return self._one(index).sequence

    def _one(self, index: int) -> Encoding:
        return self._encodings[index] if self._encodings is not None else self._encoding(range(self._n)[index])
