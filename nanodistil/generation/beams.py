"""Beam search, also with draws: of each prompt the num_beams likeliest texts go on side by side.

    log_softmax -> processors -> + the beam's score so far -> the best max(2, 1 + ends) * num_beams of all tokens of all
    beams -> those at their end, among the first num_beams, are compared with the ended ones of before -> the best
    num_beams of the others go on

Those at their end have score / (new tokens ** length_penalty). A prompt's search is over when nothing that goes on can
beat its worst ended text, as `early_stopping` understands it (`still_hopeful`), with early_stopping=True when it has
num_beams ended ones, or when every candidate is at its end. Then it leaves, while the batch goes on: it gets what
transformers gives, and what the prompt would have alone. -1e9 stands for "no such thing", as there, and adds up, so the
order of hopeless cases is the same too; of equals a text that ended comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.drawing import NO_NUMBER, Stream
from nanodistil.generation.plain import Keeping, spread
from nanodistil.generation.processing import LogitsProcessorList
from nanodistil.generation.prompts import Prompts
from nanodistil.generation.rescaling import log_softmax
from nanodistil.generation.stopping import StoppingCriteriaList
from nanodistil.weights.errors import InputError

NONE = -1.0e9


class Search(NamedTuple):
    """How one call searches."""

    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    beams: int
    candidates: int  # kept a step
    max_length: int
    length_penalty: float
    early_stopping: bool | str
    fill: int  # what stands behind an end
    streams: Sequence[Stream] | None  # None: the best ones, not drawn
    keeping: Keeping


class Found(NamedTuple):
    """Of B prompts, the best of each first."""

    sequences: Ints  # (B, beams, max_length)
    scores: Array  # (B, beams)
    indices: Ints  # (B, beams, new tokens): rows of scores, -1 behind the end


class Texts(NamedTuple):
    """n texts of each prompt, with their history."""

    ids: Ints  # (B, n, max_length)
    indices: Ints  # (B, n, new tokens)
    scores: Array  # (B, n)
    ended: NDArray[np.bool_]  # (B, n)

    def picked(self, places: Ints) -> Texts:
        """(B, m) places -> m texts of each."""
        deep = places[:, :, None]
        return Texts(
            np.take_along_axis(self.ids, deep, 1),
            np.take_along_axis(self.indices, deep, 1),
            np.take_along_axis(self.scores, places, 1),
            np.take_along_axis(self.ended, places, 1),
        )

    def and_(self, other: Texts) -> Texts:
        """Those of both."""
        return Texts(*(np.concatenate(pair, axis=1) for pair in zip(self, other, strict=True)))


def best(scores: Array, count: int) -> Ints:
    """Places of the `count` largest, best first, of equal ones the first: (n,) -> (count,).

    Raises InputError for NaN.

    >>> best(np.array([0.1, 0.3, 0.2, 0.3]), 3)
    array([1, 3, 2])
    """
    if np.isnan(scores.max()):
        raise InputError(NO_NUMBER)
    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
        near = np.sort(np.concatenate([above, equal[: count - len(above)]]))
    else:
        near = np.arange(len(scores))
    ranked: Ints = near[np.argsort(-scores[near], kind="stable")]
    return ranked


def beam_search(decoding: Decoding, prompts: Prompts, search: Search) -> Found:
    """The best texts that start with each prompt."""
    (B, start), beams = prompts.ids.shape, search.beams
    numbers = decoding.join(B)
    logits = np.repeat(decoding.feed(numbers, prompts.texts()), beams, axis=0)  # (B * beams, V)
    numbers = np.stack([numbers, *(np.full(B, -1) for _ in range(beams - 1))], axis=1)  # (B, beams); -1: not yet
    V, kind = logits.shape[1], logits.dtype
    ids = np.full((B, beams, search.max_length), search.fill, np.int64)
    ids[:, :, :start] = prompts.ids[:, None]
    indices = np.full((B, beams, search.max_length - start), -1, np.int64)
    none = np.zeros((B, beams), bool)
    running = Texts(ids, indices, np.full((B, beams), NONE, kind), none)
    running.scores[:, 0] = 0  # beams are alike at first: the tokens of one are enough
    finished = Texts(ids.copy(), indices.copy(), np.full((B, beams), NONE, kind), none.copy())
    hopeful = np.ones(B, bool)
    over = np.zeros(B, bool)
    rows = np.arange(B * beams)  # of those whom the model sees
    length = start
    while True:
        flat = running.ids[:, :, :length].reshape(B * beams, length)
        logits = spread(logits, rows, B * beams)
        owned = logits if search.keeping.logits is None else logits.copy()
        log_softmax(owned)
        scores = search.processors.processed(flat, owned)
        search.keeping.keep(scores, logits)

        summed = (scores.reshape(B, beams, V) + running.scores[:, :, None]).reshape(B, beams * V)
        places = np.zeros((B, search.candidates), np.int64)
        for b in np.flatnonzero(~over).tolist():
            places[b] = picked(summed[b], search, b)
        parents = places // V
        next_ = running.picked(parents)._replace(scores=np.take_along_axis(summed, places, 1))
        next_.ids[:, :, length] = places % V
        next_.indices[:, :, length - start] = parents + np.arange(B)[:, None] * beams

        grown = next_.ids[:, :, : length + 1].reshape(-1, length + 1)
        ended = search.criteria(grown, search.keeping.shown()).reshape(B, search.candidates)
        goes_on = next_._replace(scores=next_.scores + ended * kind.type(NONE))
        order = np.stack([best(row, beams) for row in goes_on.scores])
        kept = np.take_along_axis(parents, order, 1)  # (B, beams)
        running = goes_on.picked(order)
        finished = compared(finished, next_, ended, length + 1 - start, over, hopeful, search)

        length += 1
        hopeful &= still_hopeful(running.scores[:, 0], finished, length - start, search.max_length - start, search)
        over |= ~hopeful | ended.all(axis=1) | (finished.ended.all(axis=1) & (search.early_stopping is True))
        if over.all():
            decoding.leave(numbers[numbers >= 0])
            break
        numbers = followed(decoding, numbers, kept, over)
        rows = np.flatnonzero(np.repeat(~over, beams))
        tokens = running.ids[:, :, length - 1].reshape(-1)
        logits = decoding.feed(numbers.reshape(-1)[rows], list(tokens[rows, None]))
    return Found(finished.ids, finished.scores, finished.indices)


def picked(summed: Array, search: Search, prompt: int) -> Ints:
    """Places of the candidates among the tokens of all beams: (beams * V,) -> (candidates,).

    Drawn without replacement they are the best of scores with Gumbel noise, in that order (Kool 2019).
    """
    if search.streams is None:
        return best(summed, search.candidates)
    alive = np.flatnonzero(summed > -np.inf)
    noisy = np.full(len(summed), -np.inf)
    noisy[alive] = summed[alive] + search.streams[prompt].gumbel(len(alive))
    return best(noisy, search.candidates)


def compared(
    finished: Texts,
    next_: Texts,
    ended: NDArray[np.bool_],
    length: int,
    over: NDArray[np.bool_],
    hopeful: NDArray[np.bool_],
    search: Search,
) -> Texts:
    """The best ended texts of each prompt, of those before and the candidates that just ended."""
    kind = next_.scores.dtype
    first = ended & (np.arange(search.candidates) < search.beams)  # the rest are there to go on only
    scores = next_.scores / kind.type(length**search.length_penalty)
    full = finished.ended.all(axis=1, keepdims=True) & (search.early_stopping is True)
    for no in (full, ~hopeful[:, None], ~first):
        scores = scores + no * kind.type(NONE)
    both = finished.and_(next_._replace(scores=scores, ended=first))
    places = np.lexsort((~both.ended, -both.scores))[:, : search.beams]
    places[over] = np.arange(search.beams)
    return both.picked(places)


def still_hopeful(top: Array, finished: Texts, length: int, longest: int, search: Search) -> NDArray[np.bool_]:
    """Whether the best that goes on (B,) could beat the worst that ended: at this length, or by "never" at any."""
    reached = longest if search.early_stopping == "never" and search.length_penalty > 0 else length
    reachable = top / top.dtype.type(reached**search.length_penalty)
    worst = np.where(finished.ended, finished.scores.min(axis=1, keepdims=True), top.dtype.type(NONE))  # (B, beams)
    return np.asarray((reachable[:, None] > worst).any(axis=1))


def followed(decoding: Decoding, numbers: Ints, parents: Ints, over: NDArray[np.bool_]) -> Ints:
    """Numbers of the beams that go on: a parent's own for its first child, copies for the others; (B, beams) each.

    What nobody follows leaves.
    """
    decoding.leave(numbers[over][numbers[over] >= 0])
    following = np.full_like(numbers, -1)
    copies: list[tuple[int, int]] = []
    for b in np.flatnonzero(~over).tolist():
        taken: set[int] = set()
        for i, parent in enumerate(parents[b].tolist()):
            if numbers[b, parent] < 0:  # of the first step, when one stands for all
                parent = 0
            if parent in taken:
                copies.append((b, i))
            else:
                following[b, i] = numbers[b, parent]
                taken.add(parent)
        decoding.leave(np.array([n for p, n in enumerate(numbers[b]) if p not in taken and n >= 0], np.int64))
    if copies:
        places = np.array(copies)
        of = parents[places[:, 0], places[:, 1]]
        of = np.where(numbers[places[:, 0], of] < 0, 0, of)
        following[places[:, 0], places[:, 1]] = decoding.copy(numbers[places[:, 0], of])
    return following
