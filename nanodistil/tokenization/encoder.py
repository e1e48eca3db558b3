"""From checked texts to framed tokens: the five hands of a tokenizer but the last, padding.

Which way a text goes: as long as little text has come by, the definition (definition.py); then the compiled scan
(scanner.py for WordPiece), if the kind of tokenizer has one, which gives the same tokens fifty times as fast and is
worth loading only for that much text. Texts given as words, and texts whose special tokens are to be split, always go
by the definition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nanodistil.tokenization.added_tokens import AddedToken, AddedTokens
from nanodistil.tokenization.definition import encode
from nanodistil.tokenization.description import Description
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.encodings import NO_FRAME, Encodings, Frame
from nanodistil.tokenization.pieces import PieceMaker
from nanodistil.tokenization.texts import Pairs
from nanodistil.tokenization.truncation import Truncation, truncate

if TYPE_CHECKING:
    from nanodistil.tokenization.scanned import Scanned
    from nanodistil.tokenization.scanner import Scanner

ENOUGH = 50_000  # characters after which the compiled scan is loaded: they take the definition 20 ms
ENOUGH_FOR_NUMBA = 1_000_000  # the same if Numba must be started first, which takes half a second


class Encoder:
    """What `description` says, cut into pieces as the class wants it, with the added tokens so far.

    compiled: makes a compiled way to the same pieces, or None. finish: the last to be done to a text, once it was cut.
    """

    def __init__(
        self,
        description: Description,
        pieces: PieceMaker,
        compiled: Callable[[Any, AddedTokens], Any],
        finish: Callable[[Any, Encoding], Encoding],
    ) -> None:
        self.description, self.pieces, self.compiled, self.finish = description, pieces, compiled, finish
        self.vocabulary = pieces.vocabulary
        self.template = description.template
        self.around = self.template.around
        self.frame = self.template.frame()  # None: the compiled scan cannot put it around a text
        self.types = [self.template.type_of(*at) for at in ((0, False), (0, True), (1, True))]
        self.added = AddedTokens(self.vocabulary, description.pieces.normalizer.text)
        self.names = {number: token for token, number in self.vocabulary.items()}  # and added tokens
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
    ) -> Encodings | Scanned:
        """All texts, truncated and framed. Raises InputError if they cannot be cut as asked for.

        pairs: checked texts, as strings or, if `words`, as lists of words. frame: whether the special tokens go around.
        split_special: whether special tokens in the text are text like any other.
        """
        scanner = None if split_special or words else self._scanner_for(pairs)
        simple = cut is None or not (cut.strategy == "only_second" or cut.stride or cut.rest)
        if scanner and simple and self.frame and all(b is None for _, b in pairs):
            room = cut.length - self.around() * frame if cut else -1
            before, after, *_ = self.frame if frame else NO_FRAME
            around = Frame(before, after, room, bool(cut and cut.side == "left"), finished=True)
            return scanner.rows([a for a, _ in pairs], around)
        found = scanner.rows([a for a, _ in pairs] + [b for _, b in pairs if b is not None]) if scanner else None
        encodings, text_of = [], []
        alone, first_type, second_type = self.types
        seconds = len(pairs)
        for i, (a, b) in enumerate(pairs):
            second: Encoding | None = None
            if found:
                first = found.encoding(i, 0, alone if b is None else first_type)
                if b is not None:
                    second = found.encoding(seconds, 1, second_type)
                    seconds += 1
            else:
                first = encode(a, self.added, self.pieces, 0, split_special, alone if b is None else first_type)
                if b is not None:
                    second = encode(b, self.added, self.pieces, 1, split_special, second_type)
            if cut is None:
                windows = [(first, second)]
            else:
                windows = truncate(first, second, cut, self.around(second is not None) * frame)
            for kept, other in windows:
                if other is not None and other is not windows[0][1] and not frame:
                    other = replace(other, type_ids=[1] * len(other))  # whatever the first window has
                done = self.finish(self.pieces, kept), None if other is None else self.finish(self.pieces, other)
                encodings.append(self.template.framed(*done) if frame else _joined(*done))
            text_of.extend([i] * len(windows))
        return Encodings(encodings, text_of)

    def _scanner_for(self, pairs: Pairs) -> Scanner | None:
        """The compiled scan, once enough text has come by to be worth loading it; None: the definition."""
        if self.seen is not None:
            self.seen += sum([len(a) + len(b or "") for a, b in pairs])
            if self.seen >= (ENOUGH if "numba" in sys.modules else ENOUGH_FOR_NUMBA):
                self.scanner, self.seen = self.load_scanner(), None
        return self.scanner

    def load_scanner(self) -> Any:
        """The compiled scan for these tokens, or None if there is none."""
        return self.compiled(self.pieces, self.added)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "scanner": None, "seen": 0}


def _joined(a: Encoding, b: Encoding | None) -> Encoding:
    return a if b is None else a + b
