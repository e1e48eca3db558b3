"""From many inputs to answers in order: the frame that every pipeline runs in.

    inputs -> windows -> rows of ids -> batches of similar length -> results -> answers, in the order of the inputs

An input may make several rows: a long context its windows, a text to sort its labels. There is no padding, so a batch
is limited by its number of tokens, and a row's result does not depend on the others in it. Inputs may be a stream: they
are read a window at a time, a small one first, so the first answer comes soon and memory does not grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import Ints, Mask
from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError

FIRST_WINDOW = 1  # inputs that are read ahead, at first
AT_ONCE = 2  # batches, where they may be computed beside each other


class Pace(NamedTuple):
    """How much is done at once."""

    tokens: int  # a batch
    window: int  # inputs that are read ahead at most
    apart: Callable[[int], None] | None = None  # threads take turns at batches, and each begins by giving its number


ON_CPU = Pace(2048, 256)  # enough to keep every thread busy; the activations of one layer still fit a cache
ON_GPU = Pace(32768, 1024)  # expected, not measured: 2048 tokens are done sooner than they are asked for


def pace_of(model: Any) -> Pace:
    """The pace that suits the backend of a model.

    >>> from types import SimpleNamespace
    >>> pace_of(SimpleNamespace(backend="numba")).tokens
    2048
    """
    return ON_GPU._replace(apart=model.ops.apart) if model.backend.startswith("cupy") else ON_CPU


class Prepared(NamedTuple):
    """One input, ready for the model."""

    rows: list[Ints]  # ids (T,) each, special tokens and all
    rest: Any = None  # what `finish` wants to know


def check_pace(batch_size: Any, num_workers: Any) -> None:
    """transformers' arguments, which change nothing here: a batch holds as many tokens as are good for speed.

    No answer depends on them, there or here. Raises InputError for what they cannot be.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if value is not None:
            whole_number(name, value, least)


def several(inputs: Any, what: str = "a text") -> Any:
    """The inputs of a call that is not for one alone: as a list if their number is known, else as the stream it is.

    A tuple, a column of pandas, NumPy, Arrow or `datasets` is as good as a list, and is answered with one. Raises
    InputError where they are no several: a dict and bytes could be gone through too, by their keys and their numbers, a
    table by the names of its columns, a set in any order, and nobody means that.

    >>> several(("a", "b")), next(several(iter(["a"])))
    (['a', 'b'], 'a')
    """
    if isinstance(inputs, list):
        return inputs
    inputs = by_number(inputs)
    kind = type(inputs).__name__
    if not isinstance(inputs, Iterable) or isinstance(inputs, str | dict | bytes | bytearray | set | frozenset):
        raise InputError(f"{what} or several are needed, not {kind}")
    if hasattr(inputs, "columns") or getattr(inputs, "ndim", 1) != 1:
        raise InputError(f"{what} or several are needed, not {kind}: choose one column")
    if hasattr(inputs, "to_pylist"):  # Arrow's, whose elements are no strings by themselves
        return inputs.to_pylist()
    return list(inputs) if isinstance(inputs, Sized) else inputs


def by_number(inputs: Any) -> Any:
    """A data set that has a length and numbered items but no iterator, as PyTorch's are, item by item.

    Anything else as it is.
    """
    if isinstance(inputs, Iterable) or not (hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")):
        return inputs
    return (inputs[i] for i in range(len(inputs)))


def answered(
    inputs: Iterable[Any],
    prepare: Callable[[Any, str], Prepared],
    compute: Callable[[Ints, Mask], Iterable[Any]],
    finish: Callable[[Prepared, list[Any]], Any],
    first: int,
    pace: Pace,
) -> Iterator[Any]:
    """The answers to the inputs, in order.

    prepare(input, name): the input's rows; name is for messages, "the input" or "input 3". compute(ids, mask): (B, T)
    each, padded with zeros, to B results. finish(prepared, results): its answer. first: how many inputs came before,
    for the names. pace: pace_of(model). An input for which `prepare` raises InputError ends it, after those before it
    have had their answers.
    """
    several = first > 0 or (isinstance(inputs, list) and len(inputs) > 1)
    for window in windows(inputs, pace.window):
        ready: list[Prepared] = []
        problem: InputError | None = None
        several = several or len(window) > 1
        try:
            for i, one in enumerate(window, start=first + 1):
                ready.append(prepare(one, f"input {i}" if several else "the input"))
        except InputError as error:
            problem = error
        results = iter(by_length([row for one in ready for row in one.rows], compute, pace))
        for one in ready:
            yield finish(one, list(islice(results, len(one.rows))))
        if problem:
            raise problem
        first, several = first + len(window), True


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


def by_length(rows: list[Ints], compute: Callable[[Ints, Mask], Iterable[Any]], pace: Pace) -> list[Any]:
    """compute's result for every row, computed in batches of similar length."""
    results: list[Any] = [None] * len(rows)

    def one(batch: list[int]) -> list[Any]:
        return computed([rows[i] for i in batch], compute)

    work = list(batches([len(ids) for ids in rows], pace.tokens))
    for batch, found in zip(work, in_turns(one, work, pace.apart), strict=True):
        for i, result in zip(batch, found, strict=True):
            results[i] = result
    return results


def in_turns(one: Callable[[Any], Any], work: list[Any], apart: Callable[[int], None] | None) -> Iterator[Any]:
    """one(piece) of every piece of work, in order; of two at once where each thread has somewhere to compute apart.

    Whatever ends it early, an error or Ctrl-C, what was not begun is not done.
    """
    if apart is None or len(work) < 2:
        yield from map(one, work)
        return
    numbers = count()
    threads = ThreadPoolExecutor(AT_ONCE, initializer=lambda: apart(next(numbers)))
    try:
        yield from threads.map(one, work)
    finally:
        threads.shutdown(cancel_futures=True)


def computed(rows: list[Ints], compute: Callable[[Ints, Mask], Iterable[Any]]) -> list[Any]:
    """compute's results for the rows of one batch; for halves of it, where there is too little memory for all.

    Raises MemoryError where there is too little for one row.
    """
    try:
        return list(compute(*padded(rows)))
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
