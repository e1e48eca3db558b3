"""What the fast BERT tokenizer believes about Unicode, frozen.

Python's own `unicodedata` changes with the interpreter (Unicode 14 in 3.11, 15 in 3.12, 15.1 in 3.13), and none of its
versions is the one the fast tokenizer was built with: that one is an old mixture which splits on U+166D, has never
heard of the punctuation U+061D, and holds 256 ideographs for no ideographs at all. Ids must not depend on the
interpreter, so every fact used is in unicode_tables.json, found by asking `tokenizers` 0.22.2 about all 1,112,064 code
points (tests/golden/tokenizer_unicode_tables.py, which also writes the file).

Sets are stored as sorted boundaries [start, end, start, end, ...]: a code point is in the set exactly when an odd
number of boundaries is at or below it. Only Hangul is computed, by the formula of the Unicode standard.
"""

import json
from bisect import bisect_right
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def _tables() -> dict[str, Any]:
    return dict(json.loads((files(__package__) / "unicode_tables.json").read_text(encoding="utf-8")))


def _member(name: str, c: str) -> bool:
    return bool(bisect_right(_tables()[name], ord(c)) & 1)


def ranges(name: str) -> list[tuple[int, int]]:
    """The named set as [start, end) of code points.

    >>> ranges("ideographs")[:2] == [(0x3400, 0x4DC0), (0x4E00, 0xA000)]
    True
    """
    bounds = _tables()[name]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def changes(name: str) -> dict[str, str]:
    """All characters that have a "lower" case or a "decomposition" (Hangul, which is computed, aside), with it."""
    return dict(_tables()[name])


def character_class(*names: str) -> str:
    """The inside of a regular expression's [...] that holds the named sets.

    >>> import re
    >>> re.findall(f"[{character_class('punctuation')}]", "don't «go»")
    ["'", '«', '»']
    """
    return "".join(f"\\U{start:08x}-\\U{end - 1:08x}" for name in names for start, end in ranges(name))


def clean(c: str) -> str:
    """Nothing for control, format and private-use characters, U+0000 and U+FFFD; a space for white space.

    >>> clean("\u200d"), clean("\u3000"), clean("x")
    ('', ' ', 'x')
    """
    return "" if _member("dropped", c) else " " if _member("cleaned_to_space", c) else c


def set_apart(c: str) -> str:
    """Spaces around Chinese characters as BERT counts them; kana and Hangul are not among them.

    >>> [set_apart(c) for c in "語ご한"], len(set_apart(chr(0x2B820)))  # the last: a hole the fast tokenizer has
    ([' 語 ', 'ご', '한'], 1)
    """
    return f" {c} " if _member("ideographs", c) else c


def drop_mark(c: str) -> str:
    """Nothing for a nonspacing mark, such as an accent that stands by itself after decomposition."""
    return "" if _member("nonspacing", c) else c


def is_white_space(c: str) -> bool:
    return _member("white_space", c)


def is_word(c: str) -> bool:
    """Letters, digits, marks, joiners: what may not stand beside an added token that must be a word of its own."""
    return _member("word", c)


def lower(c: str) -> str:
    """Lower case of one character by itself, so a final sigma is not treated as final.

    >>> lower("Σ"), lower("İ") == "i\\u0307"
    ('σ', True)
    """
    return str(_tables()["lower"].get(c, c))


def decompose(c: str) -> str:
    """Canonical decomposition (NFD) of one character.

    >>> decompose("é") == "e\\u0301", len(decompose("한"))
    (True, 3)
    """
    if "가" <= c <= "힣":
        lead, rest = divmod(ord(c) - 0xAC00, 21 * 28)
        vowel, tail = divmod(rest, 28)
        return chr(0x1100 + lead) + chr(0x1161 + vowel) + (chr(0x11A7 + tail) if tail else "")
    return str(_tables()["decomposition"].get(c, c))


@cache
def combining_classes() -> dict[str, int]:
    """Mark -> canonical combining class, for the 810 marks whose class is not 0."""
    return {
        chr(c): int(name)
        for name, bounds in _tables()["combining_class"].items()
        for start, end in zip(bounds[::2], bounds[1::2], strict=True)
        for c in range(start, end)
    }
