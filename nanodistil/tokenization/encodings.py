"""The rows of a batch as Encodings, and the lists or arrays made of them: scanned.py does it without Python objects."""

from __future__ import annotations

from typing import Any, NamedTuple

from nanodistil.tokenization.encoding import Encoding
from nanodistil.weights.errors import InputError

LISTS = {  # what a call may return -> where it stands in an Encoding
    "input_ids": "ids",
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}


class Frame(NamedTuple):
    """What stands around each text: a token before and one after (None: nothing), and how many are kept between."""

    before: tuple[str, int] | None = None
    after: tuple[str, int] | None = None
    room: int = -1  # -1: all
    from_left: bool = False  # where the others are taken away
    finished: bool = False  # whether all that is done to a text once it was cut is to be done, too


class Padding(NamedTuple):
    """What makes a text `length` tokens long: the pad token, and the side it goes to, "left" or "right"."""

    length: int
    number: int
    token: str
    side: str


NO_FRAME = Frame()


class Encodings:
    """R rows, more than texts if the windows after the first are rows too; `text_of[r]` is row r's text."""

    def __init__(self, encodings: list[Encoding], text_of: list[int]) -> None:
        self.encodings, self.text_of = encodings, text_of

    def __len__(self) -> int:
        return len(self.encodings)

    def longest(self) -> int:
        """Tokens of the longest first row of a text, which is what padding goes by."""
        firsts = dict(zip(reversed(self.text_of), reversed(self.encodings), strict=True))  # the last to be put in stays
        return max(map(len, firsts.values()), default=0)

    def pad(self, padding: Padding) -> None:
        self.encodings = [encoding.pad(*padding) for encoding in self.encodings]

    def encoding(self, i: int) -> Encoding:
        return self.encodings[i]

    def lists(self, key: str) -> list[Any]:
        """What a call returns under `key`: a list for each row, or a number."""
        if key == "overflow_to_sample_mapping":
            return list(self.text_of)
        return [len(e) for e in self.encodings] if key == "length" else [getattr(e, LISTS[key]) for e in self.encodings]

    def only(self, key: str) -> Any:
        """The same for a single text, without the outer list; lengths stay a list, as in the reference."""
        return self.lists(key) if key == "length" else self.lists(key)[0]

    def array(self, key: str) -> Any:
        """The same as one int64 array, (R, T), (R, T, 2) or (R,). Raises InputError if the rows differ in length."""
        import numpy as np

        rows = self.lists(key)
        if key not in LISTS:
            return np.array(rows, dtype=np.int64)
        width = same_width(list(map(len, rows)))
        return np.array(rows, dtype=np.int64).reshape(len(rows), width, *[2] * (key == "offset_mapping"))

    def flat(self) -> tuple[Any, Any]:
        """The ids of all rows one after the other, (N,) int32, and how many each has, (R,) int64."""
        import numpy as np

        ids = [number for encoding in self.encodings for number in encoding.ids]
        return np.array(ids, np.int32), np.array([len(e) for e in self.encodings], np.int64)


def same_width(lengths: list[int]) -> int:
    """The length that all have. Raises InputError if they differ."""
    if len(set(lengths)) > 1:
        raise InputError(f"return_tensors with texts of {min(lengths)} to {max(lengths)} tokens; pass padding=True")
    return lengths[0] if lengths else 0
