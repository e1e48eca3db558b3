"""Several tasks learned at once by one body, each with a head of its own (Caruana 1997; Liu et al. 2019, MT-DNN).

    sentences with labels -> batches |
    words with tags       -> batches | in one random order -> the loss of that batch's head -> one AdamW
    text                  -> batches |

A batch is of one task, and an epoch has every batch of every task once, as in algorithm 1 of MT-DNN: so a task weighs
as much as it has batches. What one task teaches the words and layers all others begin from at the next batch; a task
with few examples is held by one with many, and masked words keep the language that a task would forget.

The trainees of the tasks do not know of each other: each goes forward and back with a whole model. `Together` stands
between them and the optimiser, as lora.py does for one: it has the body once and every head, in one array. Before a
batch its task's trainee is brought up to date, and after a step's last one the gradients are gathered, each body's into
the same place. That is 180 MB a step of the embedded model, 35 ms on an Ice Lake Xeon, of a step's seconds; in return
no forward pass has to know that there are other heads. It costs memory: each task's trainee has weights and gradients
of its own, twice a model, and what the optimiser sees is once more as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanodistil.backend import Array, Ints
from nanodistil.training.trainee import Trainee, aligned
from nanodistil.weights.names import is_head


@dataclass(frozen=True, kw_only=True)
class Also:
    """A task that is learned along with the first: its name and settings as finetune's, its files, rows in a batch.

    examples: of `train` and `dev`, as the task reads them, where they are in memory.
    """

    task: str
    train: str
    settings: dict[str, Any] = field(default_factory=dict)
    dev: str | None = None
    batch_size: int | None = None  # None: as the first task's
    examples: tuple[Any, Any] | None = None


def folders(tasks: Sequence[str]) -> list[str]:
    """Names for several tasks, told apart by a number where there are two of a kind.

    >>> folders(["classification", "masked-lm", "classification"])
    ['classification', 'masked-lm', 'classification-2']
    """
    counts = [tasks[: i + 1].count(task) for i, task in enumerate(tasks)]
    return [task if n == 1 else f"{task}-{n}" for task, n in zip(tasks, counts, strict=True)]


class Together:
    """What of several trainees of one body the loop and the optimiser see: one array, and the gradients.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM, DistilBertForSequenceClassification
    >>> tiny = DistilBertConfig(vocab_size=9, max_position_embeddings=4, n_layers=1, n_heads=2, dim=4, hidden_dim=8)
    >>> heads = (DistilBertForSequenceClassification, DistilBertForMaskedLM)
    >>> both = Together([Trainee(head(tiny, backend="numpy")) for head in heads])
    >>> [len(one.flat) for one in both.members], len(both.flat)
    ([262, 269], 299)
    """

    def __init__(self, members: Sequence[Trainee]) -> None:
        """members: of models that began from one; the body is that of the first from now on."""
        self.members, self.ops = tuple(members), members[0].ops
        own = [
            (number, name)
            for number, member in enumerate(members)
            for name in member.places
            if number == 0 or is_head(name)
        ]
        own.sort(key=lambda one: members[one[0]].places[one[1]].start >= members[one[0]].decayed)  # stable
        self.places: dict[str, slice] = {}
        self.decayed, end = 0, 0
        at: dict[tuple[int, str], slice] = {}
        for number, name in own:
            there = members[number].places[name]
            here = at[number, name] = slice(end, end + there.stop - there.start)
            self.places[f"{name} of {number}" if number else name] = here
            end = here.stop
            if there.start < members[number].decayed:
                self.decayed = end
        self._homes = [  # of each member: places here, and there
            [(at[number if is_head(name) else 0, name], there) for name, there in member.places.items()]
            for number, member in enumerate(members)
        ]
        floats = members[0].flat.dtype
        self.flat: Array = self.ops.send(aligned(end, floats))  # (n,)
        self._gradients: Array = self.ops.send(aligned(end, floats))
        for member, homes in reversed(list(zip(self.members, self._homes, strict=True))):
            for here, there in homes:
                self.flat[here] = member.flat[there]
        self._old = set(range(len(members)))  # members that have not the weights of the last step
        self._used = set[int]()  # those that went back since the last step
        self._told = False

    @property
    def flat_gradients(self) -> Array:
        """(n,): gathered when they are asked for the first time after a step."""
        if not self._told:
            self._gradients[...] = 0
            for number in sorted(self._used):
                for here, there in self._homes[number]:
                    self._gradients[here] += self.members[number].flat_gradients[there]
            self._told = True
        return self._gradients

    def zero_gradients(self) -> None:
        """Forget what was added to the gradients so far."""
        for number in self._used:
            self.members[number].zero_gradients()
        self._used, self._told = set(), False

    def refresh(self) -> None:
        """The weights are others now: a member learns of it when it is asked for."""
        self._old = set(range(len(self.members)))

    def member(self, number: int) -> Trainee:
        """A trainee, with the weights as they are now."""
        member = self.members[number]
        if number in self._old:
            for here, there in self._homes[number]:
                member.flat[there] = self.flat[here]
            member.refresh()
            self._old.discard(number)
        return member

    def refresh_members(self) -> None:
        """Every model answers with what was learned so far."""
        for number in range(len(self.members)):
            self.member(number)

    def goes_back(self, number: int) -> Trainee:
        """A trainee whose gradients are to count from now on, with the weights as they are now."""
        self._used.add(number)
        return self.member(number)


class Woven(Sequence[tuple[int, Ints]]):
    """The batches of several tasks in one order, each with its task's number.

    >>> woven = Woven([[np.array([0, 1]), np.array([2])], [np.array([0])]], seed=1, epoch=0)
    >>> [(number, items.tolist()) for number, items in woven]
    [(0, [2]), (1, [0]), (0, [0, 1])]
    """

    def __init__(self, batches: Sequence[Sequence[Ints]], seed: int, epoch: int) -> None:
        self.batches = batches
        which = np.repeat(np.arange(len(batches)), [len(one) for one in batches])
        places = np.concatenate([np.arange(len(one)) for one in batches])
        order = np.random.default_rng((seed, epoch, len(batches))).permutation(len(which))
        self.order = np.stack([which, places], 1)[order]  # (batches of all, 2)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: Any) -> Any:
        task, place = self.order[number].tolist()
        return task, self.batches[task][place]


def woven(epochs: Sequence[Callable[[int], Sequence[Ints]]], seed: int) -> Callable[[int], Sequence[Any]]:
    """The epochs of several tasks as one, as the loop asks for it."""
    return lambda number: Woven([epoch(number) for epoch in epochs], seed, number)
