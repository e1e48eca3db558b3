"""Why a word became its tokens in byte-level BPE: every merge, in the order in which they were made, with its rank."""

from __future__ import annotations

from collections.abc import Iterator

from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import word_pattern
from nanodistil.tokenization.explanation import Word

MOST = 40  # merges of a word that are told


def merged(bpe: ByteBPE, text: str) -> Iterator[Word]:
    """The words of a stretch of text, placed in it.

    >>> letters = {c: i for i, c in enumerate("Ġlower")}
    >>> bpe = ByteBPE({**letters, "er": 6, "lo": 7, "low": 8}, [("e", "r"), ("l", "o"), ("lo", "w")])
    >>> for word in merged(bpe, "low lower e"):
    ...     print(repr(word.text), word.start, word.end, word.tokens, word.why)
    'low' 0 3 ['low'] merges: l+o (2), lo+w (3)
    ' lower' 3 9 ['Ġ', 'low', 'er'] merges: e+r (1), l+o (2), lo+w (3)
    ' e' 9 11 ['Ġ', 'e'] no two neighbours are in the list of merges
    """
    at = 0
    if bpe.gets_space(text):
        text, at = " " + text, -1
    for match in word_pattern().finditer(text):
        start, end = max(0, at + match.start()), at + match.end()
        ids, sizes, _ = bpe.begun(match[0])
        parts = [bpe.names[number] for number in ids]
        numbers, told = list(ids), []
        for left, right in bpe.steps(ids, sizes):
            rank, _ = bpe.merges[numbers[left], numbers[right]]
            told.append(f"{parts[left]}+{parts[right]} ({rank + 1})")
            parts[left], numbers[left] = parts[left] + parts[right], ids[left]
        found = [number for number, size in zip(ids, sizes, strict=True) if size]
        yield Word(match[0], start, max(end, start), [bpe.names[i] for i in found], found, _why(told, match[0]))


def _why(told: list[str], word: str) -> str:
    if told:
        more = f" and {len(told) - MOST} more" * (len(told) > MOST)
        return f"merges: {', '.join(told[:MOST])}{more}"
    if len(word.encode()) == 1:
        return "one byte"
    return "no two neighbours are in the list of merges"
