"""From a score for every label at every piece to names: John Smith, PER, characters 11 to 21.

    pieces      scores (C,) each, and where they stand in the text
    -> words    pieces of one word agree on a label: the first one's, the most certain one's, or that of their mean
    -> groups   neighbours of one kind become one name, unless the later one says that it begins anew (B-)
    -> merged   names that two windows of a long text found in the same place: the longer wins, then the more certain

The strategies are transformers' ("none" and "simple" skip the words); so are the rules, which are those of the CoNLL
labels B-PER, I-PER, O. A label without B- or I- counts as I-, and so O is a kind like any other here: whoever asks
leaves it out afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Array

STRATEGIES = ("none", "simple", "first", "average", "max")


class Piece(NamedTuple):
    """A token of the text. `continues`: the word of the piece before it."""

    token: str
    scores: Array  # (C,)
    start: int
    end: int
    at: int  # in its row of tokens, special ones counted
    continues: bool


class Entity(NamedTuple):
    """A piece, a word or a group with the label it got."""

    label: str
    score: Any  # a number of the scores' dtype
    word: str  # its tokens, joined
    start: int
    end: int
    at: int | None = None  # of a piece


def aggregate(
    pieces: list[Piece], strategy: str, labels: dict[int, str], join: Callable[[list[str]], str]
) -> list[Entity]:
    """The entities of one row of pieces. strategy: of STRATEGIES; labels: C of them; join: tokens to a string."""
    if strategy in ("none", "simple"):
        entities = [
            Entity(labels[int(p.scores.argmax())], p.scores.max(), p.token, p.start, p.end, p.at) for p in pieces
        ]
        return entities if strategy == "none" else groups(entities, join)
    words: list[list[Piece]] = []
    for piece in pieces:
        if words and piece.continues:
            words[-1].append(piece)
        else:
            words.append([piece])
    return groups([as_word(word, strategy, labels, join) for word in words], join)


def as_word(pieces: list[Piece], strategy: str, labels: dict[int, str], join: Callable[[list[str]], str]) -> Entity:
    """The pieces of one word under one label.

    >>> a = Piece("Micro", np.array([0.7, 0.3]), 0, 5, 1, False)
    >>> b = Piece("##soft", np.array([0.1, 0.9]), 5, 9, 2, True)
    >>> [as_word([a, b], s, {0: "O", 1: "B-ORG"}, "".join).label for s in ("first", "max", "average")]
    ['O', 'B-ORG', 'B-ORG']
    """
    if strategy == "first":
        scores = pieces[0].scores
    elif strategy == "max":
        scores = max((piece.scores for piece in pieces), key=lambda scores: scores.max())
    else:
        scores = np.mean([piece.scores for piece in pieces], axis=0)
    word = join([piece.token for piece in pieces])
    return Entity(labels[int(scores.argmax())], scores.max(), word, pieces[0].start, pieces[-1].end)


def groups(entities: list[Entity], join: Callable[[list[str]], str]) -> list[Entity]:
    """Neighbours of one kind as one entity, labelled without B- and I-; its score is the mean of theirs.

    >>> ann, lee = Entity("B-PER", 0.75, "Ann", 0, 3), Entity("I-PER", 0.25, "Lee", 4, 7)
    >>> bo = Entity("B-PER", 1.0, "Bo", 8, 10)
    >>> [(e.label, e.word, float(e.score)) for e in groups([ann, lee, bo], " ".join)]
    [('PER', 'Ann Lee', 0.5), ('PER', 'Bo', 1.0)]
    """
    grouped: list[list[Entity]] = []
    for entity in entities:
        begins, kind = begins_and_kind(entity.label)
        if grouped and not begins and kind == begins_and_kind(grouped[-1][-1].label)[1]:
            grouped[-1].append(entity)
        else:
            grouped.append([entity])
    return [
        Entity(
            label=group[0].label.split("-", 1)[-1],  # of a label such as A-B the last part, whatever A is: upstream's
            score=np.mean([entity.score for entity in group]),
            word=join([entity.word for entity in group]),
            start=group[0].start,
            end=group[-1].end,
        )
        for group in grouped
    ]


def begins_and_kind(label: str) -> tuple[bool, str]:
    """Whether a label begins a name, and of what kind.

    >>> begins_and_kind("B-PER"), begins_and_kind("I-PER"), begins_and_kind("O")
    ((True, 'PER'), (False, 'PER'), (False, 'O'))
    """
    return label.startswith("B-"), label[2:] if label.startswith(("B-", "I-")) else label


def merged(entities: list[Entity]) -> list[Entity]:
    """Of entities that start within another one, the longest, then the most certain; in the order of the text."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda e: e.start):
        if not kept or not kept[-1].start <= entity.start < kept[-1].end:
            kept.append(entity)
        elif (entity.end - entity.start, entity.score) > (kept[-1].end - kept[-1].start, kept[-1].score):
            kept[-1] = entity
    return kept
