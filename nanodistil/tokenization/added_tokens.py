"""Tokens that are found in the text as they stand, before it is cut into words: [MASK], [SEP], and a user's own.

Two rounds. Tokens with normalized=False, all special ones among them, are cut out of the raw text first; the others
are matched in what the normalizer makes of the rest, themselves normalized, so that in an uncased model "NewTok" is
found in "newtok" and "NEWTOK" and also inside words. In each round the leftmost match wins, and of those the longest.

The bookkeeping follows the reference even if it is odd: a token that is added again with other flags keeps
matching as it did, in both rounds if need be, while `single_word`, `lstrip` and `rstrip` are those given last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from nanodistil.tokenization import unicode_tables as unicode
from nanodistil.weights.errors import CheckpointError, InputError, excerpt

MAX_ADDED = 200_000
REMEMBERED = 50_000  # keys of texts
KEY = 3  # characters by which tokens are found: few begin alike for longer
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
Cut = tuple[int, int, int | None]  # start, end, and the id of the token that stands there, None for ordinary text


@dataclass(frozen=True)
class AddedToken:
    """One token, and how it is found. Raises InputError for a content that is no string and a flag that is no bool.

    single_word: not with a letter, digit or mark beside it. lstrip, rstrip: takes the white space on that side with
    it. normalized: looked for in the normalized text; unless given, only ordinary tokens are. special: left out by
    decode(skip_special_tokens=True).

    >>> AddedToken("[X]", special=True).normalized, AddedToken("x").normalized
    (False, True)
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None  # None stands for `not special`, and is replaced by it
    special: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            raise InputError(f"the content of an added token must be a string, not {type(self.content).__name__}")
        for flag in FLAGS:
            if not isinstance(getattr(self, flag), bool) and (flag, self.normalized) != ("normalized", None):
                raise InputError(f"{flag}={excerpt(getattr(self, flag))} of an added token: must be True or False")
        object.__setattr__(self, "_normalized_by_default", self.normalized is None)
        if self.normalized is None:
            object.__setattr__(self, "normalized", not self.special)

    def as_special(self, special: bool = True) -> AddedToken:
        """The same token, special or not; if nobody has said whether it is normalized, that goes with it."""
        normalized = None if getattr(self, "_normalized_by_default", False) else self.normalized
        return AddedToken(self.content, self.single_word, self.lstrip, self.rstrip, normalized, special)

    def __str__(self) -> str:
        return self.content

    @classmethod
    def from_json(cls, value: Any, where: str) -> AddedToken:
        """From an object of one of the JSON files. Raises CheckpointError."""
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise CheckpointError(f"{where}: {excerpt(value)} is no added token, which has a content; correct it")
        given = {flag: value[flag] for flag in FLAGS if value.get(flag) is not None}
        for flag, on in given.items():
            if not isinstance(on, bool):
                name = value["content"][:40]
                raise CheckpointError(
                    f"{where}: {flag} of {excerpt(name)} is {excerpt(on)}, not true or false; correct it"
                )
        return cls(value["content"], **given)


