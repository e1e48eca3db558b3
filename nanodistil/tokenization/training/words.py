"""The words of texts, each once, with how often it occurs: all that training keeps of a text.

Words are those that the tokenizer itself cuts, in the letters that its tokens are made of: bytes in the alphabet of
byte_level.py, or normalized characters. To cut is the slow part, and texts say the same again and again. So first
stretches are counted that no word reaches across, white space and what stands behind it, which is cheap, and each
different one is cut once. When there are many, or texts without white space (Chinese) have been held for long, those so
far are cut and forgotten; so memory grows with the words and not with the texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization import wordpiece
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import spelled, word_pattern
from nanodistil.tokenization.wordpiece import WordPiece
from nanodistil.weights.errors import InputError, excerpt

MOST_STRETCHES = 1 << 18
MOST_CHARACTERS = 1 << 25  # of texts whose stretches are held


def count_words(texts: Iterable[Any], pieces: WordPiece | ByteBPE) -> Counter[str]:
    """The words of all texts, as `pieces` cuts them.

    texts: strings, or lists of strings. Raises InputError for anything else, and for lone surrogates.

    >>> count_words(["It's 5, it's 6.", ["Ünder  5"]], WordPiece({}))
    Counter({'it': 2, "'": 2, 's': 2, '5': 2, ',': 1, '6': 1, '.': 1, 'under': 1})
    >>> count_words(["It's 5, it's 6."], ByteBPE({}, []))
    Counter({"'s": 2, 'It': 1, 'Ġ5': 1, ',': 1, 'Ġit': 1, 'Ġ6': 1, '.': 1})
    """
    stretches, cut = (_stretch(), word_pattern().findall) if isinstance(pieces, ByteBPE) else _of_wordpiece(pieces)
    words: Counter[str] = Counter()
    held: Counter[str] = Counter()
    size = 0

    def let_go() -> None:
        for stretch, count in held.items():
            for word in cut(stretch):
                words[word] += count
        held.clear()

    for text in _single(texts):
        if isinstance(pieces, ByteBPE) and pieces.gets_space(text):
            text = " " + text
        held.update(stretches.findall(text))
        size += len(text)
        if len(held) > MOST_STRETCHES or size > MOST_CHARACTERS:
            let_go()
            size = 0
    let_go()
    return Counter({spelled(word): words[word] for word in words}) if isinstance(pieces, ByteBPE) else words


def _stretch() -> re.Pattern[str]:
    """White space and what stands behind it: of GPT-2's words each lies in one of these, whatever is beside it."""
    space = unicode.character_class("white_space")
    return re.compile(f"[{space}]*[^{space}]+|[{space}]+")


def _of_wordpiece(pieces: WordPiece) -> tuple[re.Pattern[str], Callable[[str], list[str]]]:
    normalized, find = pieces.normalizer.text, wordpiece.word_pattern().findall
    return pieces.chunk, lambda chunk: find(normalized(chunk))


def _single(texts: Iterable[Any]) -> Iterator[str]:
    """One text after the other. Raises InputError."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise InputError(f"texts to train on must be an iterable of strings, or of lists of them, not {excerpt(texts)}")
    for one in texts:
        for text in [one] if isinstance(one, str) else one if isinstance(one, Iterable) else [one]:
            if not isinstance(text, str):
                raise InputError(f"a text must be a string, not {type(text).__name__} {excerpt(text)}")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"a text holds a lone surrogate at {error.start}; read it with errors='replace'"
                ) from None
            yield text
