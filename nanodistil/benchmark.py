"""How fast a model is on this machine, op by op, and how far from what the machine can do.

The model is handed its arithmetic as `ops`, so nothing need be built in to time it: `Timed` stands in front of the
backend, passes every call on and notes how long it took. What an op had to do is read off its arguments:

    linear, linear_*     2 N I O operations: one multiplication and one addition for each pair of input and output
    attention*           4 D operations for each pair of query and key: scores, then averaged values
    any other            none worth counting: it moves memory

and the bytes it cannot avoid moving are those of its arguments and its result, once each. From both follows the least
time the machine needs, at its measured peak and bandwidth; the larger of the two is the op's limit, and the share of it
that is reached is what to look at. What is done faster than memory could have given its bytes had them in a cache, or
passed them on untouched: then there is no share to tell, and "in cache" is said. GELU, softmax and LayerNorm are not
counted as operations, though they take time, so 100 % is out of reach if they are fused.

Times are medians. A GPU is asked and works on by itself, so it is waited for after every op, and what it takes to ask
(about 5 us) is in its time. Only what measures or explains imports this file.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from nanodistil.backend import instrument, named
from nanodistil.weights.errors import InputError, excerpt

LADDER_SHAPE = (128, 768, 3072)  # N, I, O: one sentence of 128 tokens through lin1 of the official model


def nbytes(value: Any) -> int:
    """Bytes of all arrays in a value."""
    if isinstance(value, (tuple, list)):
        return sum(map(nbytes, value))
    return int(getattr(value, "nbytes", 0))


def traffic(op: str, arguments: dict[str, Any], result: Any) -> int:
    """Bytes of one call's arguments and result; of the embedding tables only the rows that are asked for."""
    return 3 * nbytes(result) if op.startswith("embed") else nbytes(list(arguments.values())) + nbytes(result)


def operations(op: str, arguments: dict[str, Any], result: Any) -> int:
    """Multiplications and additions of one call, counted as at the head of this file."""
    if op.startswith("linear"):
        return 2 * int(arguments["x"].size) * int(result.shape[1])
    if op in ("attention", "attention_scores"):
        asking, starts = np.diff(arguments["who"].asking), np.diff(arguments["who"].starts)
        return (4 if op == "attention" else 2) * int(arguments["q"].shape[1]) * int((asking * starts).sum())
    return 0


@dataclass
class OpTime:
    """An op's part of one forward pass: all calls under one name together."""

    name: str
    calls: int = 0
    seconds: float = 0.0
    flops: int = 0
    bytes: int = 0
    arithmetic: float = 0.0  # the least seconds at the machine's peak for this op; 0 if it is not known
    floor: float = 0.0  # the least seconds at the machine's peak and bandwidth; 0 if they are not known
    bound: str = ""  # "peak" or "bandwidth", whichever takes longer; the part of the calls that takes longest

    def reached(self) -> float:
        """The share of the limit that is reached; 0 if it is not known."""
        return self.floor / self.seconds if self.seconds else 0.0

    def in_cache(self) -> bool:
        """Whether its data came from a cache, or did not move at all: it was there faster than memory can give it."""
        return self.bound == "bandwidth" and self.reached() > 1


class Timed:
    """An Ops that passes each call on to another and notes its time under op and weight, as "lin1 linear"."""

    def __init__(self, ops: Any, names: dict[int, str], limits: Any = None) -> None:
        self.ops, self.names, self.limits = ops, names, limits
        self.wait = getattr(ops, "wait", lambda: None)  # only a GPU is ever behind
        self.seen: dict[str, OpTime] = {}

    def __getattr__(self, op: str) -> Callable[..., Any]:
        function = getattr(self.ops, op)
        signature = inspect.signature(function)

        def timed(*positional: Any, **named: Any) -> Any:
            began = perf_counter()
            result = function(*positional, **named)
            self.wait()
            seconds = perf_counter() - began
            self._note(op, signature.bind(*positional, **named).arguments, result, seconds)
            return result

        setattr(self, op, timed)  # looked up once
        return timed

    def _note(self, op: str, arguments: dict[str, Any], result: Any, seconds: float) -> None:
        weight = next((self.names[id(a)] for a in arguments.values() if id(a) in self.names), "")
        name = f"{weight} {op}".strip()
        row = self.seen.setdefault(name, OpTime(name))
        flops, moved = operations(op, arguments, result), traffic(op, arguments, result)
        row.calls += 1
        row.seconds += seconds
        row.flops += flops
        row.bytes += moved
        if self.limits:
            arithmetic, memory = flops / self.limits.peak_of(op), moved / self.limits.bandwidth
            row.arithmetic += arithmetic
            row.floor += max(arithmetic, memory)
            row.bound = "peak" if arithmetic > memory else "bandwidth"


