"""Several [MASK]s filled together, and words of several pieces: products of conditional probabilities.

Asked for each [MASK] by itself, a masked language model finds "New" and "Francisco" equally good company for the second
and the first. Here a word is chosen knowing those chosen before it:

    p(w1, w2, ... | text) = p(w1 | text) p(w2 | text with w1) ...       from left to right, those to come still [MASK]

Of a true joint distribution any order would give the same product. A masked language model was never told to be one,
and does not quite, so the order is part of what the score means; from left to right needs no further rule.

Whoever calls brings `conditionals`: given (row of ids, token) pairs it yields, in any order, the number of a pair and
the probabilities (V,) of the vocabulary at its token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.pipelines.ranking import largest

Conditionals = Callable[[list[tuple[Ints, int]]], Iterator[tuple[int, Array]]]


def fill_jointly(
    ids: Ints, masks: list[int], candidates: Ints, beams: int, conditionals: Conditionals
) -> tuple[Ints, Array]:
    """The best joint fillings of the tokens `masks`, best first: the rows filled (n, T) and their scores (n,).

    A beam search: after each [MASK] the `beams` best fillings so far go on, which costs 1 + (k - 1) beams rows through
    the model for k [MASK]s. What it returns has its exact score, but a filling that begins unlikely may be missed;
    with beams = len(candidates) ** (k - 1) none is. candidates: (C,) ids to choose from.
    """
    rows, scores = ids[None], np.ones(1)  # (n, T), (n,) in float64: products of many small numbers
    for at in masks:
        words = np.zeros((len(rows), min(beams, len(candidates))), np.int64)
        joint = np.zeros(words.shape)
        for i, probs in conditionals([(row, at) for row in rows]):
            best = largest(probs[candidates], beams)
            words[i] = candidates[best]
            joint[i] = scores[i] * probs[words[i]]
        kept = largest(joint.ravel(), beams)
        rows = rows[kept // words.shape[1]]
        rows[:, at] = words.ravel()[kept]
        scores = joint.ravel()[kept]
    return rows, scores


def score_words(ids: Ints, at: int, mask: int, words: list[list[int]], conditionals: Conditionals) -> list[float]:
    """p(word | text) of words of one or more pieces in the place of the [MASK] that is token `at`.

    A word of n pieces is asked for with n times [MASK] there, so words of different length are answers to different
    questions: nothing better is known without a model of how many pieces there are. Words that begin alike share rows.
    """
    rows: list[tuple[Ints, int]] = []
    wanted: list[list[tuple[int, int]]] = []  # of each row, (number of a word, piece)
    known: dict[tuple[int, ...], int] = {}
    for number, pieces in enumerate(words):
        for i, piece in enumerate(pieces):
            filling = (*pieces[:i], *[mask] * (len(pieces) - i))
            if filling not in known:
                known[filling] = len(rows)
                rows.append((np.concatenate([ids[:at], filling, ids[at + 1 :]]), at + i))
                wanted.append([])
            wanted[known[filling]].append((number, piece))
    scores = [1.0] * len(words)
    for n, probs in conditionals(rows):
        for number, piece in wanted[n]:
            scores[number] *= float(probs[piece])
    return scores
