"""How fast a learner's function is: beside the definition and the compiled kernel, and of what the machine can do.

One thread each, in processor time, so that others on the machine do not count; the best of several runs. An op waits
for arithmetic or for memory; which of the two takes longer at the machine's measured peak and bandwidth is its limit,
and the share of it that is reached is told, as in `bench`. Linear maps have the ladder of `bench --ladder` beside them.

A slow answer is timed on a small shape: the large one would take minutes in plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import instrument, load
from nanodistil.exercises.report import columns
from nanodistil.weights.errors import MissingExtraError

Run = Callable[[], Any]
ENOUGH = 0.15  # seconds a rival is run
YOURS, OURS = 10.0, 300.0  # seconds until something is wrong; ours may have to be compiled
LONGEST = 0.5  # seconds a run may take if it is to be timed on the large shape


@dataclass(frozen=True)
class Race:
    """One shape: what a function does there, and who else does it."""

    what: str  # "12 x 128 x 128"
    yours: Callable[[Callable[..., Any]], Any]  # runs the learner's function once
    rivals: list[tuple[str, Run]] = field(default_factory=list)  # from slow to fast
    flops: float = 0
    bytes: float = 0
    factor: float = 64  # of work, from the small shape to the large


def normal(*shapes: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """Arrays to run on, the same each time."""
    random = np.random.default_rng(0)
    return [random.standard_normal(shape, np.float32) for shape in shapes]


def timed(run: Run, seconds: float = ENOUGH) -> float:
    """The shortest of some runs, at least one, after one that does not count: it may compile."""
    run()
    shortest, began = float("inf"), process_time()
    while shortest == float("inf") or process_time() - began < seconds:
        before = process_time()
        run()
        shortest = min(shortest, process_time() - before)
    return shortest


def compiled_ops() -> Any:
    """The compiled kernels, on one thread from now on; None without Numba."""
    try:
        return load("numba", 1) if instrument("peak").compiled() else None
    except MissingExtraError:
        return None


def against(ops: Any, definition: Run, kernel: Callable[[Any], Any]) -> list[tuple[str, Run]]:
    """The rivals of most: the definition, and the compiled kernel, which is given `ops`; None: there are none."""
    return [("definition, NumPy", definition), *([("our kernel", lambda: kernel(ops))] if ops else [])]


def limit(race: Race) -> tuple[float, str]:
    """The least seconds that this machine needs, and what for: "peak" or "memory"; (0, "") if it is not known."""
    if compiled_ops() is None or not (race.flops or race.bytes):
        return 0.0, ""
    peak = instrument("peak")
    arithmetic = race.flops / peak.peak(0.05, 1) if race.flops else 0.0
    memory = race.bytes / peak.bandwidth(0.05, 16) if race.bytes else 0.0
    return (arithmetic, "peak") if arithmetic >= memory else (memory, "memory")


def run_race(
    make: Callable[[bool], Race], function: Callable[..., Any], announce: Callable[[str, float], None]
) -> list[str]:
    """The lines of a report. announce: is told what is timed, and how long that may take."""
    announce("the speed of others", OURS)
    race, full = make(False), make(True)
    announce("its speed", YOURS)
    race.yours(function)  # compiles it
    began = process_time()
    race.yours(function)
    if (process_time() - began) * race.factor < LONGEST:
        race = full
    seconds = timed(lambda: race.yours(function))
    announce("the speed of others", OURS)
    floor, bound = limit(race)
    rows = [(name, timed(run, ENOUGH / 2)) for name, run in race.rivals] + [("yours", seconds)]
    table = []
    for name, took in sorted(rows, key=lambda row: -row[1]):
        share = f"{floor / took:.0%} of {bound}" if bound and floor <= took else "in cache" if bound else ""
        rate = f"{race.flops / took / 1e9:.3g} GFLOP/s" if race.flops else ""
        table.append((f"  {name}", _time(took), f"{seconds / took:.3g} x" if name != "yours" else "", rate, share))
    return [f"speed, {race.what}, processor time; x: as fast as yours", *columns(table)]


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
