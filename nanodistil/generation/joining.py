"""Continuous batching: prompts of any lengths, with settings of their own, join and leave the model at each step.

Each is what generate() of it alone would be, token for token: it has its own processors, criteria and draws, and a
model's scores of a text do not depend on the others (on numba, to the last bit). So the answers are the same whatever
else is asked, and the model's weights are read once a step for all of them. A prompt joins when there is room for all
its answers, in the order given; so no answer waits for a longer one.

`Together` is a step at a time, for who has others to serve in between; `all_together` is all steps at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.generation.decoding import Decoding
from nanodistil.generation.growing import Growing
from nanodistil.generation.plain import Plan
from nanodistil.generation.prompts import Prompts

AT_ONCE = 32  # sequences in the model; more take longer than their tokens are worth to a step's other costs

Looks = Callable[[Array, int], Any]  # scores (V,) as the model gave them, and the token chosen -> what is kept of both


@dataclass(eq=False, slots=True)
class Member:
    """One answer on its way."""

    answer: int  # which of its prompt's
    plan: Plan
    texts: Growing  # (1, T)
    next_: Ints  # what the model is given, (n,)
    looks: Looks | None = None
    number: int = -1  # in the model; -1: not in it
    step: int = 0
    ended: bool = False
    error: Exception | None = None  # what ended it
    seen: list[Any] = field(default_factory=list)  # what `looks` said, of each new token

    def went_on(self, scores: Array) -> None:
        """Add a token, of its scores (1, V), which may be written over."""
        given = None if self.looks is None else scores[0].copy()
        scores = self.plan.processors.processed(self.texts.ids, scores)
        token = self.plan.chosen(scores[0], self.answer, self.step)
        if self.looks is not None and given is not None:
            self.seen.append(self.looks(given, token))
        self.next_ = np.array([token])
        self.texts.add(self.next_[:, None])
        self.step += 1
        self.ended = bool(self.plan.criteria(self.texts.ids, None)[0])


class Together:
    """Answers that one model writes, each a token further at every step.

    join -> step, step, step ... -> leave, for who will not wait for the end
    """

    def __init__(self, decoding: Decoding, at_once: int = AT_ONCE) -> None:
        self.decoding, self.at_once = decoding, at_once
        self.members: list[Member] = []  # in the model
        self.fresh: list[list[Member]] = []  # of one prompt each, which is not read yet

    @property
    def busy(self) -> int:
        """How many answers are on their way."""
        return len(self.members) + sum(map(len, self.fresh))

    def has_room(self, answers: int) -> bool:
        """For so many more. To an empty model any number may come: nobody else has to wait."""
        return not self.busy or self.busy + answers <= self.at_once

    def join(self, prompts: Prompts, answers: int, plan: Plan, looks: Looks | None = None) -> list[Member]:
        """The answers to a prompt (1, T), from the next step on."""
        [text] = prompts.texts()
        self.fresh.append([Member(n, plan, Growing(prompts.ids), text, looks) for n in range(answers)])
        return self.fresh[-1]

    def leave(self, group: list[Member]) -> None:
        """All answers to one prompt, wherever they are: nobody waits for them any more."""
        self.fresh = [one for one in self.fresh if one is not group]
        self._out([one for one in group if one.number >= 0])

    def step(self) -> list[Member]:
        """Every answer a token further, or at its end, or with an error of its own; those who were on their way."""
        fresh, self.fresh = self.fresh, []
        for group in fresh:
            [group[0].number] = self.decoding.join(1).tolist()
            self.members.append(group[0])  # the others are copies, once the prompt is read
        rows = self._fed(self.members)
        for group in fresh:
            first = rows[self.members.index(group[0])]
            for one in group[1:]:
                if first is None:
                    one.error = group[0].error
                else:
                    [one.number] = self.decoding.copy(np.array([group[0].number])).tolist()
                self.members.append(one)
                rows.append(None if first is None else first.copy())
        went = self.members
        for one, row in zip(went, rows, strict=True):
            try:
                if row is not None:
                    one.went_on(row)
            except Exception as error:
                one.error = error
        self._out([one for one in went if one.ended or one.error is not None])
        return went

    def _fed(self, members: list[Member]) -> list[Array | None]:
        """The scores (1, V) of each; if all together fail, then one by one, and None where there is an error."""
        try:
            scores = self.decoding.feed(np.array([one.number for one in members]), [one.next_ for one in members])
            return [scores[i : i + 1] for i in range(len(members))]
        except Exception as error:
            if len(members) == 1:
                members[0].error = error
                return [None]
        found: list[Array | None] = []
        for one in members:
            [row] = self._fed([one])
            found.append(None if row is None else row.copy())
        return found

    def _out(self, members: list[Member]) -> None:
        """These leave the model."""
        numbers = [one.number for one in members if one.number >= 0]
        self.members = [one for one in self.members if one not in members]
        for one in members:
            one.number = -1
        if numbers:
            self.decoding.leave(np.array(numbers))


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
    company, waiting = Together(decoding, at_once), deque(calls)
    groups: list[list[Member]] = []
    while waiting or company.busy:
        while waiting and company.has_room(waiting[0][1]):
            groups.append(company.join(*waiting.popleft()))
        for one in company.step():
            if one.error is not None:
                raise one.error
    return [[one.texts.ids[0].copy() for one in group] for group in groups]