class AddedTokens:
    """The added tokens of one tokenizer, in front of its vocabulary.

    >>> added = AddedTokens({"[UNK]": 0, "[MASK]": 1}, normalize=str.lower)
    >>> added.add([AddedToken("[MASK]", special=True, lstrip=True), AddedToken("NewTok")])
    2
    >>> added.ids, added.cut_raw("a [MASK]b"), added.cut_normalized("anewtok")
    ({'[MASK]': 1, 'NewTok': 2}, [(0, 1, None), (1, 8, 1), (8, 9, None)], [(0, 1, None), (1, 7, 2)])
    """

    def __init__(self, vocabulary: Mapping[str, int], normalize: Callable[[str], str]) -> None:
        self.vocabulary = vocabulary
        self.normalize, self._checked_with = normalize, normalize
        self._normal: dict[str, str] = {}  # content -> normalized
        self._finders: tuple[_Finder, _Finder] | None = None  # of the raw and of the normalized text; made when needed
        self.ids: dict[str, int] = {}
        self.tokens: dict[int, AddedToken] = {}  # as given last
        self.special: dict[str, AddedToken] = {}  # as given first
        self.ordinary: list[AddedToken] = []  # as given, each time
        self._highest = -1

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Add tokens: one the vocabulary holds keeps its id, another gets the next free one; how many were new.

        Raises InputError, with nothing changed, for a token of which the normalizer leaves nothing (it would be found
        nowhere, or everywhere), and for more than 200,000.
        """
        tokens = [token for token in tokens if token.content]
        entries = [] if self.normalize is self._checked_with else self._entries()
        if not all(self._normalized(token) for token in (*entries, *tokens) if token.normalized):
            raise InputError("an added token is normalized to nothing; set its `normalized` to False")
        if len(self.ids) + sum(token not in self.ids for token in {token.content for token in tokens}) > MAX_ADDED:
            raise InputError(f"more than {MAX_ADDED:,} added tokens; put them in the vocabulary")
        for token in tokens:
            if token.special:
                self.special.setdefault(token.content, token)
        self._checked_with = self.normalize
        new = 0
        before: dict[int, AddedToken] = {}
        known: set[AddedToken] = set()  # also those that are given other flags meanwhile: the reference's doing
        for token in tokens:
            if (number := self.ids.get(token.content)) is not None and number not in before:
                before[number] = self.tokens[number]
            if token in known or (number is not None and before[number] == token):
                continue
            known.add(token)
            number = self.ids.get(token.content, self.vocabulary.get(token.content))
            if number is None:
                number = max(len(self.vocabulary), self._highest + 1)
            self._highest = max(self._highest, number)
            self.ids[token.content] = number
            self.tokens[number] = token
            new += 1
            if token.content not in self.special:
                self.ordinary.append(token)
        self._finders = None
        return new

    def normalize_from_now_on(self, normalize: Callable[[str], str]) -> None:
        """Another normalizer. The tokens so far are looked for as they are until one is added, as in the reference."""
        self._both()
        self.normalize, self._normal = normalize, {}

    def _normalized(self, token: AddedToken) -> str:
        found = self._normal.get(token.content)
        if found is None:
            found = self._normal[token.content] = self.normalize(token.content)
        return found

    def _both(self) -> tuple[_Finder, _Finder]:
        """Made of all tokens at once, when the first text comes: so adding n of them takes n steps."""
        if self._finders is None:
            raw, normalized = _Finder(), _Finder()
            for token in self._entries():
                if token.normalized:
                    normalized.add(self._normalized(token), self.ids[token.content])
                else:
                    raw.add(token.content, self.ids[token.content])
            self._finders = raw, normalized
        return self._finders

    @property
    def prefix(self) -> str | None:
        """What all tokens begin with as they are looked for, usually "["; None if there are none."""
        ids = [content for finder in self._both() for content in finder.ids]
        return commonprefix(ids) if ids else None  # noqa: RUF071  # no paths

    def _entries(self) -> list[AddedToken]:
        return [*self.special.values(), *self.ordinary]

    @property
    def any_normalized(self) -> bool:
        return bool(self._both()[1].ids)

    def cut_raw(self, text: str, split_special: bool = False) -> list[Cut]:
        """The first round. `split_special`: special tokens are text like any other."""
        return self._cut(text, self._both()[0], split_special)

    def cut_normalized(self, text: str, split_special: bool = False) -> list[Cut]:
        """The second round, in normalized text."""
        return self._cut(text, self._both()[1], split_special)

    def _cut(self, text: str, finder: _Finder, split_special: bool) -> list[Cut]:
        cuts: list[Cut] = []
        done = 0
        for start, end, number in finder.find(text):
            token = self.tokens[number]
            beside = text[max(start - 1, 0) : start] + text[end : end + 1]
            if token.single_word and any(map(unicode.is_word, beside)):
                continue
            if split_special and token.content in self.special:
                continue
            if token.lstrip:
                while start > done and unicode.is_white_space(text[start - 1]):
                    start -= 1
                start = max(start, done)  # a token may begin with spaces that the one before took
            while token.rstrip and end < len(text) and unicode.is_white_space(text[end]):
                end += 1
            if done < start:
                cuts.append((done, start, None))
            cuts.append((start, end, number))
            done = end
        if done < len(text):
            cuts.append((done, len(text), None))
        return cuts


class _Finder:
    """Finds strings in a text: the leftmost, of those the longest, and goes on behind it.

    Not by one expression `a|b|c`, which tries each alternative at each place: 17,000 tokens took a second for a line.
    What begins at a place is looked up by its first KEY characters, which says how long the tokens are that begin so.

    >>> finder = _Finder()
    >>> for number, content in enumerate(["ab", "abcde", "b"]):
    ...     finder.add(content, number)
    >>> list(finder.find("xabcdb"))
    [(1, 3, 0), (5, 6, 2)]
    """

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self._lengths: dict[str, set[int]] = {}  # the first KEY characters of a token -> how long such tokens are
        self._known: dict[str, tuple[int, ...]] = {}  # of KEY characters of a text: all lengths, the longest first
        self._start: re.Pattern[str] | None = None

    def add(self, content: str, number: int) -> None:
        """Of two with the same content the first counts."""
        if content:
            self.ids.setdefault(content, number)
            self._lengths.setdefault(content[:KEY], set()).add(len(content))

    def find(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Start, end and id of each."""
        if not self.ids:
            return
        if self._start is None:
            self._start = re.compile(f"[{''.join(map(re.escape, sorted({content[0] for content in self.ids})))}]")
        search, ids, at = self._start.search, self.ids, 0
        while match := search(text, at):
            at = match.start()
            key = text[at : at + KEY]
            lengths = self._known.get(key)
            for length in self._lengths_of(key) if lengths is None else lengths:
                piece = text[at : at + length]
                if piece in ids:
                    yield at, at + len(piece), ids[piece]
                    at += len(piece)
                    break
            else:
                at += 1

    def _lengths_of(self, key: str) -> tuple[int, ...]:
        found = set().union(*(self._lengths.get(key[:n], ()) for n in range(1, len(key) + 1)))
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        return self._known.setdefault(key, tuple(sorted(found, reverse=True)))
