"""The compiled way from texts to tokens for byte-level BPE: the tables of one tokenizer for kernels/cpu/bpe.py.

As scanner.py, whose batches these are; but added tokens are cut out in both rounds beforehand, since nothing is
normalized, and are told in the result by the word they are, since trimmed tokens may start at the same place.

What it leaves to the definition: texts with a word of over 1,000 bytes, or with added tokens that take the same spaces,
and whole tokenizers in which two merges make the same token, or a byte has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization.added_tokens import AddedTokens, Cut
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import bytes_of
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import Frame
from nanodistil.tokenization.scanned import WORDS, Scanned
from nanodistil.tokenization.scanner import LARGEST_ID, Longs, Scanner
from nanodistil.tokenization.trimming import around, finish

MOST_SPACES = 1000


class ByteScanned(Scanned):
    """The result: added tokens are told by their words."""

    named_by = WORDS


class ByteScanner(Scanner):
    """The tables of one tokenizer. Raises ValueError for what is left to the definition."""

    made = ByteScanned
    rows_of_out = 5

    def __init__(self, bpe: ByteBPE, added: AddedTokens, scan: Any) -> None:
        ids = np.fromiter(bpe.vocabulary.values(), np.int64, len(bpe.vocabulary))
        made = np.array([(*pair, new) for pair, (_, new) in bpe.merges.items()], np.int64).reshape(-1, 3)
        if min(bpe.of_byte) < 0 or ids.min() < 0 or max(ids.max(), *added.tokens, 0) > LARGEST_ID:
            raise ValueError("unusual ids")
        if len(made) != len(bpe.pairs) or len(np.unique(made[:, 2])) < len(made) or np.bincount(ids).max() > 1:
            raise ValueError("a token that is made in two ways")
        self.scan, self.added, self.maker = scan, added, bpe
        self.growth, self.workspaces = 1 + bpe.adds_space, []
        self.names = bpe.names
        self.integers = np.arange(max(ids.max(), *added.tokens, 0) + 1).astype(object)
        pairs = np.zeros((1 << (2 * len(made) + 1).bit_length(), 2), np.int64)
        scan.fill_pairs(pairs, made)
        spaces = np.zeros(len(self.integers), np.int64)
        for token, number in bpe.vocabulary.items():
            spaces[number] = self._spaces(token)
        self.rules = scan.Rules(_sorts(scan), np.array(bpe.of_byte, np.int64), pairs, spaces)
        self.table = self._table_of_words()

    def _table_of_words(self) -> Any:
        """The tokens that are words by themselves, as their bytes."""
        known, scan = bytes_of(), self.scan
        spelt = [(token, number) for token, number in self.maker.vocabulary.items() if known.keys() >= set(token)]
        encoded = [bytes([known[c] for c in token]) for token, _ in spelt]
        ends = np.cumsum([len(part) for part in encoded])
        ids = [number for _, number in spelt]
        entries = np.stack([np.concatenate([[0], ends[:-1]]), ends, ids], axis=1).astype(np.int32)
        tokens = np.frombuffer(b"".join(encoded), np.uint8)
        entries = np.ascontiguousarray(entries[scan.leading_to_themselves(entries, tokens, self.rules)])
        slots = np.zeros(1 << (2 * len(entries)).bit_length(), np.int64)
        scan.fill_table(slots, entries, tokens, len(entries))
        return scan.Table(slots, entries, tokens)

    def _settings(self, frame: Frame) -> list[int]:
        trims = self.maker.trims if frame.finished else None
        return [self.maker.adds_space, -1 if trims is None else trims]

    def _cut(self, text: str) -> list[Cut]:
        found = self.added.cut_raw(text)
        if not self.added.any_normalized:
            return found
        cuts: list[Cut] = []
        for start, end, number in found:
            if number is not None:
                cuts.append((start, end, number))
            else:
                cuts += [(start + a, start + b, inner) for a, b, inner in self.added.cut_normalized(text[start:end])]
        return cuts

    def _spaces(self, token: str) -> int:
        leading, trailing = around(token)
        if max(leading, trailing) > MOST_SPACES:
            raise ValueError("a token of spaces")
        return leading << 16 | trailing

    def _named(self, names: dict[int, dict[int, str]], cuts: Longs, table: Longs) -> dict[int, dict[int, str]]:
        at = table[:, self.scan.CUTS].tolist()
        words = cuts[:, 4].tolist()
        return {i: dict(zip(words[at[i] : at[i + 1]], found.values(), strict=True)) for i, found in names.items()}

    def _finish(self, found: Encoding, frame: Frame) -> Encoding:
        return finish(self.maker, found) if frame.finished else found


def _sorts(scan: Any) -> NDArray[np.uint8]:
    """Of every code point, what sort of character it is."""
    sorts = np.full(0x110000, scan.OTHER, np.uint8)
    for name, sort in (("letters", scan.LETTER), ("numbers", scan.NUMBER), ("white_space", scan.SPACE)):
        for start, end in unicode.ranges(name):
            sorts[start:end] = sort
    return sorts
