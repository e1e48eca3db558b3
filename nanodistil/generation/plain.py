"""One token after the other: the best one (greedy), or one drawn (sampling).

    scores = processors(model(tokens)); token = argmax or draw; until every text is at its end

Processors and criteria see all S sequences at each step, as in transformers, whose row numbers mean something to them.
The model sees those alone that are not at their end: the others have left, and their scores are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.drawing import NO_NUMBER, Stream, drawn
from nanodistil.generation.growing import Growing
from nanodistil.generation.processing import LogitsProcessorList
from nanodistil.generation.prompts import Prompts
from nanodistil.generation.stopping import StoppingCriteriaList
from nanodistil.generation.streaming import BaseStreamer
from nanodistil.weights.errors import InputError


class Keeping(NamedTuple):
    """What is kept of each step."""

    scores: list[Array] | None = None
    logits: list[Array] | None = None

    def keep(self, scores: Array, logits: Array) -> None:
        """Of one step; arrays that nobody writes to any more."""
        if self.scores is not None:
            self.scores.append(scores)
        if self.logits is not None:
            self.logits.append(logits)

    def shown(self) -> tuple[Array, ...] | None:
        """The scores so far, as criteria see them."""
        return None if self.scores is None else tuple(self.scores)


class Plan(NamedTuple):
    """How one call chooses its tokens."""

    processors: LogitsProcessorList
    criteria: StoppingCriteriaList
    pad: int | None  # what stands behind an end; None if no token is one, and then all go on until all may stop
    streams: Sequence[Stream] | None  # None: greedy
    streamer: BaseStreamer | None
    keeping: Keeping

    def chosen(self, row: Array, sequence: int, number: int) -> int:
        """Token `number` behind the prompt of a sequence, by its scores (V,)."""
        if self.streams is not None:
            return drawn(row, self.streams[sequence].uniform(number))
        best = int(row.argmax())  # of NaN, if there is one
        if not row[best] > -np.inf:
            raise InputError(NO_NUMBER)
        return best


def spread(logits: Array, rows: Ints, count: int) -> Array:
    """Scores of the sequences that go on among those of all, which are zero: (A, V), (A,) -> (S, V)."""
    if len(rows) == count:
        return logits
    full = np.zeros((count, logits.shape[1]), logits.dtype)
    full[rows] = logits
    return full


def one_by_one(decoding: Decoding, prompts: Prompts, answers: int, plan: Plan) -> Ints:
    """(B * answers, T): the prompts as they were given, each `answers` times, and what follows."""
    S = len(prompts.ids) * answers
    texts = Growing(np.repeat(prompts.ids, answers, axis=0))
    if plan.streamer is not None:
        plan.streamer.put(texts.ids.copy())
    first = decoding.join(len(prompts.ids))
    logits = np.repeat(decoding.feed(first, prompts.texts()), answers, axis=0)  # (S, V)
    numbers = first if answers == 1 else np.stack([first, *(decoding.copy(first) for _ in range(answers - 1))], 1)
    numbers = numbers.reshape(-1)  # (S,)
    open_ = np.ones(S, bool)  # not at its end
    rows = np.arange(S)  # of those whom the model sees
    step = 0
    while True:
        logits = spread(logits, rows, S)
        owned = logits if plan.keeping.logits is None else logits.copy()
        scores = plan.processors.processed(texts.ids, owned)  # (S, V)
        plan.keeping.keep(scores, logits)
        tokens = np.array(
            [plan.chosen(scores[i], i, step) if open_[i] or plan.pad is None else plan.pad for i in range(S)], np.int64
        )
        texts.add(tokens[:, None])
        step += 1
        if plan.streamer is not None:
            plan.streamer.put(tokens)
        open_ &= ~plan.criteria(texts.ids, plan.keeping.shown())
        if not open_.any():
            decoding.leave(numbers[rows])
            break
        if plan.pad is not None:
            decoding.leave(numbers[rows[~open_[rows]]])
            rows = np.flatnonzero(open_)
        logits = decoding.feed(numbers[rows], list(tokens[rows, None]))
    if plan.streamer is not None:
        plan.streamer.end()
    return texts.ids.copy()
