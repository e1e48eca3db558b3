"""Byte-pair encoding: from a string to the ids of GPT-2 and RoBERTa, with the place in the string of each.

What. A word (byte_level.py) begins as its bytes, one token each. A list of merges, in the order in which training found
them, says which two neighbours become one: of all neighbours in the word the pair that is highest in the list, of equal
ones the leftmost, is merged, again and again until no pair is in the list:

    Ġ l o w e r  ->  Ġ l o w er  ->  Ġ lo w er  ->  Ġ low er  ->  Ġlow er

Why this way. A word that was frequent in training is one token, a rare one several, and whatever nobody has ever seen
is bytes in the end: there is no unknown token. The ids index the rows of a trained table, so they are exactly those of
the fast tokenizer (`tokenizers` 0.22.2), and so are the offsets: a token covers all characters of which it has a byte.

How. The obvious loop looks for the best pair of the whole word once a merge, which is quadratic: a million letters
without a space would never end. Here the pairs wait in a heap by rank and place. A merge puts at most two new
pairs there; an old one whose halves have been merged meanwhile is recognised when it comes up, as the pair at that
place no longer makes the same token. So a word of n bytes takes n log n steps.

Speed. Words come back, so each is worked out once and remembered. kernels/cpu/bpe.py does the same work compiled.

add_prefix_space. A word that begins a text has no space before it, and so is another token than within the text. With
`adds_space` one is put there, which shares the place of the character it stands before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from heapq import heapify, heappop, heappush
from typing import Any

from nanodistil.tokenization.byte_level import alphabet, word_pattern
from nanodistil.tokenization.pieces import AsItIs, Pieces, Span

REMEMBERED = 50_000  # words: about 40 MB when full, then started afresh
LONGEST_REMEMBERED = 40  # characters of a word; longer ones hardly ever come twice
NONE = (-1, -1)

Pair = tuple[str, str]
Merges = dict[tuple[int, int], tuple[int, int]]  # two ids -> rank, and the id they become


class ByteBPE:
    """A vocabulary and its merges. unknown: the token of a byte that the vocabulary lacks; None: it is left out.

    Raises KeyError for a merge of, or into, a token that is not in the vocabulary; its argument is the token.

    >>> letters = {c: i for i, c in enumerate("Ġlower")}
    >>> bpe = ByteBPE({**letters, "er": 6, "lo": 7, "low": 8}, [("e", "r"), ("l", "o"), ("lo", "w")])
    >>> bpe("low lower")
    Pieces(ids=[8, 0, 8, 6], tokens=['low', 'Ġ', 'low', 'er'], spans=[(0, 3), (3, 4), (4, 7), (7, 9)],
           words=[0, 1, 1, 1], n_words=2)
    """

    normalizer = AsItIs()

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        pairs: Iterable[Pair],
        unknown: str | None = None,
        adds_space: bool = False,
        trims: bool | None = None,
    ) -> None:
        """pairs: the merges, the first to be made first. trims: see trimming.py."""
        self.vocabulary = vocabulary
        self.names = {number: token for token, number in vocabulary.items()}
        self.pairs = list(pairs)
        self.merges: Merges = {
            (vocabulary[a], vocabulary[b]): (rank, vocabulary[a + b]) for rank, (a, b) in enumerate(self.pairs)
        }
        self._start(unknown, adds_space, trims)

    def _start(self, unknown: str | None, adds_space: bool, trims: bool | None) -> None:
        self.or_nothing, self.adds_space, self.trims = unknown, adds_space, trims
        other = -1 if unknown is None else self.vocabulary[unknown]
        self.of_byte = [self.vocabulary.get(character, other) for character in alphabet()]
        self.remembered: dict[str, Pieces] = {}

    def with_settings(self, adds_space: bool, trims: bool | None) -> ByteBPE:
        """The same vocabulary with others."""
        new = copy(self)
        new._start(self.or_nothing, adds_space, trims)
        return new

    @property
    def unknown(self) -> str:
        """The token of what no other stands for; "" if there is no such thing."""
        return self.or_nothing or ""

    def identity(self) -> list[Any]:
        """What decides, beside the vocabulary, which ids a text becomes."""
        return ["BPE", self.or_nothing, self.adds_space, self.pairs]

    def steps(self, ids: list[int], sizes: list[int]) -> Iterator[tuple[int, int]]:
        """Merge in place. An id that was merged away has the size 0; yields after each merge the places of its halves.

        ids: of the bytes of a word. sizes: how many bytes each stands for.
        """
        n, merges = len(ids), self.merges
        after, before = list(range(1, n + 1)), list(range(-1, n - 1))
        pairs = (merges.get((ids[i], ids[i + 1]), NONE) for i in range(n - 1))
        waiting = [(rank, i, new) for i, (rank, new) in enumerate(pairs) if rank >= 0]
        heapify(waiting)
        while waiting:
            _, i, new = heappop(waiting)
            j = after[i]
            if not sizes[i] or j == n or merges.get((ids[i], ids[j]), NONE)[1] != new:
                continue
            ids[i], sizes[i], sizes[j] = new, sizes[i] + sizes[j], 0
            after[i] = after[j]
            if after[i] < n:
                before[after[i]] = i
            for left, right in ((before[i], i), (i, after[i])):
                if left >= 0 and right < n:
                    rank, made = merges.get((ids[left], ids[right]), NONE)
                    if rank >= 0:
                        heappush(waiting, (rank, left, made))
            yield i, j

    def begun(self, word: str) -> tuple[list[int], list[int], list[int]]:
        """A word's bytes that have a token: the ids, the size of each, and for each unit of size its character.

        If a byte has none and is left out, what comes after it moves into its place: so it does in the reference, which
        counts in bytes of the alphabet's characters.
        """
        raw = word.encode()
        ids, sizes = [self.of_byte[byte] for byte in raw], [1] * len(raw)
        places = [i for i, character in enumerate(word) for _ in character.encode()]
        if -1 in ids:
            widths = [len(alphabet()[byte].encode()) for byte in raw]
            places = [place for place, width in zip(places, widths, strict=True) for _ in range(width)]
            sizes = [width for width, number in zip(widths, ids, strict=True) if number >= 0]
            ids = [number for number in ids if number >= 0]
        return ids, sizes, places

    def _word(self, word: str) -> Pieces:
        """The tokens of one word."""
        ids, sizes, places = self.begun(word)
        for _ in self.steps(ids, sizes):
            pass
        names = self.names
        out = Pieces([], [], [], [], 1)
        at = 0
        for number, size in zip(ids, sizes, strict=True):
            if size:
                out.ids.append(number)
                out.tokens.append(names[number])
                out.spans.append((places[at], places[at + size - 1] + 1))
                at += size
        out.words.extend([0] * len(out.ids))
        return out

    def __call__(self, text: str) -> Pieces:
        ids: list[int] = []
        tokens: list[str] = []
        spans: list[Span] = []
        words: list[int] = []
        at, n_words, remembered = 0, 0, self.remembered
        if self.gets_space(text):
            text, at = " " + text, -1
        for word in word_pattern().findall(text):
            known = remembered.get(word)
            if known is None:
                known = self._word(word)
                if len(word) <= LONGEST_REMEMBERED:
                    if len(remembered) >= REMEMBERED:
                        remembered.clear()
                    remembered[word] = known
            ids.extend(known.ids)
            tokens.extend(known.tokens)
            spans.extend([(at + start, at + end) for start, end in known.spans])
            words.extend([n_words] * len(known.ids))
            at += len(word)
            n_words += 1
        if spans and spans[0][0] < 0:  # the space that was put there shares its neighbour's place
            spans[0] = (0, max(spans[0][1], 1))
        return Pieces(ids, tokens, spans, words, n_words)

    def split(self, characters: str, spans: list[Span]) -> Pieces:
        """The same for a part of a stretch, which begins at spans[0]: nothing is normalized here."""
        found = self(characters)
        at = spans[0][0] if spans else 0
        return found._replace(spans=[(at + start, at + end) for start, end in found.spans]) if at else found

    def gets_space(self, text: str) -> bool:
        """Whether a space is put before a text, or a stretch of it."""
        return self.adds_space and text != "" and text[0] != " "
