"""Engines beside one another, in blocks of calls that take turns: ratios on a machine that is never quiet.

- Each at its best: every variant of an engine is tried on every shape, and the fastest counts.
- Blocks: a peer's threads go on spinning after its call, and slow whoever comes next. So an engine's turn begins with
  a pause, in which they go to sleep, and a call that does not count; then it is called again and again for a while.
- Turns: A B C, B C A, ...: what slows the machine for a while slows all.
- A ratio is the median over the rounds of (its time / ours in the same round), not a ratio of medians.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np

from nanodistil.benchmark import shape_of
from nanodistil.peers import EXTRA, PACKAGES, Call, Files, Ints, Shape, Variant, missing, variants

__all__ = [
    "EXTRA",
    "Cell",
    "Chosen",
    "batch",
    "compare",
    "fastest",
    "measure",
    "missing",
    "ratios",
    "turns",
    "versions",
]

OURS = "nanodistil"
DTYPES = ("float32", "bfloat16", "int8")
PAUSE = 0.02  # seconds between two engines
TURN = 0.05  # seconds of one turn, if a call is shorter
TRY = 0.2  # seconds to see how fast a variant is
ROUNDS = 5

Engine = tuple[str, str]  # name, dtype


class Chosen(NamedTuple):
    """An engine's best variant."""

    name: str
    call: Call
    seconds: float  # its shortest call


class Cell(NamedTuple):
    """What one shape came to."""

    shape: str
    variants: dict[Engine, str]
    seconds: dict[Engine, float]  # the median of its turns
    ratios: dict[Engine, float]  # how many times as long as ours in the same dtype
    rounds: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, whose names are one text."""
        engines = [
            {
                "engine": name,
                "dtype": dtype,
                "variant": self.variants[name, dtype],
                "seconds": self.seconds[name, dtype],
                "times_ours": self.ratios.get((name, dtype)),
            }
            for name, dtype in self.seconds
        ]
        return {"shape": self.shape, "rounds": self.rounds, "engines": engines}


def clock(call: Call, ids: Ints, mask: Ints) -> float:
    """Seconds of one call."""
    began = perf_counter()
    call(ids, mask)
    return perf_counter() - began


def batch(shape: str, words: int) -> tuple[Ints, Ints]:
    """Random ids of a shape, and a mask without padding."""
    B, T = shape_of(shape)
    ids = np.random.default_rng((B, T)).integers(0, words, (B, T))
    return ids, np.ones_like(ids)


def fastest(variants: Iterable[Variant], ids: Ints, mask: Ints, fixed: bool = True) -> dict[Engine, Chosen]:
    """The best variant of every engine, by its shortest call: a short try meets noise. fixed: one shape, no padding."""
    best: dict[Engine, Chosen] = {}
    for v in variants:
        if ("fixed" if fixed else "padded") not in v.shapes or ("even" in v.shapes and len(ids) % 2):
            continue
        call = v.load(ids.shape if fixed else None)
        call(ids, mask)
        until = perf_counter() + TRY
        shortest = clock(call, ids, mask)
        while perf_counter() < until:
            shortest = min(shortest, clock(call, ids, mask))
        engine = v.engine, v.dtype
        if engine not in best or shortest < best[engine].seconds:
            best[engine] = Chosen(v.name, call, shortest)
        del call
        gc.collect()  # what the slower one held
        sleep(PAUSE)
    return best


def turns(chosen: dict[Engine, Any], number: int) -> list[Engine]:
    """Whose turn it is, one after the other, in round `number`.

    >>> turns({("A", ""): 0, ("B", ""): 0, ("C", ""): 0}, 4)
    [('B', ''), ('C', ''), ('A', '')]
    """
    order = list(chosen)
    shift = number % len(order)
    return order[shift:] + order[:shift]


def measure(shape: str, chosen: dict[Engine, Chosen], ids: Ints, mask: Ints, budget: float = 1.0) -> Cell:
    """Every engine's time and its ratio to ours. budget: about so many seconds an engine, at least ROUNDS rounds of
    short calls and three of long ones."""
    samples: dict[Engine, list[float]] = {engine: [] for engine in chosen}
    began, rounds = perf_counter(), 0
    while rounds < 3 or (spent := perf_counter() - began) < 3 * budget * len(chosen):
        if rounds >= ROUNDS and spent >= budget * len(chosen):
            break
        for engine in turns(chosen, rounds):
            _, call, shortest = chosen[engine]
            sleep(PAUSE)
            if shortest < 2 * TURN:
                call(ids, mask)
            samples[engine].append(median(clock(call, ids, mask) for _ in range(max(1, int(TURN / shortest)))))
        rounds += 1
    return Cell(
        shape,
        {engine: best.name for engine, best in chosen.items()},
        {engine: median(times) for engine, times in samples.items()},
        ratios(samples),
        rounds,
    )


def ratios(samples: dict[Engine, list[float]]) -> dict[Engine, float]:
    """The median over the rounds of an engine's time / ours in its dtype.

    >>> ratios({("nanodistil", "int8"): [1.0, 4.0, 2.0], ("A", "int8"): [2.0, 4.0, 3.0], ("A", "float32"): [9.0]})
    {('nanodistil', 'int8'): 1.0, ('A', 'int8'): 1.5}
    """
    found = {}
    for (name, dtype), times in samples.items():
        if own := samples.get((OURS, dtype)):
            found[name, dtype] = median(a / b for a, b in zip(times, own, strict=True))
    return found


def versions() -> dict[str, str]:
    """Package -> version, of ours and of the peers that are installed."""
    lacking = missing()
    return {package: version(package) for package in ("nanodistil", "numba", *PACKAGES) if package not in lacking}


def compare(
    load: Callable[..., Any], dtypes: Sequence[str], shapes: Sequence[str], threads: int, budget: float
) -> Iterator[Cell]:
    """The whole encoder in each of `dtypes`, ours beside each peer: shape after shape, as it is done.

    load: makes the model, from backend and dtype. Raises MissingExtraError if no peer is installed, InputError for a
    shape.
    """
    for shape in shapes:
        shape_of(shape)  # before a model is loaded
    plain = cache(lambda: load(backend="numpy", dtype="float32"))

    def ours(dtype: str) -> Callable[[Shape], Call]:
        kept = cache(lambda: load(backend="numba", dtype=dtype))  # its weights packed once, not for each shape
        return lambda shape: kept()

    with tempfile.TemporaryDirectory() as folder:
        everyone = [Variant(OURS, dtype, "", ours(dtype)) for dtype in dtypes]
        everyone += [v for v in variants(Files(Path(folder), "model", plain), threads) if v.dtype in dtypes]
        for shape in shapes:
            ids, mask = batch(shape, plain().config.vocab_size)
            yield measure(shape, fastest(everyone, ids, mask), ids, mask, budget)
