"""The seam to a model: sequences that grow, each of its own length, of which the model keeps what it computed.

    join -> feed, feed, feed ... -> leave
              copy: beams, several answers to one prompt        cut: what was guessed, and refused

generate() knows a model by these six names alone. There is no padding in them: a prompt's padding is dropped before,
and sequences join and leave at any step. `Uncached` is the definition: it keeps the ids alone, and computes everything
anew for every token. A model's cache must give the same numbers, and ours give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from nanodistil.backend import Array, Ints


class Decoding(Protocol):
    """Sequences under numbers, and what a model knows of each."""

    @property
    def lengths(self) -> Ints:
        """(S,) tokens fed so far, by number; what it says of numbers that left means nothing."""

    def feed(self, who: Ints, ids: Sequence[Ints], every: bool = False) -> Array:
        """Append ids[i], one or more tokens, to sequence who[i]; scores of the token that follows.

        (len(who), V) behind the last given one, or with every=True (sum of the lengths of ids, V) behind each.
        """

    def join(self, count: int) -> Ints:
        """(count,) numbers of new sequences, which are empty."""

    def leave(self, who: Ints) -> None:
        """These are no longer needed; their numbers may be given again."""

    def copy(self, parents: Ints) -> Ints:
        """Numbers of new sequences that begin as copies of others; a parent may be named several times."""

    def cut(self, who: Ints, lengths: Ints) -> None:
        """Forget the tokens of sequence who[i] from number lengths[i] on."""


class Writer(Protocol):
    """A model that generate() can ask. config: with vocab_size and max_position_embeddings; generation_config."""

    @property
    def config(self) -> Any:
        """Of the model."""

    @property
    def generation_config(self) -> Any:
        """What its files, or who loaded it, say of generation."""

    def decoding(self, use_cache: bool = True) -> Decoding:
        """Sequences of this model, with what it computed of them, or computing everything anew."""


class Uncached:
    """The definition: everything anew. logits: ids (T,) -> (T, V), scores of what follows each of them.

    >>> counting = Uncached(lambda ids: np.eye(5)[(ids + 1) % 5])  # after 3 comes 4
    >>> a, b = counting.join(2)
    >>> counting.feed(np.array([a, b]), [np.array([0, 1]), np.array([3])]).argmax(axis=1)
    array([2, 4])
    >>> counting.feed(np.array([a]), [np.array([2, 3])], every=True).argmax(axis=1), counting.lengths
    (array([3, 4]), array([4, 1]))
    """

    def __init__(self, logits: Callable[[Ints], Array]) -> None:
        self.logits = logits
        self.texts: list[Ints] = []

    @property
    def lengths(self) -> Ints:
        """(S,) tokens fed so far."""
        return np.array([len(text) for text in self.texts], np.int64)

    def feed(self, who: Ints, ids: Sequence[Ints], every: bool = False) -> Array:
        """See Decoding."""
        behind = []
        for number, new in zip(who, ids, strict=True):
            self.texts[number] = np.concatenate([self.texts[number], new])
            scores = self.logits(self.texts[number])  # (T, V)
            behind.append(scores[len(scores) - len(new) :] if every else scores[-1:])
        return np.concatenate(behind)

    def join(self, count: int) -> Ints:
        """See Decoding."""
        self.texts += [np.empty(0, np.int64)] * count
        return np.arange(len(self.texts) - count, len(self.texts))

    def leave(self, who: Ints) -> None:
        """See Decoding."""
        for number in who:
            self.texts[number] = np.empty(0, np.int64)

    def copy(self, parents: Ints) -> Ints:
        """See Decoding."""
        children = self.join(len(parents))
        for child, parent in zip(children, parents, strict=True):
            self.texts[child] = self.texts[parent]
        return children

    def cut(self, who: Ints, lengths: Ints) -> None:
        """See Decoding."""
        for number, length in zip(who, lengths, strict=True):
            self.texts[number] = self.texts[number][:length]
