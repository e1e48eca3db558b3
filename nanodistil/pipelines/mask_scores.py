"""What a masked language model says at the [MASK]s of many rows, each of which may want something else.

    rows -> the encoder, once -> logits (M, V) at all [MASK]s -> the best of all words, or of a row's own candidates

Of the logits, 122 KB a [MASK], no more is kept than a row wants; a GPU ranks them before anything is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints, Mask
from nanodistil.heads.masked_lm import ForMaskedLM
from nanodistil.pipelines.batching import ON_CPU, batches, padded
from nanodistil.pipelines.ranking import largest
from nanodistil.pipelines.scores import finite


@dataclass(frozen=True, eq=False)
class Candidates:
    """The k best of these words are wanted; their probabilities are shares of the whole vocabulary."""

    words: Ints  # (C,)
    k: int


Wanted = int | Candidates  # the k best of all words, or as above
Ranked = tuple[Array, Ints]  # of a row's m [MASK]s: probabilities (m, k) and words (m, k), best first


def best_at_masks(model: ForMaskedLM, ids: Ints, real: Mask, masks: Mask, wanted: list[Wanted]) -> list[Ranked]:
    """The best words at the [MASK]s of B rows: ids (B, T), no padding (B, T), [MASK]s (B, T), what each row wants (B).

    Rows that want the same are ranked together, so a row's numbers are those it has alone.
    """
    positions = np.argwhere(masks)  # (M, 2), in reading order
    kinds = list(dict.fromkeys(wanted))
    kind_of = np.array([kinds.index(one) for one in wanted], np.int64)  # (B,)
    if len(kinds) > 1:
        positions = positions[np.argsort(kind_of[positions[:, 0]], kind="stable")]
    logits = model.logits_at(ids, real, positions)  # (M, V), those of one kind together
    found: list[Any] = [None] * len(ids)
    counts = masks.sum(axis=1)  # (B,)
    start = 0
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(kind_of == number)
        stops = counts[rows].cumsum()
        probs, words = best(model, logits[start : start + stops[-1]], kind)
        for b, stop, count in zip(rows.tolist(), stops.tolist(), counts[rows].tolist(), strict=True):
            found[b] = probs[stop - count : stop], words[stop - count : stop]
        start += stops[-1]
    return found


def best(model: ForMaskedLM, logits: Array, wanted: Wanted) -> Ranked:
    """The words that are wanted at M positions: probabilities (M, k), ids (M, k). Raises CheckpointError."""
    ops = model.ops
    if isinstance(wanted, int):
        probs, words = ops.most_probable(logits, wanted)
        return finite(ops.fetch(probs)), ops.fetch(words)
    probs = finite(ops.fetch(ops.vocabulary_softmax(logits)))[:, wanted.words]  # (M, C)
    ranked = np.stack([largest(row, wanted.k) for row in probs])
    return np.take_along_axis(probs, ranked, -1), wanted.words[ranked]


def conditionals(model: ForMaskedLM, asked: list[tuple[Ints, int]]) -> Iterator[tuple[int, Array]]:
    """Of (row of ids, token) pairs, in any order: a pair's number, and the vocabulary's probabilities there (V,)."""
    for batch in batches([len(ids) for ids, _ in asked], ON_CPU.tokens):  # it is (M, V) that takes memory
        tokens = np.array([(b, asked[i][1]) for b, i in enumerate(batch)])
        probs = finite(model.probabilities(*padded([asked[i][0] for i in batch]), tokens))
        yield from zip(batch, probs, strict=True)
