"""Continuous batching: prompts of any lengths, with settings of their own, join and leave the model at each step.

Each is what generate() of it alone would be, token for token: it has its own processors, criteria and draws, and a
model's scores of a text do not depend on the others (on numba, to the last bit). So the answers are the same whatever
else is asked, and the model's weights are read once a step for all of them. A prompt joins when there is room for all
its answers, in the order given; so no answer waits for a longer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.growing import Growing
from nanodistil.generation.plain import Plan
from nanodistil.generation.prompts import Prompts

AT_ONCE = 32  # sequences in the model; more take longer than their tokens are worth to a step's other costs


@dataclass(eq=False, slots=True)
class Member:
    """One answer on its way."""

    call: int  # whose it is, and which of its answers
    answer: int
    plan: Plan
    texts: Growing  # (1, T)
    number: int  # in the model
    next_: Ints  # what the model is given, (n,)
    step: int = 0

    def went_on(self, scores: Array) -> bool:
        """Add a token, of its scores (1, V); whether there will be more."""
        scores = self.plan.processors.processed(self.texts.ids, scores)
        token = self.plan.chosen(scores[0], self.answer, self.step)
        self.next_ = np.array([token])
        self.texts.add(self.next_[:, None])
        self.step += 1
        return not self.plan.criteria(self.texts.ids, None)[0]


def all_together(
    decoding: Decoding, calls: Sequence[tuple[Prompts, int, Plan]], at_once: int = AT_ONCE
) -> list[list[Ints]]:
    """Of each call, a prompt (1, T), how many answers, and how: its answers (T + new,), the prompt's padding included.

    >>> from nanodistil.generation.decoding import Uncached
    >>> from nanodistil.generation.plain import Keeping
    >>> from nanodistil.generation.processing import LogitsProcessorList
    >>> from nanodistil.generation.stopping import MaxLengthCriteria, StoppingCriteriaList
    >>> counting = Uncached(lambda ids: np.eye(9)[(ids + 1) % 9])
    >>> stop = StoppingCriteriaList([MaxLengthCriteria(4)])
    >>> plan = Plan(LogitsProcessorList(), stop, 0, None, None, Keeping())
    >>> all_together(counting, [(Prompts.of([[1, 2]], None), 1, plan), (Prompts.of([[5]], None), 1, plan)])
    [[array([1, 2, 3, 4])], [array([5, 6, 7, 8])]]
    """
    found: list[list[Ints]] = [[np.empty(0, np.int64)] * answers for _, answers, _ in calls]
    waiting = deque(range(len(calls)))
    members: list[Member] = []
    while waiting or members:
        fresh: list[list[Member]] = []
        busy = len(members)
        while waiting and (not busy or busy + calls[waiting[0]][1] <= at_once):
            i = waiting.popleft()
            prompts, answers, plan = calls[i]
            busy += answers
            [text], [number] = prompts.texts(), decoding.join(1)
            fresh.append([Member(i, n, plan, Growing(prompts.ids), int(number), text) for n in range(answers)])
            members += fresh[-1][:1]  # the others are copies, once the prompt is read
        scores = decoding.feed(np.array([one.number for one in members]), [one.next_ for one in members])  # (A, V)
        rows = [scores[i : i + 1] for i in range(len(members))]
        for group in fresh:
            first = rows[members.index(group[0])]
            for one in group[1:]:
                [one.number] = decoding.copy(np.array([group[0].number])).tolist()
                members.append(one)
                rows.append(first.copy())
        for one, row in zip(members, rows, strict=True):
            if not one.went_on(row):
                found[one.call][one.answer] = one.texts.ids[0].copy()
                decoding.leave(np.array([one.number]))
                one.number = -1
        members = [one for one in members if one.number >= 0]
    return found
