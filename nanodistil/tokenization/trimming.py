"""Offsets without the spaces that a token takes along: RoBERTa's " world" is at 6:11 of "Hello world", GPT-2's at 5:11.

It is done last, to what a call returns: after the text was cut to length. That shows where spaces are added in front
(add_prefix_space): the first token of every window keeps its one space, as it may have been added, and so does any
token at the very start of a text. It counts spaces in the token, not in the text, and added tokens take theirs along
in the same way: " <mask>" is at the place of "<mask>".
"""

from __future__ import annotations

from dataclasses import replace

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.tokenization.bpe import ByteBPE
from nanodistil.tokenization.byte_level import SPACE
from nanodistil.tokenization.encoding import Encoding
from nanodistil.tokenization.pieces import Span


def around(token: str) -> tuple[int, int]:
    """How many spaces a token begins and ends with; all of one that is nothing else count twice.

    >>> around("Ġworld"), around("ĠĠ"), around(" <mask>")
    ((1, 0), (2, 2), (1, 0))
    """
    if not token or not (_is_space(token[0]) or _is_space(token[-1])):
        return 0, 0
    return _leading(token), _leading(token[::-1])


def _is_space(c: str) -> bool:
    return c == SPACE or unicode.is_white_space(c)


def _leading(token: str) -> int:
    return next((i for i, c in enumerate(token) if not _is_space(c)), len(token))


def trimmed(span: Span, spaces: tuple[int, int], keeps_first: bool) -> Span:
    """A token's place without its spaces. keeps_first: whether one at its beginning may have been added.

    >>> trimmed((5, 11), (1, 0), False), trimmed((0, 1), (1, 1), True)
    ((6, 11), (0, 0))
    """
    (start, end), (leading, trailing) = span, spaces
    if leading > 1 or (leading and not keeps_first):
        start = min(start + leading, end)
    if trailing and end >= trailing:
        end = max(end - trailing, start)
    return start, end


def finish(pieces: ByteBPE, encoding: Encoding) -> Encoding:
    """A text as a call returns it, before anything is put around it."""
    if pieces.trims is None:
        return encoding
    offsets = [
        trimmed(span, around(token), pieces.trims and (i == 0 or span[0] == 0))
        for i, (span, token) in enumerate(zip(encoding.offsets, encoding.tokens, strict=True))
    ]
    return replace(encoding, offsets=offsets)
