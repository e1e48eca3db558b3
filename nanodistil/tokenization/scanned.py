"""The tokens of a batch as the compiled scan leaves them: four long arrays; and lists or rectangles made of them.

Python lists are what a tokenizer is expected to return and what costs most once the scan is fast: a list of a million
numbers takes longer to make than the numbers. So a list is made when it is asked for, ids are taken from a stock of
integers that exist already (8 bytes an id and not 40), and a rectangle for NumPy is filled without any list.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import Frame, Padding, same_width

IDS, STARTS, ENDS, WORDS = range(4)
MANY = 1000  # tokens from which on the stock of integers pays


class Scanned:
    """B texts as tokens. Text i has count[i] of them, from first[i] on in each row of `out`."""

    named_by = STARTS

    def __init__(
        self,
        out: NDArray[np.int32],  # (4, capacity) or more: id, start, end, word; word -1 for a token put in
        first: NDArray[np.int64],  # (B,)
        count: NDArray[np.int64],  # (B,)
        names: dict[int, str],  # the vocabulary, id -> token
        added: dict[int, dict[int, str]],  # text -> what an added token has in row `named_by` -> as it stands there
        frame: Frame,
        integers: NDArray[Any],  # integers[i] is the object i
    ) -> None:
        self.out, self.names, self.added, self.frame, self.integers = out, names, added, frame, integers
        self.first: list[int] = first.tolist()
        self.lengths: list[int] = count.tolist()  # without padding
        self.padding: Padding | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(self.lengths, default=0)

    def pad(self, padding: Padding) -> None:
        self.padding = padding

    def lists(self, key: str) -> list[Any]:
        """What a call returns under `key`: a list for each text, padded."""
        if key == "input_ids":
            return self._padded(self._slices(IDS), self.padding.number if self.padding else 0)
        if key == "attention_mask":
            return self._padded([[1] * n for n in self.lengths], 0)
        if key == "token_type_ids":
            return self._padded([[0] * n for n in self.lengths], 0)
        if key == "special_tokens_mask":
            return self._padded([[int(word < 0) for word in row] for row in self._slices(WORDS)], 1)
        if key == "offset_mapping":
            pairs = zip(self._slices(STARTS), self._slices(ENDS), strict=True)
            return self._padded([list(zip(starts, ends, strict=True)) for starts, ends in pairs], (0, 0))
        if key == "overflow_to_sample_mapping":
            return list(range(len(self.lengths)))
        return [max(n, self.padding.length if self.padding else 0) for n in self.lengths]  # "length"

    def only(self, key: str) -> Any:
        """The same for a single text, without the outer list; lengths stay a list, as in the reference."""
        return self.lists(key) if key == "length" else self.lists(key)[0]

    def array(self, key: str) -> NDArray[np.int64]:
        """The same as one array, (B, T) or (B, T, 2). Raises InputError if the texts differ in length."""
        if key in ("length", "overflow_to_sample_mapping"):
            return np.array(self.lists(key), np.int64)
        width = same_width(self.lists("length"))
        real = np.arange(width) < np.array(self.lengths)[:, None]  # (B, T)
        if self.padding and self.padding.side == "left":
            real = real[:, ::-1]
        at = self._columns()
        if key == "offset_mapping":
            pairs = np.zeros((*real.shape, 2), np.int64)
            pairs[real] = self.out[STARTS : ENDS + 1, at].T
            return pairs
        filler = {"input_ids": self.padding.number if self.padding else 0, "special_tokens_mask": 1}.get(key, 0)
        values = np.full(real.shape, filler, np.int64)
        if key == "input_ids":
            values[real] = self.out[IDS, at]
        elif key == "special_tokens_mask":
            values[real] = self.out[WORDS, at] < 0
        else:
            values[real] = key == "attention_mask"
        return values

    def flat(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of all texts one after the other, (N,), and how many each has, (B,); without padding."""
        return self.out[IDS, self._columns()], np.array(self.lengths, np.int64)

    def encoding(self, i: int, sequence: int = 0, type_id: int = 0) -> Encoding:
        """All that is known of text i, padded. `sequence`: 0, or 1 for the second text of a pair."""
        columns = slice(self.first[i], self.first[i] + self.lengths[i])
        ids, starts, ends, words = self.out[:4, columns].tolist()
        special = [int(word < 0) for word in words]
        tokens = [self.names.get(number, "") for number in ids]
        for k, at in enumerate((ids, starts, ends, words)[self.named_by]) if i in self.added else ():
            if not special[k]:
                tokens[k] = self.added[i].get(at, tokens[k])
        if self.frame.before:
            tokens[0] = self.frame.before[0]
        if self.frame.after:
            tokens[-1] = self.frame.after[0]
        n = len(ids)
        found = Encoding(
            ids,
            [type_id] * n,
            tokens,
            list(zip(starts, ends, strict=True)),
            [None if word < 0 else word for word in words],
            special,
            [1] * n,
            {sequence: range(bool(self.frame.before), n - bool(self.frame.after))},
        )
        return found.pad(*self.padding) if self.padding else found

    def _slices(self, row: int) -> list[list[int]]:
        values, firsts = self.out[row], self.first
        if row == IDS and sum(self.lengths) > MANY:
            values = self.integers.take(values[self._columns()])
            firsts = [0, *accumulate(self.lengths[:-1])]
        return [values[a : a + n].tolist() for a, n in zip(firsts, self.lengths, strict=True)]

    def _columns(self) -> NDArray[np.int64]:
        """Where in `out` the tokens of all texts stand, one text after the other."""
        count = np.array(self.lengths, np.int64)
        before = np.cumsum(count) - count
        return np.asarray(np.repeat(np.array(self.first) - before, count) + np.arange(count.sum()))

    def _padded(self, rows: list[Any], filler: Any) -> list[Any]:
        if self.padding is None:
            return rows
        length = self.padding.length
        if self.padding.side == "right":
            return [row + [filler] * (length - len(row)) for row in rows]
        return [[filler] * (length - len(row)) + row for row in rows]
