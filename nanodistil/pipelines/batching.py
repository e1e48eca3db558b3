"""Rows of different lengths as batches of similar length.

There is no padding in the model, so a batch is limited by its number of tokens, and a row's result does not depend on
the others in it. Two batches overlap if the backend can compute beside itself; one that finds too little memory is
halved. Inputs are read a window at a time, a small one first, so the first answer comes soon and memory does not grow.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from queue import Empty, SimpleQueue
from time import sleep
from typing import Any, NamedTuple, TypeVar

import numpy as np

from nanodistil.backend import Ints, Mask, named

FIRST_WINDOW = 1  # inputs that are read ahead, at first
AT_ONCE = 2  # batches, if they may be computed beside each other

AnyRow = TypeVar("AnyRow", bound=Sized)  # ids (T,), or what has them and their length


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """What a model reads at once."""

    ids: Ints  # (T,), special tokens and all
    wanted: Any = None  # of what the model says of it, if not all; hashable
    second: int | None = None  # where the second text of a pair begins, for a model that tells the two apart

    def __len__(self) -> int:
        return len(self.ids)


class Pace(NamedTuple):
    """How much is done at once."""

    tokens: int  # a batch
    window: int  # inputs that are read ahead at most
    own_stream: Callable[[int], None] | None = None  # what each of two threads begins with, giving its number


ON_CPU = Pace(2048, 256)  # enough to keep every thread busy; the activations of one layer still fit a cache
ON_GPU = Pace(32768, 1024)  # expected, not measured: 2048 tokens are done sooner than they are asked for


def pace_of(model: Any) -> Pace:
    """The pace that suits the backend of a model.

    >>> from types import SimpleNamespace
    >>> pace_of(SimpleNamespace(backend="numba")).tokens
    2048
    """
    return ON_GPU._replace(own_stream=model.ops.apart) if named(model.backend)[0].on_gpu else ON_CPU


def windows(inputs: Iterable[Any], longest: int) -> Iterator[list[Any]]:
    """The inputs in lists: a list as it is if it is short, else few at first and then more.

    >>> [len(window) for window in windows(iter(range(10)), 4)]
    [1, 2, 4, 3]
    """
    if isinstance(inputs, list) and len(inputs) <= longest:
        if inputs:
            yield inputs
        return
    stream, size = iter(inputs), longest if isinstance(inputs, list) else FIRST_WINDOW
    while window := list(islice(stream, size)):
        yield window
        size = min(2 * size, longest)


def by_length(
    rows: list[Row], compute: Callable[[dict[str, Any]], Iterable[Any]], pace: Pace, padding: int | None = None
) -> list[Any]:
    """The result of every row; compute: the arguments of a model's call for B of them, to B results."""
    return in_batches(rows, lambda batch: compute(inputs_of(batch, padding)), pace)


def inputs_of(rows: Sequence[Row], padding: int | None = None) -> dict[str, Any]:
    """The arguments of a model's call on B rows: "input_ids" and "attention_mask", (B, T).

    padding: the model's padding token, by which one that reads left to right tells where a text ends; None: 0.

    If a row has a second text, which the model is to tell from the first, "token_type_ids" too.

    >>> inputs_of([Row(np.array([7, 8, 9]), second=2), Row(np.array([5]))])["token_type_ids"].tolist()
    [[0, 0, 1], [0, 0, 0]]
    """
    ids, real = padded([row.ids for row in rows])
    ids[~real] = padding or 0
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": real}
    if any(row.second is not None for row in rows):
        T = ids.shape[1]
        second = np.array([T if row.second is None else row.second for row in rows])  # (B,)
        inputs["token_type_ids"] = (real & (np.arange(T) >= second[:, None])).astype(np.int64)
    return inputs


def in_batches(rows: list[AnyRow], compute: Callable[[list[AnyRow]], Iterable[Any]], pace: Pace) -> list[Any]:
    """compute's result for every row, computed in batches of similar length."""
    results: list[Any] = [None] * len(rows)

    def one(batch: list[int]) -> list[Any]:
        return computed([rows[i] for i in batch], compute)

    work = list(batches([len(row) for row in rows], pace.tokens))
    for batch, found in zip(work, two_at_once(one, work, pace.own_stream), strict=True):
        for i, result in zip(batch, found, strict=True):
            results[i] = result
    return results


def two_at_once(one: Callable[[Any], Any], work: list[Any], own_stream: Callable[[int], None] | None) -> Iterator[Any]:
    """one(piece) of every piece of work, in order; of two at once if each thread has a stream of its own.

    Whatever ends it early, an error or Ctrl-C, what was not begun is not done.
    """
    if own_stream is None or len(work) < 2:
        yield from map(one, work)
        return
    numbers = count()
    found: dict[int, Any] = {}
    failed: list[BaseException] = []
    over: list[bool] = []
    ended: list[int] = []
    bell: SimpleQueue[None] = SimpleQueue()

    def take(number: int) -> None:
        try:
            own_stream(number)
            while not over and (i := next(numbers)) < len(work):
                found[i] = one(work[i])
                bell.put(None)
        except BaseException as error:
            failed.append(error)
        ended.append(number)
        bell.put(None)

    # Neither an executor nor a Thread: a signal handler's exception could leave their locks locked, for ever.
    begun = 0
    try:
        for number in range(AT_ONCE):
            _thread.start_new_thread(take, (number,))
            begun += 1
        for i in range(len(work)):
            while i not in found:
                if failed:
                    raise failed[0]
                with suppress(Empty):  # a ring may be lost with such an exception
                    bell.get(timeout=0.1)
            yield found.pop(i)
    finally:
        over.append(True)
        while len(ended) < begun:
            sleep(1e-3)


def computed(rows: list[AnyRow], compute: Callable[[list[AnyRow]], Iterable[Any]]) -> list[Any]:
    """compute's results for the rows of one batch; for halves of it, if there is too little memory for all.

    Raises MemoryError if there is too little for one row.
    """
    try:
        return list(compute(rows))
    except MemoryError:
        if len(rows) == 1:
            raise
    half = len(rows) // 2  # out of the except clause, whose traceback holds what the attempt had allocated
    return computed(rows[:half], compute) + computed(rows[half:], compute)


def batches(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """Indices of rows of similar length, at most `budget` tokens together (a longer row goes alone).

    >>> list(batches([3, 9, 4, 5], budget=8))
    [[0, 2], [3], [1]]
    """
    batch: list[int] = []
    total = 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and total + lengths[i] > budget:
            yield batch
            batch, total = [], 0
        batch.append(i)
        total += lengths[i]
    if batch:
        yield batch


def padded(rows: list[Ints]) -> tuple[Ints, Mask]:
    """Rows of different lengths -> ids (B, T) and which of them are real (B, T)."""
    T = max(len(ids) for ids in rows)
    ids = np.zeros((len(rows), T), np.int64)
    real = np.arange(T) < np.array([len(row) for row in rows])[:, None]
    ids[real] = np.concatenate(rows)
    return ids, real
