"""The text of an answer as its tokens come: each piece as soon as it is sure, and all pieces together the whole.

A token may end within a character, and then its piece is nothing, and the next one's has both. Where the text ends
before certain words, what may yet become one of them is held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PART = "�"  # as which half a character is decoded


class Telling:
    """The text of one answer. stops: before the first of which it ends.

    >>> from nanodistil import AutoTokenizer
    >>> told = Telling(AutoTokenizer.from_pretrained("nanodistil-mini"), [" sat"])
    >>> [told.add(token) for token in (1996, 4937, 2938)], told.end(), told.stopped  # the cat sat
    (['the', ' cat', ''], '', True)
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.recent: list[int] = []  # tokens whose text may still change, or what stands before it
        self.out = 0  # characters of theirs that are taken
        self.held = ""  # what may be the beginning of a stop
        self.length = 0  # characters that came so far, held back or not
        self.stopped = False

    def add(self, token: int) -> str:
        """What is sure of the text now, behind what was told before."""
        self.recent.append(token)
        text = self._text()
        sure = text[:-1] if text.endswith(PART) else text
        new, self.out = sure[self.out :], max(self.out, len(sure))
        if sure == text:  # what comes next changes nothing of this; the last token stays, as what it stands behind
            self.recent = self.recent[-1:]
            self.out = len(self._text())
        return self._past_stops(new)

    def end(self) -> str:
        """The rest."""
        new = self._past_stops(self._text()[self.out :])
        rest, self.held, self.recent, self.out = self.held, "", [], 0
        return new + rest

    def _text(self) -> str:
        return str(self.tokenizer.decode(self.recent, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _past_stops(self, new: str) -> str:
        """What may be told of what is held and new."""
        self.length += len(new)
        if self.stopped:
            return ""
        text = self.held + new
        places = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self.held = True, ""
            return text[: min(places)]
        keep = max((_begun(text, stop) for stop in self.stops), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text are the beginning of a stop.

    >>> _begun("what is ab", "abc"), _begun("ab, or", "abc")
    (2, 0)
    """
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
