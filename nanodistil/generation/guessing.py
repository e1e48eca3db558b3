"""Speculative decoding: cheap guesses of several tokens, which the model checks all at once.

The model reads its weights once for k guessed tokens, as it would for one. Each place behind them is then decided as if
there had been no guess: by the same processors, and by the same draw (drawing.py). Guesses count as far as they agree
with that, and the rest is cut off. So what comes back is the same with and without guesses, token for token, when
sampling too; transformers gives other draws of the same probabilities there (Leviathan 2023). An assistant is given the
model's own draws for its guesses, and so agrees more often than by chance.

A guess comes from the text itself, behind an earlier place that reads the same, or from a smaller model.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.growing import Growing
from nanodistil.generation.plain import Plan
from nanodistil.generation.processing import LogitsProcessorList
from nanodistil.generation.prompts import Prompts


class Guesser(Protocol):
    """Where guesses come from."""

    def guess(self, ids: Ints, most: int, number: int) -> Ints:
        """(1, T) -> up to `most` tokens that may follow, the first of them number `number` behind the prompt."""

    def told(self, guessed: int, right: int) -> None:
        """How many were right."""


def guessed_ahead(decoding: Decoding, prompts: Prompts, guesser: Guesser, max_length: int, plan: Plan) -> Ints:
    """(1, T): the prompt, and what follows."""
    texts = Growing(prompts.ids)
    if plan.streamer is not None:
        plan.streamer.put(texts.ids.copy())
    [text] = prompts.texts()
    numbers = decoding.join(1)
    fed, last = len(text) - 1, text[-1:]  # which is fed with the guesses
    if fed:
        decoding.feed(numbers, [text[:-1]])
    step, open_ = 0, True
    while open_:
        guess = guesser.guess(texts.ids, max_length - texts.length - 1, step)
        logits = decoding.feed(numbers, [np.append(last, guess)], every=True)  # (k + 1, V)
        before, right = texts.length, 0
        for i, behind in enumerate(logits):
            owned = behind[None] if plan.keeping.logits is None else behind[None].copy()
            scores = plan.processors.processed(texts.ids, owned)
            plan.keeping.keep(scores, behind[None])
            token = plan.chosen(scores[0], 0, step)
            texts.add(np.array([[token]]))
            step += 1
            open_ = not plan.criteria(texts.ids, plan.keeping.shown())[0]
            agrees = i < len(guess) and token == guess[i]
            right += agrees
            if not (open_ and agrees):
                break
        last = texts.ids[0, -1:]
        fed += texts.length - before
        decoding.cut(numbers, np.array([fed]))
        guesser.told(len(guess), right)
        if plan.streamer is not None:
            plan.streamer.put(texts.ids[0, before:].copy())
    decoding.leave(numbers)
    if plan.streamer is not None:
        plan.streamer.end()
    return texts.ids.copy()


class PromptLookup:
    """Guesses what followed the last tokens where they stood before: 2 of them, or else 1.

    >>> PromptLookup(3, 2, None).guess(np.array([[5, 6, 7, 8, 9, 5, 6]]), 9, 0)
    array([7, 8, 9])
    """

    def __init__(self, tokens: int, ngram: int | None, ends: Ints | None) -> None:
        self.tokens, self.ngram, self.ends = tokens, ngram or 2, ends

    def guess(self, ids: Ints, most: int, number: int) -> Ints:
        """See Guesser."""
        text: Ints = ids[0]
        for size in range(min(self.ngram, len(text) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(text[:-1], size)
            found = np.flatnonzero((windows == text[-size:]).all(axis=1))
            if found.size:
                guess: Ints = text[int(found[0]) + size :][: min(self.tokens, max(most, 0))]
                ends = np.flatnonzero(np.isin(guess, self.ends if self.ends is not None else ()))
                return guess[: ends[0]] if ends.size else guess
        return np.empty(0, np.int64)

    def told(self, guessed: int, right: int) -> None:
        """See Guesser."""


class Assistant:
    """Guesses what a smaller model of the same vocabulary would say, until it is no longer sure.

    room: tokens that it can be fed. schedule: "constant", or "heuristic": two more when all were right, one less
    otherwise. threshold: of the probability of the last token guessed.
    """

    def __init__(
        self,
        decoding: Decoding,
        text: Ints,
        plan: Plan,
        processors: LogitsProcessorList,
        ends: Ints | None,
        room: int,
        tokens: int,
        schedule: str,
        threshold: float,
    ) -> None:
        self.decoding, self.plan, self.processors, self.ends = decoding, plan, processors, ends
        self.room, self.tokens, self.schedule, self.threshold = room, tokens, schedule, threshold
        self.numbers = decoding.join(1)
        self.text, self.fed, self.length = text, text[:0], 0  # known, seen by the assistant; of the padded prompt

    def guess(self, ids: Ints, most: int, number: int) -> Ints:
        """See Guesser."""
        if number == 0:
            self.length = ids.shape[1]
        text = np.concatenate([self.text, ids[0, self.length :]])
        both = min(len(self.fed), len(text))
        differ = np.flatnonzero(self.fed[:both] != text[:both])  # it was fed its own guesses
        self.fed = self.fed[: min([*differ[:1], len(text) - 1])]
        self.decoding.cut(self.numbers, np.array([len(self.fed)]))
        texts = Growing(ids)
        for k in range(min(self.tokens, most, self.room - len(text) + 1)):
            new = text[len(self.fed) :]
            scores = self.decoding.feed(self.numbers, [new])  # (1, V)
            self.fed = text
            scores = self.processors.processed(texts.ids, scores)
            token = self.plan.chosen(scores[0], 0, number + k)
            text = np.append(text, token)
            texts.add(np.array([[token]]))
            if probability(scores[0], token) < self.threshold or (self.ends is not None and token in self.ends):
                break
        return texts.ids[0, ids.shape[1] :].copy()

    def told(self, guessed: int, right: int) -> None:
        """See Guesser."""
        if self.schedule != "constant" and guessed:
            self.tokens = self.tokens + 2 if right == guessed else max(1, self.tokens - 1)


def probability(row: Array, token: int) -> float:
    """softmax(row)[token]: (V,)."""
    kept = row[row > -np.inf]
    return float(np.exp(row[token] - kept.max()) / np.exp(kept - kept.max()).sum())
