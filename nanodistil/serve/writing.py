"""The texts that one model is writing, of all requests: who joins, who is told of what, who has gone.

A prompt waits in a queue of its own kind, fair between clients, until there is room for its answers; then all that are
in the model are a token further with each step (generation/joining.py). Between two steps prompts join and those leave
that nobody waits for any more. Who wants to see an answer grow is told of each token, others of the whole.

`push`, `forget` and `joining` are called under the engine's lock; `step` on its thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nanodistil.backend import Ints
from nanodistil.generation.joining import AT_ONCE, Looks, Member, Together
from nanodistil.pipelines.text_generation import Wanted
from nanodistil.serve.queue import Queue, Unit
from nanodistil.serve.standing import Standing


class News(NamedTuple):
    """One token more of an answer."""

    place: int  # of the prompt in its request
    answer: int  # which of its answers
    token: int
    seen: Any  # what Prompt.looks said of it
    ended: bool


class Written(NamedTuple):
    """A whole answer."""

    ids: Ints  # (n,) the new tokens
    seen: list[Any]  # of each, what Prompt.looks said


class Prompt(NamedTuple):
    """A prompt, and what is wanted of what follows it."""

    wanted: Wanted  # as the pipeline's row has it
    answers: int
    tokens: int  # what it counts as: its own, and all that may follow
    looks: Looks | None = None
    told: Callable[[list[News]], None] | None = None  # of each step, on the engine's thread

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return int(self.wanted.call.prompts.ids.shape[1])


Deliver = Callable[[Unit, Any], None]


class Writing:
    """What one pipeline's model writes. read_at_once: tokens of new prompts in a step, if there are several."""

    def __init__(self, pipe: Any, read_at_once: int) -> None:
        self.pipe, self.read_at_once = pipe, read_at_once
        self.queue = Queue(1)  # gives one at a time
        self.standing = Standing(self.queue, 0)
        self.together: Together | None = None  # while there is somebody
        self.open: dict[Unit, list[Member]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing is written."""
        return not self.queue.waiting and not self.open

    def refuses(self, client: str, now: float) -> bool:
        """Whether a client should come back later: as many answers as are written at once wait before it."""
        self.standing.most = self._full()
        return self.standing.refuses(client, now)

    def _full(self) -> int:
        """Tokens of as many answers as are written at once, if they are like those that there are."""
        units = [unit for heap in self.queue.waiting.values() for _, _, unit in heap] + list(self.open)
        answers: int = sum(unit.work.answers for unit in units)
        return AT_ONCE * sum(unit.tokens for unit in units) // max(1, answers)

    def joining(self, now: float) -> list[Unit]:
        """The prompts there is room for now, which leave the queue."""
        busy = 0 if self.together is None else self.together.busy
        found: list[Unit] = []
        read = 0
        while (unit := self.queue.next()) is not None:
            if busy and busy + unit.work.answers > AT_ONCE:
                break
            if found and read + unit.work.length > self.read_at_once:
                break
            found += self.queue.pop()
            busy += unit.work.answers
            read += unit.work.length
        self.standing.most = self._full()
        self.standing.look(now)
        return found

    def step(self, fresh: list[Unit], deliver: Deliver) -> tuple[int, int]:
        """Let these join, and all go a token further: how many answers, and how many tokens were read."""
        if self.together is None:
            self.together = Together(self.pipe.model.decoding())
        for unit in fresh:
            call = unit.work.wanted.call
            self.open[unit] = self.together.join(call.prompts, unit.work.answers, call.way, unit.work.looks)
        for unit in [unit for unit in self.open if unit.ticket.future.done()]:  # gone, or another of its texts failed
            self.together.leave(self.open.pop(unit))
        counted = 0, 0
        if self.open:
            new = sum(unit.work.length for unit in fresh if unit in self.open)
            went = set(self.together.step())
            counted = len(went), new + len(went) - sum(unit in self.open for unit in fresh)
            for unit, group in list(self.open.items()):
                self._tell(unit, [one for one in group if one in went], deliver)
        if not self.open:
            self.together = None  # and what the model remembers is free, or kept for the next
        return counted

    def fail(self, error: Exception, deliver: Deliver) -> None:
        """End all that is on its way with an error, which is a bug's."""
        units, self.open, self.together = list(self.open), {}, None
        for unit in units:
            deliver(unit, error)

    def _tell(self, unit: Unit, went: list[Member], deliver: Deliver) -> None:
        group = self.open[unit]
        error = next((one.error for one in went if one.error is not None), None)
        if error is None and unit.work.told is not None and went:
            unit.work.told(
                [
                    News(unit.place, one.answer, int(one.next_[0]), one.seen[-1] if one.seen else None, one.ended)
                    for one in went
                ]
            )
        if error is None and not all(one.ended for one in group):
            return
        if self.together is not None:
            self.together.leave(group)
        del self.open[unit]
        length = unit.work.length
        deliver(unit, error or [Written(one.texts.ids[0, length:].copy(), one.seen) for one in group])
