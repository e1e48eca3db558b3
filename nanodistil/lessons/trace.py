"""A forward pass as it was: every op in order, the line that asked for it, what went in and came out, and how long.

The model is handed its arithmetic and shows its intermediates (backend.py, taps.py), so nothing need be built in to
watch it. `Watching` stands before the backend and notes each call; a tap notes the names that pass behind it. Where a
call came from is read off Python's stack, what an op computes off its definition's docstring, and where it is defined
off the function itself: none of it can be out of date.

Ops are timed as the model runs them, fused. Values are taken in a second pass, step by step, so that scores,
probabilities and pre-activations are there too.
"""

from __future__ import annotations

import copy
import inspect
import linecache
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import perf_counter
from types import CodeType
from typing import Any

import numpy as np

from nanodistil import backend as backends
from nanodistil.benchmark import limits, operations, traffic
from nanodistil.replacing import FUSED
from nanodistil.weights.errors import MissingExtraError

HOUSE = Path(__file__).resolve().parents[1]
MOVED = ("send", "fetch", "wait", "remember")  # moving is not computing
SHORT = 0.02  # seconds a limit of the machine is measured for
ITEMS = 24  # 96 MB, twice a large cache: to be given the 256 MB of `bench` takes half a second, far more than reading


@dataclass
class Call:
    """One op of a forward pass."""

    op: str
    formula: str  # its definition's own words
    source: str  # the file and line that asked for it
    line: str  # as it stands there
    definition: str  # file and line of the definition
    kernel: str  # and of what computed it
    weights: list[str]  # which of the model's it was given
    given: list[tuple[int, ...]]  # shapes of the arrays that were computed before
    shape: tuple[int, ...]  # of the result; of the first array, if they are many
    flops: int
    bytes: int
    names: list[str] = field(default_factory=list)  # what the model calls the result
    seconds: float = 0.0  # the shortest of several
    parts: list[str] = field(default_factory=list)  # formulas of what it is made of
    arguments: dict[str, Any] = field(default_factory=dict)  # as the op was given them, if they are kept
    result: Any = None

    @property
    def name(self) -> str:
        """By which people call it.

        >>> Call("linear", "", "", "", "", "", [], [], (), 0, 0, ["layer.0.q_lin", "layer.0.k_lin"]).name
        'layer.0.q_lin, k_lin'
        """
        if not self.names:
            return self.weights[0] if self.weights else self.op
        at = self.names[0].rpartition(".")[0]
        same = all(name.rpartition(".")[0] == at for name in self.names)
        return ", ".join([self.names[0], *(n.rpartition(".")[2] if same else n for n in self.names[1:])])


@dataclass
class Trace:
    """A forward pass."""

    calls: list[Call]  # its ops in order, as they run: fused, and timed
    steps: list[Call]  # step by step, with what each was given and gave
    values: dict[str, Any]  # by name, packed as in taps.py
    output: Any  # what the call returned
    seconds: float  # of the whole, without watching


def _at(code: CodeType | None) -> str:
    """A place in the source, from the package's folder on: "nanodistil/model.py:96"."""
    return f"{_file(code.co_filename)}:{code.co_firstlineno}" if code else ""


@cache
def _file(name: str) -> str:
    path = Path(name)
    return str(Path("nanodistil", path.relative_to(HOUSE))) if path.is_relative_to(HOUSE) else path.name


def code_of(function: Any) -> CodeType | None:
    """Of a function, a method, or what Numba made of one; None for what has none."""
    function = inspect.unwrap(function)
    function = getattr(function, "py_func", getattr(function, "func", function))
    found = getattr(getattr(function, "__func__", function), "__code__", None)
    return found if isinstance(found, CodeType) else None


def formula_of(function: Any) -> str:
    """The first words of a definition's docstring, which say what it computes.

    >>> from nanodistil.backend import load
    >>> formula_of(load("numpy").linear), formula_of(load("numpy").attention)
    ('x W^T + b', 'softmax(q k^T / sqrt(Dh)) v')
    """
    said = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r": (?=[\d(]|B x|any|\.\.\.)|, the |, each |\. ", said)[0].strip().rstrip(".")


@cache
def _asks(name: str) -> bool:
    """Whether a file is one that ops are asked from: model.py, a head, training/."""
    path = Path(name)
    return path == HOUSE / "model.py" or path.parent in (HOUSE / "heads", HOUSE / "training")


