"""Text as bytes that can be seen, and as words: what GPT-2 and RoBERTa do before any vocabulary is asked.

Alphabet. A text is its UTF-8 bytes, and each byte is written as one character that prints, so a vocabulary of 256
characters can say every text and nothing is ever unknown. Bytes that are visible in Latin-1 stand for themselves; the
other 68 take the characters from U+0100 on, in order: a space is "Ġ", a line end "Ċ".

Words. No token reaches across the end of a word. GPT-2's pattern

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

cuts a text into words that take the space before them along: "It's 5 to  8" -> It 's " 5" " to" " " " 8". Of
several spaces the last goes to the word, and the others are a word themselves. Every character is in some word.

Which characters are letters and numbers changes with Unicode. The `regex` module of 2026 calls 17,480 characters
letters, numbers or neither that the fast tokenizer (0.22.2) calls otherwise, so the pattern is built from the sets that
one has (unicode_tables.py) and does not depend on what is installed.
"""

from __future__ import annotations

import re
from functools import cache

from nanodistil.tokenization import unicode_tables as unicode

SPACE = "Ġ"


@cache
def alphabet() -> tuple[str, ...]:
    """The character of each byte.

    >>> alphabet()[ord("a")], alphabet()[0], alphabet()[32], len(set(alphabet()))
    ('a', 'Ā', 'Ġ', 256)
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


@cache
def bytes_of() -> dict[str, int]:
    """And back: character -> byte."""
    return {character: byte for byte, character in enumerate(alphabet())}


def spelled(text: str) -> str:
    """A text in the alphabet.

    >>> spelled("é a")
    'Ã©Ġa'
    """
    characters = alphabet()
    return "".join([characters[byte] for byte in text.encode()])


def join(tokens: list[str]) -> str:
    """Tokens as a text: their bytes one after the other. What is no UTF-8 becomes U+FFFD.

    A token with any character outside the alphabet, which only an added one has, stands for itself as a whole.

    >>> join(["Ã©Ġa", "<x y>"]), join(["Ã"])
    ('é a<x y>', '\ufffd')
    """
    known, out = bytes_of(), bytearray()
    for token in tokens:
        try:
            out += bytes([known[character] for character in token])
        except KeyError:
            out += token.encode(errors="replace")
    return out.decode(errors="replace")


@cache
def word_pattern() -> re.Pattern[str]:
    """The pattern above.

    >>> word_pattern().findall("It's 5 to  8")
    ['It', "'s", ' 5', ' to', ' ', ' 8']
    """
    letters, numbers = unicode.character_class("letters"), unicode.character_class("numbers")
    space = unicode.character_class("white_space")
    return re.compile(
        f"'(?:[stmd]|re|ve|ll)| ?[{letters}]+| ?[{numbers}]+| ?[^{space}{letters}{numbers}]+"
        f"|[{space}]+(?![^{space}])|[{space}]+"
    )