def weight_names(weights: Any) -> dict[int, str]:
    """id -> name of every weight that is handed to an op whole: the linear maps, and LayerNorm's by their `weight`."""
    found: dict[int, str] = {}
    for part in (weights, *weights.layers):
        for name, value in part._asdict().items():
            if name != "layers" and value is not None:
                found[id(value)] = name
                if hasattr(value, "weight"):
                    found[id(value.weight)] = name
    return found


def limits(backend: str, dtype: str) -> Any:
    """What the processor (peak.Limits) or the GPU (device.Limits) can do; None if it cannot be measured."""
    found, device = named(backend)
    return None if found.limits is None else found.limits(dtype, device)


@dataclass
class Profile:
    """One shape's forward pass: `seconds` without a timer inside, `ops` with one."""

    shape: str
    seconds: float
    flops: int
    ops: list[OpTime]

    def of_peak(self) -> float:
        """The share of the peak that the whole reaches, each op's in its own dtype; 0 if it is not known."""
        return sum(op.arithmetic for op in self.ops) / self.seconds

    def as_dict(self) -> dict[str, Any]:
        ops = [asdict(op) | {"reached": op.reached(), "in_cache": op.in_cache()} for op in self.ops]
        return asdict(self) | {"ops": ops}


def shape_of(text: str) -> tuple[int, int]:
    """ "8x128" -> 8 sentences of 128 tokens.

    >>> shape_of("8x128")
    (8, 128)
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and 0 < int(p) <= 1 << 16 for p in parts):
        raise InputError(f"a shape is sentences x tokens, such as 8x128, not {excerpt(text)}")
    return int(parts[0]), int(parts[1])


def repeat(call: Callable[[], Any], seconds: float) -> list[float]:
    """Times of at least 3 calls, after one that does not count, until `seconds` are over."""
    call()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return times


def profile(model: Any, shape: str, seconds: float = 1.0, machine: Any = None) -> Profile:
    """Time `model` on random ids of `shape`, as a whole and op by op."""
    B, T = shape_of(shape)
    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (B, T))
    total = median(repeat(lambda: model(ids), seconds))
    ops, graphs = model.ops, model.graphs
    runs: list[dict[str, OpTime]] = []
    try:
        names = weight_names(model.weights)
        until, model.graphs = perf_counter() + seconds, None  # a recording asks no ops
        while len(runs) < 3 or perf_counter() < until:
            model.ops = Timed(ops, names, machine)
            model(ids)
            runs.append(model.ops.seen)
    finally:
        model.ops, model.graphs = ops, graphs
    times: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, row in run.items():
            times[name].append(row.seconds)
    rows = list(runs[0].values())
    for row in rows:
        row.seconds = median(times[row.name])
    rows.sort(key=lambda row: -row.seconds)
    return Profile(shape, total, sum(row.flops for row in rows), rows)


@dataclass
class Rung:
    """One step of the ladder, verified and timed."""

    name: str
    adds: str
    threads: int
    seconds: float
    gflops: float
    reached: float  # share of the peak of as many threads; 0 if it is not known
    error: float  # the largest, relative to what a dot product in float32 may be off


def inner_loop(kernel: str) -> Any:
    """The innermost loop of a kernel as machine code, `assembly.Loop`.

    Raises InputError for a kernel that is not there or not compiled, MissingExtraError if Numba is not installed.
    """
    assembly = instrument("assembly")
    if kernel not in assembly.KERNELS:
        raise InputError(f"no kernel {excerpt(kernel)}: choose one of {', '.join(assembly.KERNELS)}")
    if not instrument("peak").compiled():
        raise InputError("NUMBA_DISABLE_JIT is set, so there is no machine code; unset it")
    return assembly.inner_loop(kernel)


def ladder(seconds: float = 0.3, shape: tuple[int, int, int] = LADDER_SHAPE) -> list[Rung]:
    """Every step of kernels/instruments/ladder.py, checked against float64 and only then timed.

    Raises MissingExtraError without Numba, AssertionError if a step computes something else.
    """
    measuring, N, I, O = instrument("peak"), *shape
    random = np.random.default_rng(0)
    x, weight, bias = (random.standard_normal(s, np.float32) for s in ((N, I), (O, I), (O,)))
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    bound = (np.abs(x) @ np.abs(weight).T + np.abs(bias)).astype(np.float64) * I * 2.0**-24
    rungs, peaks = [], {}
    for step in instrument("ladder").steps(x, weight, bias):
        error = float((np.abs(step.run() - exact) / bound).max())
        if not error <= 1:
            raise AssertionError(f"the step {step.name!r} is wrong: {error} times what rounding explains")
        if step.threads not in peaks:
            peaks[step.threads] = measuring.peak(threads=step.threads) if measuring.compiled() else 0.0
        time = median(repeat(step.run, seconds))
        rate, peak = 2 * N * I * O / time, peaks[step.threads]
        rungs.append(Rung(step.name, step.adds, step.threads, time, rate / 1e9, rate / peak if peak else 0.0, error))
    return rungs