def _asked_at() -> tuple[str, str]:
    """The line of model.py, or of a head, from which an op is asked for."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        if _asks(name):
            return f"{_file(name)}:{frame.f_lineno}", linecache.getline(name, frame.f_lineno).strip()
        frame = frame.f_back
    return "", ""


def weight_names(weights: Any) -> dict[int, str]:
    """id -> name of every weight as ops are given it, "layer.0.lin1" and "vocab_projector"."""
    found: dict[int, str] = {}

    def named(name: str, value: Any) -> None:
        if value is None or isinstance(value, (str, float, int)):
            return
        found.setdefault(id(value), name)
        for part in ("weight", "bias"):
            if hasattr(value, part):
                found.setdefault(id(getattr(value, part)), f"{name}.{part}")

    for name, value in weights._asdict().items():
        if name not in ("layers", "head", "tables", "activation"):
            named(name, value)
    for i, layer in enumerate(weights.layers):
        for name, value in layer._asdict().items():
            named(f"layer.{i}.{name}", value)
    for name, value in vars(weights.head).items():
        named(name, value)
    return found


class Watching:
    """An Ops that passes every call on, and notes it."""

    def __init__(self, ops: Any, names: dict[int, str], keep: bool = False, definitions: Any = None) -> None:
        """keep: whether arguments and results are. definitions: numpy_backward for derivatives."""
        self.ops, self.names, self.keep, self.calls = ops, names, keep, list[Call]()
        self.definitions = definitions or backends.load("numpy")
        self.wait = getattr(ops, "wait", lambda: None)

    def __getattr__(self, op: str) -> Any:
        function = getattr(self.ops, op)
        if op in MOVED or not hasattr(self.definitions, op) or not callable(function):
            return function
        definition, signature = getattr(self.definitions, op), inspect.signature(function)
        formula, code, defined = formula_of(definition), code_of(function), code_of(definition)

        def called(*given: Any, **named: Any) -> Any:
            source, line = _asked_at()
            began = perf_counter()
            result = function(*given, **named)
            self.wait()
            seconds = perf_counter() - began
            arguments = signature.bind(*given, **named).arguments
            of_weights = [self.names[id(a)] for a in arguments.values() if id(a) in self.names]
            arrays = [_shape(a) for a in arguments.values() if _shape(a) and id(a) not in self.names]
            self.calls.append(
                Call(
                    op, formula, source, line, _at(defined), _at(code), of_weights,
                    arrays, _shape(result), 0 if "backward" in op else operations(op, arguments, result),
                    traffic(op, arguments, result),
                    seconds=seconds, parts=self._parts(op, arguments),
                    arguments=dict(arguments) if self.keep else {}, result=result if self.keep else None,
                )
            )  # fmt: skip
            return result

        setattr(self, op, called)
        return called

    def _parts(self, op: str, arguments: dict[str, Any]) -> list[str]:
        """The formulas of what an op is made of."""
        found = []
        for part in FUSED[op][0] if op in FUSED else ():
            if hasattr(self.definitions, part) and part not in ("activation", "add", "embed"):
                found.append(f"{part}: {formula_of(getattr(self.definitions, part))}")
        if "which" in arguments and hasattr(self.definitions, "ACTIVATIONS"):
            name = arguments["which"] if isinstance(arguments["which"], str) else arguments["which"][0]
            found.append(f"{name}: {formula_of(self.definitions.ACTIVATIONS[name])}")
        return found


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)) and value and not hasattr(value, "_fields"):
        return _shape(value[0])
    return tuple(getattr(value, "shape", ()))


class Naming:
    """A tap that notes what the last op's result is called. everything: between the steps of fused ops too; and then
    it keeps all values."""

    def __init__(self, watching: Watching | None, everything: bool = False) -> None:
        self.watching, self.everything, self.seen = watching, everything, dict[str, Any]()

    def __call__(self, name: str, value: Any) -> Any:
        if self.watching and self.watching.calls:
            self.watching.calls[-1].names.append(name)
        if self.everything:
            self.seen[name] = [np.array(one) for one in value] if isinstance(value, list) else np.array(value)
        return value

    def wants(self, *names: str) -> bool:
        return self.everything


def apart(model: Any, ops: Any = None) -> Any:
    """The model once more, with the same weights, for ops that only we see; without recordings, which ask none."""
    twin = copy.copy(model)
    twin.ops, twin.graphs = ops or model.ops, None
    return twin


def values_of(model: Any, call: Callable[..., Any]) -> dict[str, Any]:
    """All named values of call(model, tap)."""
    tap = Naming(None, everything=True)
    call(apart(model), tap)
    return tap.seen


def limits_now(model: Any) -> Any:
    """What the machine can do at most, measured in a tenth of a second; None if it cannot be."""
    backend, _ = backends.named(model.backend)
    if backend.on_gpu:
        return limits(model.backend, model.dtype)
    try:
        measuring = backends.instrument("peak")
    except MissingExtraError:
        return None
    dtype = model.dtype if model.dtype in measuring.UNITS else "float32"
    return measuring.limits(dtype, SHORT, ITEMS) if measuring.compiled() else None


def trace(model: Any, call: Callable[..., Any], repeats: int = 3, keep: bool = True) -> Trace:
    """Watch call(model, tap) on a model of any family, a few times over; the shortest time of each op counts.

    keep: False for the ops as they run, and nothing else.
    """
    call(model, None)
    began = perf_counter()
    call(model, None)
    seconds, calls, names = perf_counter() - began, list[Call](), weight_names(model.weights)
    for n in range(repeats):
        watching = Watching(model.ops, names)
        call(apart(model, watching), Naming(watching))
        calls = calls or watching.calls
        for one, again in zip(calls, watching.calls, strict=True):
            one.seconds = again.seconds if n == 0 else min(one.seconds, again.seconds)
    if not keep:
        return Trace(calls, [], {}, None, seconds)
    watching = Watching(model.ops, names, keep=True)
    tap = Naming(watching, everything=True)
    output = call(apart(model, watching), tap)
    return Trace(calls, watching.calls, tap.seen, output, seconds)
