"""What a model remembers of texts, in pages, in the order in which the kernels multiply; nothing is ever moved.

Definition: Rows in remembered.py.

A text that grows by a token a step would be copied at every step, if its keys lay in one matrix. So they lie in pages
of PAGE tokens, and a text is a list of the numbers of its pages. A page holds, of every head, what attention.py copies
together for each call: the keys as panels, scaled and turned, and the values as panels. So a step writes its own token,
and the tile reads the rest as it lies:

    keys     (H, PAGE / COLUMNS, Dh, COLUMNS)    a token is a column of a panel
    values   (H, Dh / COLUMNS, PAGE, COLUMNS)    a token is a row of each panel

Texts that begin alike share pages: a copy takes over the whole ones by number and copies only the last, which both will
write into. So the beams of a search, or several answers to a prompt, cost no more than what they differ in.

A page is PIECE tokens: averaged values are sums in pieces of so many, so page by page the same additions come in the
same order, and no bit differs from a text computed anew. Scores and softmax are attention.py's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..definitions.remembered import Numbered
from ..definitions.sentences import Sentences
from ..runtime.jit import helper, kernel
from ..runtime.memory import KEPT, aligned, empty, room
from ..runtime.native import Rows
from ..runtime.place import Place
from ..runtime.pool import run
from .attention import (
    NOTHING,
    QKV,
    QUERIES,
    furthest,
    hide_beyond,
    scale_of,
    whole_panels,
    whole_rows,
)
from .short_batches import MOST_ROWS, Recordings
from .softmax import softmax_block
from .tile import COLUMNS, PIECE, ROWS, multiply

NOTHING_MASKED = np.zeros(0, np.bool_)
PAGE = PIECE  # tokens
FIRST = 16  # pages that there is room for at first

Array = NDArray[np.float32]
Ints = NDArray[np.int64]


class Kept(NamedTuple):
    """The pages of one layer, and which of them are whose."""

    keys: Any  # (pages, H Dh PAGE), flat
    values: Any  # (pages, H whole_panels(Dh) PAGE), flat
    table: Any  # (B, most) numbers of each text's pages
    before: Any  # (B,) tokens that each text has already


class Paged(NamedTuple):
    """Keys or values of one head of one text."""

    numbers: Any  # of all pages, flat
    pages: Any  # numbers of the text's pages
    size: int  # numbers of a page
    at: int  # where in a page this head's begin


@helper()
def place_of(x: Paged, token: int) -> int:
    """Where the page begins that a token stands in."""
    return int(x.pages[token // PAGE]) * x.size + x.at


@helper()
def keep_key(x: Place, token: int, Dh: int, scale: Any, keys: Paged) -> None:
    """One token's key, scaled, into its column of a panel."""
    slot = token % PAGE
    there = np.uint64(place_of(keys, token) + slot // COLUMNS * Dh * COLUMNS + slot % COLUMNS)
    for d in range(Dh):
        keys.numbers[there + np.uint64(d * COLUMNS)] = x.numbers[np.uint64(x.at + d)] * scale


@helper()
def keep_value(x: Place, token: int, Dh: int, values: Paged) -> None:
    """One token's value, into its row of each panel; zeros beyond Dh."""
    begin = place_of(values, token) + token % PAGE * COLUMNS
    for left in range(0, whole_panels(Dh), COLUMNS):
        there = np.uint64(begin + left * PAGE)
        for j in range(COLUMNS):
            values.numbers[there + np.uint64(j)] = x.numbers[np.uint64(x.at + left + j)] if left + j < Dh else NOTHING


@helper()
def score_pages(n: int, q: Place, keys: Paged, Dh: int, seen: int, zeros: Any, out: Place) -> None:
    """n queries against the first `seen` keys: out (n, out.step), in whole panels."""
    for left in range(0, whole_panels(seen), COLUMNS):
        panel = Place(keys.numbers, place_of(keys, left) + left % PAGE * Dh, COLUMNS)
        for row in range(0, n, ROWS):
            here = Place(q.numbers, q.at + row * q.step, q.step)
            there = Place(out.numbers, out.at + row * out.step + left, out.step)
            multiply(min(ROWS, n - row), here, panel, Place(zeros, 0, 0), there, Dh)


@helper()
def context_pages(n: int, probs: Place, values: Paged, Dh: int, seen: int, zeros: Any, tile: Any, out: Place) -> None:
    """The first `seen` values, averaged for n queries: probs (n, seen) -> out (n, Dh). tile: (ROWS COLUMNS,)."""
    for left in range(0, Dh, COLUMNS):
        whole = left + COLUMNS <= Dh  # the tile writes whole panels
        for row in range(0, n, ROWS):
            rows, there = min(ROWS, n - row), out.at + row * out.step + left
            sums = Place(out.numbers, there, out.step) if whole else Place(tile, 0, COLUMNS)
            for first in range(0, seen, PAGE):
                here = Place(probs.numbers, probs.at + row * probs.step + first, probs.step)
                panel = Place(values.numbers, place_of(values, first) + left * PAGE, COLUMNS)
                start = sums if first else Place(zeros, 0, 0)
                multiply(rows, here, panel, start, sums, min(PAGE, seen - first))
            if not whole:
                for r in range(rows):
                    for j in range(Dh - left):
                        out.numbers[there + r * out.step + j] = tile[r * COLUMNS + j]


@kernel()
def attention_pages(start: int, stop: int, x: QKV, who: Sentences, kept: Kept, out: Any) -> None:
    """Work items start..stop, item = sentence * heads + head: keep k, v (N, A), and attend: q (M, A) -> out (M, A)."""
    (q, k, v), heads = x, who.heads
    reach: Any = who.reach
    A = out.shape[1]
    Dh = A // heads
    scale, flat = scale_of(Dh), out.reshape(-1)
    most = 0
    for b in range(len(who.starts) - 1):
        most = max(most, kept.before[b] + who.starts[b + 1] - who.starts[b])
    scores = room(QUERIES * whole_rows(most))
    zeros, tile, numbers = np.zeros(COLUMNS, np.float32), room(ROWS * COLUMNS), room(QUERIES)
    for item in range(start, stop):
        b, head = item // heads, item % heads
        left, before, first = head * Dh, kept.before[b], who.starts[b]
        keys = Paged(kept.keys, kept.table[b], A * PAGE, head * Dh * PAGE)
        wide = whole_panels(Dh)
        values = Paged(kept.values, kept.table[b], heads * wide * PAGE, head * wide * PAGE)
        for t in range(who.starts[b + 1] - first):
            keep_key(Place(k.numbers, (first + t) * k.step + left, k.step), before + t, Dh, scale, keys)
            keep_value(Place(v.numbers, (first + t) * v.step + left, v.step), before + t, Dh, values)
        last = who.asking[b + 1]
        for row in range(who.asking[b], last, QUERIES):
            n = min(QUERIES, last - row)
            seen = before + furthest(reach, row, row + n, 0)
            width = whole_rows(seen)
            score_pages(
                n, Place(q.numbers, row * q.step + left, q.step), keys, Dh, seen, zeros, Place(scores, 0, width)
            )
            for r in range(n):
                hide_beyond(scores, r * width, before + reach[row + r], width)
            softmax_block(n, scores, width, numbers)
            averaged = Place(flat, row * A + left, A)
            context_pages(n, Place(scores, 0, width), values, Dh, seen, zeros, tile, averaged)


class Pages(Numbered):
    """What a model remembers of texts: see Remembered in remembered.py. `attend` is for the texts reserved last."""

    def __init__(self, widths: Sequence[int], head: int) -> None:
        """widths: A of every layer; head: Dh, of all."""
        super().__init__()
        self.keys = [aligned(0, width * PAGE) for width in widths]  # of each layer: (pages, A PAGE)
        self.values = [aligned(0, width // head * wide(head) * PAGE) for width in widths]
        self.users: list[int] = []  # how many texts each page belongs to
        self.free: list[int] = []
        self.pages: list[list[int]] = []  # of each text
        self.table, self.before = np.zeros((0, 0), np.int64), np.zeros(0, np.int64)  # of what was reserved last
        self.recordings = Recordings()

    def _another(self) -> int:
        self.pages.append([])
        return super()._another()

    def copy(self, parents: Ints) -> Ints:
        children = self.join(len(parents))
        for child, parent in zip(children.tolist(), parents.tolist(), strict=True):
            length = self._lengths[child] = self._lengths[parent]
            whole = self.pages[parent][: length // PAGE]
            for page in whole:
                self.users[page] += 1
            self.pages[child] = list(whole)
            if length % PAGE:
                self.pages[child].append(self._twin(self.pages[parent][length // PAGE]))
        return children

    def clear(self) -> bool:
        self.pages, self._lengths, self.gone = [], [], []
        self.users = [0] * len(self.users)
        self.free = list(range(len(self.users) - 1, -1, -1))
        return sum(array.nbytes for array in (*self.keys, *self.values)) <= KEPT

    def cut(self, who: Ints, lengths: Ints) -> None:
        super().cut(who, lengths)
        for text, length in zip(who.tolist(), lengths.tolist(), strict=True):
            needed = -(-length // PAGE)
            for page in self.pages[text][needed:]:
                self._let_go(page)
            del self.pages[text][needed:]
            if length % PAGE and self.users[page := self.pages[text][-1]] > 1:  # it will be written into
                self.pages[text][-1] = self._twin(page)
                self._let_go(page)

    def reserve(self, who: Ints, counts: Ints) -> None:
        for text, count in zip(who.tolist(), counts.tolist(), strict=True):
            while len(self.pages[text]) * PAGE < self._lengths[text] + count:
                self.pages[text].append(self._page())
        rows = [self.pages[text] for text in who.tolist()]
        width = -(-max(map(len, rows), default=0) // FIRST) * FIRST  # so it stays what it is for a while
        self.table = np.zeros((len(rows), width), np.int64)
        for b, pages in enumerate(rows):
            self.table[b, : len(pages)] = pages
        self.before = self.lengths[who]

    def short(self, inputs: list[Ints], compute: Callable[..., Array]) -> Array | None:
        """See Remembered. A recording is for so many texts, while pages lie where they do."""
        if len(inputs[0]) > MOST_ROWS:
            return None
        told = self.table, self.before

        def with_tables(ids: Ints, positions: Ints, table: Ints, before: Ints) -> Array:
            self.table, self.before = table, before
            return compute(ids, positions)

        try:
            return self.recordings.answer((self.table.shape, len(self.users)), inputs, list(told), with_tables)
        finally:
            self.table, self.before = told

    def attend(self, layer: int, texts: Ints, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """See Remembered."""
        out = empty(*q.shape)
        kept = Kept(self.keys[layer].reshape(-1), self.values[layer].reshape(-1), self.table, self.before)
        told = who._replace(keep=NOTHING_MASKED)
        run(attention_pages, len(texts) * who.heads, QKV(Rows(q), Rows(k), Rows(v)), told, kept, out)
        return out

    def _page(self) -> int:
        """The number of a page that nobody has."""
        if not self.free:
            self._grow()
        page = self.free.pop()
        self.users[page] = 1
        return page

    def _grow(self) -> None:
        """Twice as many pages. What they hold is copied, so seldom that a token pays for one copy of itself at most."""
        old = len(self.users)
        new = max(FIRST, 2 * old)
        for store in (self.keys, self.values):
            for layer, array in enumerate(store):
                store[layer] = aligned(new, array.shape[1])
                store[layer][:old] = array
        self.users += [0] * (new - old)
        self.free += range(new - 1, old - 1, -1)

    def _let_go(self, page: int) -> None:
        self.users[page] -= 1
        if not self.users[page]:
            self.free.append(page)

    def _twin(self, page: int) -> int:
        """A page with the same in it."""
        twin = self._page()
        for store in (self.keys, self.values):
            for array in store:
                array[twin] = array[page]
        return twin


def wide(head: int) -> int:
    """Dh in whole panels: whole_panels outside of kernels, which would have it compiled."""
    return -(-head // COLUMNS) * COLUMNS
