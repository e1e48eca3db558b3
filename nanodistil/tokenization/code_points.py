"""What becomes of each code point on its way to a word, as one table for the compiled scan.

The definition asks five questions about a character, one after the other, and remembers the answers. Asked about all
1,114,112 code points at once they become an array: `actions[c]` says that c stays, is white space, stands by itself,
vanishes, becomes another character, or becomes several, which then stand in `expansions`. The numbers are those of
kernels/cpu/wordpiece.py.

The array is 4 MB, of which the system hands out only the pages that are touched. Filling it takes 5 to 8 ms, since only
the 3,000 characters to which something happens are looked at one by one.

Marks. After decomposition each run of combining marks is put in canonical order. Nearly all marks are dropped right
after, so the order shows only if a mark that survives has another one beside it. Such pairs are what the flags MARK
and SURVIVOR are for: the scan stops at them, and the text is left to the definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization.wordpiece import Normalizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HANGUL, HANGUL_END = 0xAC00, 0xD7A4


class CodePoints(NamedTuple):
    actions: NDArray[np.int32]  # (0x110000,)
    expansions: NDArray[np.int32]  # [n, element, ..., element] for each code point that becomes several
    growth: int  # what is n bytes long becomes at most n * growth words


def code_points(normalizer: Normalizer, scan: Any) -> CodePoints:
    """The table for one setting of the normalizer's switches. `scan`: cpu/wordpiece.py, which names the numbers."""
    import numpy as np

    word_split = np.zeros(0x110000, np.int32)  # how the second step sees a character: most are scan.WORD, 0
    for name, kind in (("punctuation", scan.ALONE), ("white_space", scan.SPACE)):
        for start, end in unicode.ranges(name):
            word_split[start:end] = kind

    actions = word_split.copy()
    if normalizer.sets_apart:
        for start, end in unicode.ranges("ideographs"):
            actions[start:end] = scan.ALONE
    dropped: set[str] = set()
    classes: dict[str, int] = {}
    if normalizer.strips:
        classes = unicode.combining_classes()
        for start, end in unicode.ranges("nonspacing"):
            actions[start:end] = scan.DROP
            dropped.update(map(chr, range(start, end)))
        for c in classes:
            actions[ord(c)] |= scan.MARK if c in dropped else scan.SURVIVOR

    lower = unicode.changes("lower") if normalizer.lowers else {}
    decomposition = unicode.changes("decomposition") if normalizer.strips else {}
    expansions, growth = [0], 1  # place 0 is nobody's
    for c in {**decomposition, **lower}:
        marks = 0
        for x in decomposition.get(c, c):
            if x in classes:
                marks |= scan.MARK if x in dropped else scan.SURVIVOR
        text = "".join([lower.get(x, x) for x in decomposition.get(c, c) if x not in dropped])
        elements = [ord(x) | int(word_split[ord(x)]) << scan.ELEMENT_KIND for x in text]
        if normalizer.sets_apart and actions[ord(c)] == scan.ALONE and not word_split[ord(c)]:
            elements = [scan.SPACE << scan.ELEMENT_KIND, *elements, scan.SPACE << scan.ELEMENT_KIND]
        if not elements:
            actions[ord(c)] = scan.DROP | marks
        elif len(elements) == 1 and elements[0] < 1 << scan.ELEMENT_KIND:
            actions[ord(c)] = scan.ONE | marks | elements[0] << scan.ARGUMENT
        else:
            actions[ord(c)] = scan.MANY | marks | len(expansions) << scan.ARGUMENT
            expansions += [len(elements), *elements]
            growth = max(growth, -(-len(text) // len(c.encode())))
    syllables = _hangul(np.arange(HANGUL, HANGUL_END)) if normalizer.strips else np.zeros((0, 4), np.int64)
    if normalizer.strips:
        places = len(expansions) + 4 * np.arange(len(syllables))
        actions[HANGUL:HANGUL_END] = scan.MANY | places << scan.ARGUMENT
    if normalizer.cleans:  # the first thing that happens to a character, so it has the last word here
        for name, kind in (("cleaned_to_space", scan.SPACE), ("dropped", scan.DROP)):
            for start, end in unicode.ranges(name):
                actions[start:end] = kind
    table = np.concatenate([np.array(expansions, np.int32), syllables.ravel().astype(np.int32)])
    return CodePoints(actions, table, growth)


def _hangul(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """(S,) -> (S, 4): for each syllable [number of jamo, lead, vowel, tail], the tail unused if there is none."""
    import numpy as np

    lead, rest = np.divmod(code - HANGUL, 21 * 28)
    vowel, tail = np.divmod(rest, 28)
    return np.stack([np.where(tail, 3, 2), 0x1100 + lead, 0x1161 + vowel, 0x11A7 + tail], axis=1)
