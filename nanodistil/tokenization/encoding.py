"""One text or pair as tokens, with everything known of each: what cutting, joining and padding work on.

An Encoding also answers where things are: which token a character went into, which characters a word has. Three ways
of counting meet there. Tokens are counted over the whole Encoding, [CLS] being token 0; words and characters are
counted within a text, so for a pair a question about them says which text is meant, 0 or 1. A question about a text
that is not there is answered from all tokens, as in the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from nanodistil.tokenization.pieces import Span


@dataclass(slots=True)
class Encoding:
    """One text or pair as tokens: lists of the same length, T, and the stretch of tokens each text takes up.

    `word_ids` counts words within a text, None for tokens put in; `offsets` are [start, end) in the text given, in code
    points (in the word, for a text given as words); `special_tokens_mask` is 1 for tokens put in.

    >>> hello = Encoding([5, 6], [0, 0], ["hell", "##o"], [(0, 4), (4, 5)], [0, 0], [0, 0], [1, 1], {0: range(2)})
    >>> framed = Encoding.inserted(2, "[CLS]") + hello
    >>> framed.char_to_token(4), framed.word_to_tokens(0), framed.token_to_chars(1), framed.sequence_ids
    (2, (1, 3), (0, 4), [None, 0, 0])
    """

    ids: list[int]
    type_ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int | None]
    special_tokens_mask: list[int]
    attention_mask: list[int]  # 1 = real token, 0 = padding
    ranges: dict[int, range]  # text, 0 or 1 -> its tokens

    @classmethod
    def inserted(cls, number: int, token: str, type_id: int = 0, count: int = 1, attention: int = 1) -> Encoding:
        """`count` times a token that is in no text: [CLS], [SEP], [PAD]."""
        return cls(
            ids=[number] * count,
            type_ids=[type_id] * count,
            tokens=[token] * count,
            offsets=[(0, 0)] * count,
            word_ids=[None] * count,
            special_tokens_mask=[1] * count,
            attention_mask=[attention] * count,
            ranges={},
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __add__(self, other: Encoding) -> Encoding:
        n = len(self)
        moved = {text: range(n + at.start, n + at.stop) for text, at in other.ranges.items()}
        values: list[Any] = [getattr(self, f) + getattr(other, f) for f in _LISTS]
        values.append({**self.ranges, **moved})
        return Encoding(*values)

    def part(self, start: int, stop: int) -> Encoding:
        """Tokens [start, stop) of a single text that nothing has been put around yet."""
        (text,) = self.ranges
        values: list[Any] = [getattr(self, f)[start:stop] for f in _LISTS]
        values.append({text: range(stop - start)})
        return Encoding(*values)

    def pad(self, length: int, number: int, token: str, side: str = "right") -> Encoding:
        """At least `length` tokens, the new ones not to be attended to."""
        if length <= len(self):
            return self
        padding = Encoding.inserted(number, token, count=length - len(self), attention=0)
        return self + padding if side == "right" else padding + self

    @property
    def sequence_ids(self) -> list[int | None]:
        """For each token the text it is from, None if it was put in."""
        out: list[int | None] = [None] * len(self)
        for text, at in self.ranges.items():
            out[at.start : at.stop] = [text] * len(at)
        return out

    @property
    def words(self) -> list[int | None]:
        """Another name for `word_ids`."""
        return self.word_ids

    @property
    def n_sequences(self) -> int:
        """1 for a text, 2 for a pair."""
        return max(1, len(self.ranges))

    # ---- what is where

    def token_to_sequence(self, token: int) -> int | None:
        """The text a token is from."""
        return next((text for text, at in self.ranges.items() if token in at), None)

    def token_to_word(self, token: int) -> int | None:
        """The word a token is part of."""
        return self.word_ids[token] if self.token_to_sequence(token) is not None else None

    def token_to_chars(self, token: int) -> Span | None:
        """The characters a token stands for."""
        return self.offsets[token] if self.token_to_sequence(token) is not None else None

    def word_to_tokens(self, word: int, sequence: int = 0) -> tuple[int, int] | None:
        """The tokens of a word, [first, end); None if it has none."""
        found = []
        for token in self._range(sequence):
            here = self.word_ids[token]
            if here == word:
                found.append(token)
            elif here is not None and here > word:
                break
        return (found[0], found[-1] + 1) if found else None

    def word_to_chars(self, word: int, sequence: int = 0) -> Span | None:
        """The characters of a word."""
        found = self.word_to_tokens(word, sequence)
        return (self.offsets[found[0]][0], self.offsets[found[1] - 1][1]) if found else None

    def char_to_token(self, char: int, sequence: int = 0) -> int | None:
        """The token a character went into; None for white space and for what was dropped between words."""
        return next((t for t in self._range(sequence) if self.offsets[t][0] <= char < self.offsets[t][1]), None)

    def char_to_word(self, char: int, sequence: int = 0) -> int | None:
        """The word a character is part of."""
        token = self.char_to_token(char, sequence)
        return None if token is None else self.token_to_word(token)

    def _range(self, sequence: int) -> range:
        return self.ranges.get(sequence, range(len(self)))


_LISTS = [f.name for f in fields(Encoding)][:-1]
