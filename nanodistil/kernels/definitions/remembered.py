"""Keys and values of texts that are written on: kept, so that a token more costs one row and not the whole text.

A token of a causal model is never seen by those before it. So their keys and values in every layer stay what they were,
and the next token needs them, and nothing else of them. `Rows` is the definition: of each text and layer two matrices,
to which rows are added; attention is that of any text whose last rows ask. A compiled backend has a store that copies
nothing (kernels/cpu/pages.py) and gives the same bits as if the whole text were computed anew.

Texts have numbers. `reserve` comes before the layers of a forward pass, `fed` behind them: a pass that was interrupted
has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .sentences import Sentences

Array = NDArray[np.floating]
Ints = NDArray[np.int64]


class Remembered(Protocol):
    """What a model remembers of texts."""

    @property
    def lengths(self) -> Ints:
        """(S,) tokens of each text, by number; 0 of those that left."""

    def join(self, count: int) -> Ints:
        """(count,) numbers of new texts, which are empty."""

    def leave(self, who: Ints) -> None:
        """These are no longer needed; their numbers may be given again."""

    def copy(self, parents: Ints) -> Ints:
        """Numbers of new texts that begin as copies of others."""

    def cut(self, who: Ints, lengths: Ints) -> None:
        """Forget the tokens of text who[i] from number lengths[i] on."""

    def reserve(self, who: Ints, counts: Ints) -> None:
        """Make room for counts[i] more tokens of text who[i]."""

    def attend(self, layer: int, texts: Ints, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        """Keep the keys and values of new tokens, and attend to all of a text: (M, A), 2 x (N, A) -> (M, A).

        texts: (B,) numbers of the sentences of `who`, whose reach counts the new tokens alone.
        """

    def fed(self, who: Ints, counts: Ints) -> None:
        """The tokens that were reserved are kept, in all layers."""

    def short(self, inputs: list[Ints], compute: Callable[..., Array]) -> Array | None:
        """compute(*inputs) for one new token of each text that was reserved, from a recording; None if there is none.

        inputs: ids and positions. compute: asks the backend, and `attend`, for everything; a third argument is who
        answers instead of the backend.
        """

    def clear(self) -> bool:
        """Forget all texts. Whether it is small enough to be kept for others."""


class Numbered:
    """Texts by number, and how long each is: what all stores have in common. Who left gives his number to another."""

    def __init__(self) -> None:
        self._lengths: list[int] = []
        self.gone: list[int] = []  # numbers of texts that left

    @property
    def lengths(self) -> Ints:
        return np.array(self._lengths, np.int64)

    def join(self, count: int) -> Ints:
        return np.array([self.gone.pop() if self.gone else self._another() for _ in range(count)], np.int64)

    def _another(self) -> int:
        """A number that no text has had."""
        self._lengths.append(0)
        return len(self._lengths) - 1

    def leave(self, who: Ints) -> None:
        self.cut(who, np.zeros(len(who), np.int64))
        self.gone += who.tolist()

    def cut(self, who: Ints, lengths: Ints) -> None:
        for text, length in zip(who.tolist(), lengths.tolist(), strict=True):
            self._lengths[text] = length

    def fed(self, who: Ints, counts: Ints) -> None:
        for text, count in zip(who.tolist(), counts.tolist(), strict=True):
            self._lengths[text] += count


class Rows(Numbered):
    """The definition, for any backend: attention is its own.

    >>> from nanodistil.kernels.definitions import numpy_ops
    >>> kept, x = Rows(numpy_ops.attention, 1), np.arange(8.0).reshape(4, 2) / 8
    >>> whole = Sentences(np.array([0, 4]), np.array([0, 4]), 1, None).causal(lambda x: x)
    >>> text, got = kept.join(1), []
    >>> for some in (slice(0, 3), slice(3, 4)):
    ...     n = np.array([some.stop - some.start])
    ...     who = Sentences(np.array([0, n[0]]), np.array([0, n[0]]), 1, None).causal(lambda x: x)
    ...     got.append(kept.attend(0, text, x[some], x[some], x[some], who))
    ...     kept.fed(text, n)
    >>> bool(np.allclose(np.concatenate(got), numpy_ops.attention(x, x, x, whole))), kept.lengths
    (True, array([4]))
    """

    def __init__(
        self,
        attention: Callable[..., Array],
        layers: int,
        send: Callable[[Any], Any] = np.asarray,
        fetch: Callable[[Any], Any] = np.asarray,
    ) -> None:
        """send, fetch: between here and where the backend computes; rows are kept here."""
        super().__init__()
        self.attention, self.layers, self.send, self.fetch = attention, layers, send, fetch
        self.kept: list[list[list[Array]]] = []  # of each text, of each layer: keys (T, A) and values

    def _another(self) -> int:
        self.kept.append([[] for _ in range(self.layers)])
        return super()._another()

    def leave(self, who: Ints) -> None:
        super().leave(who)
        for text in who:
            self.kept[text] = [[] for _ in range(self.layers)]

    def copy(self, parents: Ints) -> Ints:
        children = self.join(len(parents))
        for child, parent in zip(children, parents, strict=True):
            self._lengths[child] = self._lengths[parent]
            self.kept[child] = [list(layer) for layer in self.kept[parent]]
        return children

    def reserve(self, who: Ints, counts: Ints) -> None:
        pass

    def attend(self, layer: int, texts: Ints, q: Array, k: Array, v: Array, who: Sentences) -> Array:
        before, whole = self.lengths[texts], []
        for which, new in enumerate((self.fetch(k), self.fetch(v))):
            for b, text in enumerate(texts):
                kept = self.kept[text][layer]
                kept.extend([new[:0]] * (which + 1 - len(kept)))
                kept[which] = np.concatenate([kept[which][: before[b]], new[who.starts[b] : who.starts[b + 1]]])
            whole.append(self.send(np.concatenate([self.kept[text][layer][which] for text in texts])))
        starts = who.starts + np.concatenate([[0], np.cumsum(before)])
        reach = self.fetch(who.reach) + np.repeat(before, np.diff(who.asking))
        return self.attention(q, *whole, who._replace(starts=starts, reach=self.send(reach)))

    def short(self, inputs: list[Ints], compute: Callable[..., Array]) -> Array | None:
        return None

    def clear(self) -> bool:
        return False
