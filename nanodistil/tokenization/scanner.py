"""The compiled way from texts to tokens: the tables of one tokenizer, laid out for kernels/cpu/wordpiece.py.

The definition (wordpiece.py, added_tokens.py) says what the tokens are; this gives the same ones, fifty times as fast.
A batch goes through as one piece of memory: the texts are joined as UTF-8, added tokens ([MASK], ...) are cut out
beforehand, by the definition, and reach the scan as places in the bytes; ids, offsets and word numbers come back as
four long arrays, from which lists are made when somebody asks for them (scanned.py).

The tables of 30,000 tokens take 10 to 20 ms to lay out, so a tokenizer that sees one sentence never does.

What it leaves to the definition: texts with a combining mark that survives normalization beside another one
(code_points.py), or with added tokens that take the same spaces, and whole tokenizers that have added tokens to be
found in the normalized text, two tokens of the same id, a token with a lone surrogate, or words of more than 1,000
characters.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.tokenization.added_tokens import AddedTokens, Cut
from nanodistil.tokenization.code_points import code_points
from nanodistil.tokenization.definition import encode
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import NO_FRAME, Frame
from nanodistil.tokenization.scanned import ENDS, IDS, STARTS, WORDS, Scanned
from nanodistil.tokenization.truncation import Truncation, truncate
from nanodistil.tokenization.wordpiece import WordPiece

LONGEST_WORD = 1000  # code points: the scan keeps a whole word in a buffer
LARGEST_ID = 10_000_000
PART = 1 << 16  # bytes of text that are worth a thread
LINES = 1 << 14  # of a word cache; 1.2 MB

Longs = NDArray[np.int64]


class Scanner:
    """The tables of one tokenizer. Raises ValueError for what is left to the definition."""

    maker: Any  # the definition
    made: type[Scanned] = Scanned
    rows_of_out = 4

    def __init__(self, wordpiece: WordPiece, added: AddedTokens, scan: Any) -> None:
        vocabulary, V = wordpiece.vocabulary, len(wordpiece.vocabulary)
        ids = np.fromiter(vocabulary.values(), np.int64, V)
        if added.any_normalized or wordpiece.longest_word > LONGEST_WORD or wordpiece.unknown not in vocabulary:
            raise ValueError("an unusual tokenizer")
        if ids.min() < 0 or ids.max() > LARGEST_ID or np.bincount(ids).max() > 1:
            raise ValueError("unusual ids")
        self.scan, self.added, self.maker = scan, added, wordpiece
        points = code_points(wordpiece.normalizer, scan)
        self.growth, self.rules = points.growth, scan.Rules(points.actions, points.expansions)
        self.table = self._hash_table(list(vocabulary), ids)
        self.names = {number: token for token, number in vocabulary.items()}
        self.integers = np.arange(max(ids.max(), *added.tokens, 0) + 1).astype(object)
        self.workspaces: list[Any] = []  # those nobody uses at the moment

    def _hash_table(self, names: list[str], ids: NDArray[np.int64]) -> Any:
        """Slots, entries (first byte, end, id) and bytes: all tokens as they begin a word, then the continuations."""
        encoded = [name.encode() for name in names]  # UnicodeEncodeError is a ValueError
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(names)))
        whole = np.stack([np.concatenate([[0], ends[:-1]]), ends, ids], axis=1)
        prefix = self.maker.prefix
        inner = whole[[name.startswith(prefix) for name in names]] + [len(prefix.encode()), 0, 0]
        entries = np.concatenate([whole, inner[inner[:, 0] < inner[:, 1]]]).astype(np.int32)
        slots = np.zeros(1 << (2 * len(entries)).bit_length(), np.int64)
        tokens = np.frombuffer(b"".join(encoded), np.uint8)
        self.longest = int((entries[:, 1] - entries[:, 0]).max())
        self.scan.fill_table(slots, entries, tokens, len(names))
        return self.scan.Table(slots, entries, tokens)

    def rows(self, texts: list[str], frame: Frame = NO_FRAME) -> Scanned:
        """The tokens of each text, with what `frame` puts around them."""
        scan, B = self.scan, len(texts)
        encoded = [text.encode() for text in texts]
        data = np.frombuffer(b"".join(encoded), np.uint8)
        table = np.zeros((B + 1, 5), np.int64)
        table[1:, scan.BYTES] = list(accumulate([len(part) for part in encoded]))
        cuts, names = self._cuts(texts, table)
        around = [frame.before[1] if frame.before else -1, frame.after[1] if frame.after else -1]
        settings = np.array([*self._settings(frame), self.growth, *around, frame.room, frame.from_left], np.int64)
        out = np.empty((self.rows_of_out, len(data) * self.growth + 2 * B), np.int32)
        batch = scan.Batch(self._parts(table), table, cuts, data)
        scan.scan_batch(batch, self.rules, self.table, settings, out, self.workspaces, LINES)
        names = self._named(names, cuts, table)
        for i, hard in enumerate(table[:B, scan.HARD].tolist()):
            if hard:
                found = self._by_definition(texts[i], table[i], frame, out)
                first = int(table[i, scan.FIRST])
                at = out[self.made.named_by, first : first + len(found)].tolist()
                spoken = zip(at, found.ids, found.tokens, found.word_ids, strict=True)
                names[i] = {at: t for at, number, t, w in spoken if w is not None and self.names.get(number) != t}
        return self.made(out, table[:B, scan.FIRST], table[:B, scan.COUNT], self.names, names, frame, self.integers)

    def _settings(self, frame: Frame) -> list[int]:
        """Those that the scan has beside what all have."""
        maker = self.maker
        return [maker.vocabulary[maker.unknown], maker.longest_word, self.longest, len(maker.vocabulary)]

    def _named(self, names: dict[int, dict[int, str]], cuts: Longs, table: Longs) -> dict[int, dict[int, str]]:
        """The strings of added tokens by what tells them in the result; names: by their starts."""
        return names

    def _cut(self, text: str) -> list[Cut]:
        """The added tokens of a text, and what lies between."""
        return self.added.cut_raw(text)

    def _spaces(self, token: str) -> int:
        """What the scan is told of an added token, as it stands in the text."""
        return 0

    def _finish(self, found: Encoding, frame: Frame) -> Encoding:
        """The last to be done to a text of the definition's, once it was cut."""
        return found

    def _cuts(self, texts: list[str], table: Longs) -> tuple[Longs, dict[int, dict[int, str]]]:
        """The added tokens in the texts, as places in the bytes, and what they are called: text -> start -> string."""
        scan, prefix = self.scan, self.added.prefix
        cuts: list[tuple[int, int, int, int, int]] = []
        names: dict[int, dict[int, str]] = {}
        for i, text in enumerate(texts):
            if prefix is None or prefix not in text:
                continue
            found = self._cut(text)
            if any(start < end for (_, end, _), (start, _, _) in pairwise(found)):
                table[i, scan.HARD] = 1  # one token begins with spaces that the one before took
                continue
            names[i] = {}
            byte = int(table[i, scan.BYTES])
            for start, end, number in found:
                begin = byte
                byte += end - start if text.isascii() else len(text[start:end].encode())  # cuts leave no gaps
                if number is not None:
                    cuts.append((begin, byte, number, self._spaces(text[start:end]), 0))
                    names[i][start] = text[start:end]
            table[i + 1, scan.CUTS] = len(names[i])
        if names:
            table[:, scan.CUTS] = list(accumulate(table[:, scan.CUTS].tolist()))
        return np.array(cuts, np.int64).reshape(-1, 5), names

    def _parts(self, table: Longs) -> Longs:
        """Texts in groups of about PART bytes: (P + 1, 2), the first text of each, and where in `out` it may write."""
        bounds = table[:, self.scan.BYTES]
        B, size = len(bounds) - 1, int(bounds[-1])
        if size <= PART:
            return np.array([[0, 0], [B, 0]], np.int64)
        first = np.unique(np.searchsorted(bounds[:B], np.arange(0, size, PART)))
        first = np.append(first[first < B], B)
        return np.stack([first, bounds[first] * self.growth + 2 * first], axis=1).astype(np.int64)

    def _by_definition(self, text: str, row: Longs, frame: Frame, out: NDArray[np.int32]) -> Encoding:
        """One text that the scan gave up on. Its place in `out` has room for whatever comes of it."""
        scan = self.scan
        found = encode(text, self.added, self.maker)
        if frame.room >= 0:
            side = "left" if frame.from_left else "right"
            (found, _), *_ = truncate(found, None, Truncation("longest_first", frame.room, side=side))
        found = self._finish(found, frame)
        if frame.before:
            found = Encoding.inserted(frame.before[1], frame.before[0]) + found
        if frame.after:
            found = found + Encoding.inserted(frame.after[1], frame.after[0])
        columns = slice(row[scan.FIRST], row[scan.FIRST] + len(found))
        out[IDS, columns] = found.ids
        out[STARTS, columns] = [start for start, _ in found.offsets]
        out[ENDS, columns] = [end for _, end in found.offsets]
        out[WORDS, columns] = [-1 if word is None else word for word in found.word_ids]
        row[scan.COUNT] = len(found)
        return found
