"""From checked texts to framed tokens: the five hands of a tokenizer but the last, padding.

Which way a text goes: as long as little text has come by, the definition (definition.py); then the compiled scan
(scanner.py), which gives the same tokens fifty times as fast and is worth loading only for that much text. Texts given
as words, and texts whose special tokens are to be split, always go by the definition.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.added_tokens import AddedToken, AddedTokens
from nanodistil.tokenization.definition import encode
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import Encodings, Frame
from nanodistil.tokenization.texts import Pairs
from nanodistil.tokenization.tokenizer_json import Backend
from nanodistil.tokenization.truncation import Truncation, truncate
from nanodistil.tokenization.wordpiece import Normalizer, WordPiece

if TYPE_CHECKING:
    from nanodistil.tokenization.rows import Rows
    from nanodistil.tokenization.scanner import Scanner

logger = logging.getLogger("nanodistil.tokenization")

ENOUGH = 50_000  # characters after which the compiled scan is loaded: they take the definition 20 ms
ENOUGH_FOR_NUMBA = 1_000_000  # the same where Numba must be started first, which takes half a second


def around(pair: bool) -> int:
    """Special tokens around a text, or around and between the texts of a pair."""
    return 3 if pair else 2


class Encoder:
    """What `backend` describes, with the normalizer's switches of the class and the added tokens so far."""

    def __init__(self, backend: Backend, normalizer: Normalizer) -> None:
        self.backend = backend
        self.wordpiece = WordPiece(
            backend.vocabulary, normalizer, backend.unknown, backend.prefix, backend.longest_word
        )
        self.added = AddedTokens(backend.vocabulary, (backend.normalizer or normalizer).text)
        self.names = {number: token for token, number in backend.vocabulary.items()}  # and added tokens
        self.scanner: Scanner | None = None
        self.seen: int | None = 0  # characters of text so far; None: the scan was loaded, or cannot be

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Add tokens; how many were new. Raises InputError as AddedTokens.add does."""
        self.scanner, self.seen = None, 0  # its tables hold the tokens so far
        tokens = [token for token in tokens if token.content]
        count = self.added.add(tokens)
        self.names.update((self.added.ids[token.content], token.content) for token in tokens)
        return count

    def rows(
        self,
        pairs: Pairs,
        frame: bool = True,
        cut: Truncation | None = None,
        split_special: bool = False,
        words: bool = False,
    ) -> Encodings | Rows:
        """All texts, truncated and framed. Raises InputError where they cannot be cut as asked for.

        pairs: checked texts, as strings or, if `words`, as lists of words. frame: whether [CLS] and [SEP] go around.
        split_special: whether special tokens in the text are text like any other.
        """
        scanner = None if split_special or words else self._scanner_for(pairs)
        simple = cut is None or not (cut.strategy == "only_second" or cut.stride or cut.rest)
        if scanner and simple and all(b is None for _, b in pairs):
            cls, sep = (self.backend.cls, self.backend.sep) if frame else (None, None)
            room = cut.length - around(False) * frame if cut else -1
            return scanner.rows([a for a, _ in pairs], Frame(cls, sep, room, bool(cut and cut.side == "left")))
        rows = scanner.rows([a for a, _ in pairs] + [b for _, b in pairs if b is not None]) if scanner else None
        encodings, text_of = [], []
        seconds = len(pairs)
        for i, (a, b) in enumerate(pairs):
            second: Encoding | None = None
            if rows:
                first = rows.encoding(i)
                if b is not None:
                    second = rows.encoding(seconds, 1)
                    seconds += 1
            else:
                first = encode(a, self.added, self.wordpiece, 0, split_special)
                if b is not None:
                    second = encode(b, self.added, self.wordpiece, 1, split_special)
            if cut is None:
                windows = [(first, second)]
            else:
                windows = truncate(first, second, cut, around(second is not None) * frame)
            encodings.extend([self._framed(*window) if frame else _joined(*window) for window in windows])
            text_of.extend([i] * len(windows))
        return Encodings(encodings, text_of)

    def _framed(self, a: Encoding, b: Encoding | None) -> Encoding:
        """[CLS] A [SEP] or [CLS] A [SEP] B [SEP]; B and the last [SEP] have type 1."""
        (cls, cls_id), (sep, sep_id) = self.backend.cls, self.backend.sep
        first = range(1, 1 + len(a))
        if b is None:
            return Encoding(
                [cls_id, *a.ids, sep_id],
                [0, *a.type_ids, 0],
                [cls, *a.tokens, sep],
                [(0, 0), *a.offsets, (0, 0)],
                [None, *a.word_ids, None],
                [1, *a.special_tokens_mask, 1],
                [1, *a.attention_mask, 1],
                {0: first},
            )  # a line each and not two additions: a third of the time of a short text
        return Encoding(
            [cls_id, *a.ids, sep_id, *b.ids, sep_id],
            [0, *a.type_ids, 0, *b.type_ids, 1],
            [cls, *a.tokens, sep, *b.tokens, sep],
            [(0, 0), *a.offsets, (0, 0), *b.offsets, (0, 0)],
            [None, *a.word_ids, None, *b.word_ids, None],
            [1, *a.special_tokens_mask, 1, *b.special_tokens_mask, 1],
            [1, *a.attention_mask, 1, *b.attention_mask, 1],
            {0: first, 1: range(first.stop + 1, first.stop + 1 + len(b))},
        )

    def _scanner_for(self, pairs: Pairs) -> Scanner | None:
        """The compiled scan, once enough text has come by to be worth loading it; None: the definition."""
        if self.seen is not None:
            self.seen += sum([len(a) + len(b or "") for a, b in pairs])
            if self.seen >= (ENOUGH if "numba" in sys.modules else ENOUGH_FOR_NUMBA):
                self.scanner, self.seen = self.load_scanner(), None
        return self.scanner

    def load_scanner(self) -> Scanner | None:
        """The compiled scan for these tokens, or None where there is none."""
        from nanodistil.backend import wordpiece_scan

        scan = wordpiece_scan()
        if scan is None:
            return None
        from nanodistil.tokenization.scanner import Scanner

        try:
            return Scanner(self.wordpiece, self.added, scan)
        except ValueError as error:  # what it does not do is slow, and the same
            logger.info("tokens are found without the compiled scan: %s", error)
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "scanner": None, "seen": 0}


def _joined(a: Encoding, b: Encoding | None) -> Encoding:
    return a if b is None else a + b
