"""Cutting texts to a length: how many tokens each text of a pair keeps, and the windows that hold the rest.

A text that is cut becomes a row of windows, all of the same length but the last; the first one is what a truncating
call returns, the others come as rows of their own if `return_overflowing_tokens` asks for them. Neighbours share
`stride` tokens. If both texts of a pair are cut, every window of one meets every window of the other.

Cutting follows the fast tokenizer, also where the slow one of the same name does otherwise: when both texts of a pair
must shrink, the odd token goes to the second (or to the longer). If not even the special tokens fit the length asked
for, nothing is cut at all: the reference's subtraction wraps around, and its results are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import NamedTuple

from nanodistil.tokenization.encoding import Encoding
from nanodistil.weights.errors import InputError, excerpt


class Truncation(NamedTuple):
    """How to cut: to `length` tokens with the special ones, by "longest_first", "only_first" or "only_second"."""

    strategy: str
    length: int
    stride: int = 0
    side: str = "right"  # where tokens are taken away
    rest: bool = False  # whether the windows after the first are wanted


def windows(text: Encoding, length: int, stride: int = 0, side: str = "right") -> Iterator[Encoding]:
    """The text in stretches of `length` tokens, `stride` of them shared with the stretch before; at least one.

    Raises InputError if that gets nowhere. A length of 0 gives an empty stretch and then the whole text.

    >>> text = Encoding(list("abcde"), [0] * 5, [], [], [], [], [], {0: range(5)})
    >>> ["".join(window.ids) for window in windows(text, 3, 2)], ["".join(w.ids) for w in windows(text, 2, side="left")]
    (['abc', 'bcd', 'cde'], ['de', 'bc', 'a'])
    """
    n = len(text)
    if n <= length:
        yield text
    elif length == 0:
        yield text.part(0, 0)
        yield text
    elif stride >= length:
        raise InputError(f"stride={stride} must be less than the {length} tokens a window has room for; lower it")
    else:
        for start in range(0, n - stride, length - stride):
            end = min(start + length, n)
            yield text.part(start, end) if side == "right" else text.part(n - end, n - start)


Windows = list[tuple[Encoding, Encoding | None]]


def truncate(a: Encoding, b: Encoding | None, cut: Truncation, around: int = 0) -> Windows:
    """A text or a pair as windows that fit, with `around` special tokens, `cut.length`; the first is what is kept.

    longest_first takes from the longer until both are equally long, then from both. Raises InputError if the text
    that is to shrink is missing, or would have to vanish.
    """
    length = cut.length - around
    excess = len(a) + (len(b) if b else 0) - length
    if excess <= 0 or length < 0:
        return [(a, b)]
    for_a, for_b = _shares(len(a), len(b) if b else None, length, excess, cut.strategy)
    count = None if cut.rest else 1
    firsts = list(islice(windows(a, for_a, cut.stride, cut.side), count))
    if b is None:
        return [(first, None) for first in firsts]
    seconds = list(islice(windows(b, for_b, cut.stride, cut.side), count))
    pairs = list(product(firsts, seconds))
    n = len(seconds)
    return [pairs[0], *pairs[n:], *pairs[1:n]]  # what goes with the very first window comes last, as in the reference


def _shares(n: int, m: int | None, length: int, excess: int, strategy: str) -> tuple[int, int]:
    """How many tokens of n, and of m, are kept."""
    if length == 0:
        return 0, 0
    if strategy == "longest_first":
        if m is None:
            return length, 0
        shorter, longer = sorted((n, m))
        longer = shorter if shorter > length else max(shorter, length - shorter)
        if shorter + longer > length:
            shorter, longer = length // 2, length - length // 2
        return (longer, shorter) if n > m else (shorter, longer)
    target = n if strategy == "only_first" else m
    if target is None:
        raise InputError("truncation='only_second' needs a text_pair; pass one, or use 'longest_first'")
    if target <= excess:
        raise InputError(f"truncation={excerpt(strategy)} would leave nothing of that text; raise max_length")
    kept = target - excess
    return (kept, m or 0) if strategy == "only_first" else (n, kept)
