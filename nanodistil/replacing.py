"""The open backend: functions of yours in place of single ops, inside the whole model.

    nanodistil.add_backend("mine", gelu=my_gelu)     the numba backend, but for gelu
    nanodistil.pipeline("fill-mask", model="nanodistil-mini", backend="mine")

A function stands for one of the definitions (numpy_ops.py and gelu.py in kernels/definitions/): same name, same
arguments, same result. Its arrays are NumPy's, contiguous and its own; a linear map is given as `w.weight` (O, I) and
`w.bias` (O,), and weights are read-only. It may be plain NumPy, numba.njit, or call what it likes. Any subset goes.

What a backend fuses is taken apart if you replace a part of it (FUSED): with a `gelu` of yours, lin1 is the backend's
`linear` and then your gelu. A tap that looks between the steps of an op sees the steps, and so not a fused op of yours.

What is returned is checked, since kernels trust shapes and dtypes. `beside` puts every function next to what it
replaces, on what one forward pass gave it: time, and error against the definition in float64.
"""

from __future__ import annotations

import linecache
import runpy
import traceback
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import BACKENDS, EXACT, Array, Ops, Remembered, Rows
from nanodistil.weights.errors import InputError, excerpt, meant

Function = Callable[..., Any]
Shape = tuple[int, ...]


def _by_sentence(who: Any) -> list[Shape]:
    pairs = zip(np.diff(who.asking).tolist(), np.diff(who.starts).tolist(), strict=True)
    return [(who.heads, *pair) for pair in pairs]


SHAPES: dict[str, Callable[..., Shape | list[Shape]]] = {  # of what an op returns, by its arguments; a list: of each
    "linear": lambda x, w: (len(x), len(w.bias)),
    "linear_activation": lambda x, w, which: (len(x), len(w.bias)),
    "activation": lambda x, which: x.shape,
    "gelu": lambda x: x.shape,
    "layer_norm": lambda x, *norm: x.shape,
    "add_layer_norm": lambda x, residual, *norm: x.shape,
    "add": lambda x, residual: x.shape,
    "embed": lambda ids, positions, words, places: (len(ids), words.shape[1]),
    "embed_layer_norm": lambda ids, positions, words, places, *norm: (len(ids), words.shape[1]),
    "attention": lambda q, k, v, who: q.shape,
    "attention_scores": lambda q, k, who: _by_sentence(who),
    "attention_probs": lambda scores: [s.shape for s in scores],
    "softmax": lambda scores: scores.shape,
    "attention_context": lambda probs, v, starts: (sum(p.shape[1] for p in probs), v.shape[1]),
    "vocabulary_softmax": lambda logits: logits.shape,
}
FUSED: dict[str, tuple[tuple[str, ...], Function]] = {  # what an op consists of, and how
    "linear_activation": (
        ("linear", "activation", "gelu"),
        lambda ops, x, w, which: ops.activation(ops.linear(x, w), which),
    ),
    "activation": (
        ("gelu",),
        lambda ops, x, which: ops.gelu(x) if which == "gelu" else ops.ops.activation(x, which),
    ),
    "embed_layer_norm": (
        ("embed", "layer_norm"),
        lambda ops, ids, positions, words, places, *norm: ops.layer_norm(
            ops.embed(ids, positions, words, places), *norm
        ),
    ),
    "add_layer_norm": (
        ("add", "layer_norm"),
        lambda ops, x, residual, *norm: ops.layer_norm(ops.add(x, residual), *norm),
    ),
    "attention_probs": (("softmax",), lambda ops, scores: [ops.softmax(s) for s in scores]),
    "attention": (
        ("attention_scores", "attention_probs", "softmax", "attention_context"),
        lambda ops, q, k, v, who: ops.attention_context(
            ops.attention_probs(ops.attention_scores(q, k, who)), v, who.starts
        ),
    ),
}
MAPS = ("linear", "linear_activation")  # which are given a weight and a bias
BUILT_IN = tuple(BACKENDS)


def add_backend(name: str, *, on: str | None = None, **ops: Function) -> None:
    """Make a backend of that name: `on` (default: the usual one), with these ops replaced by functions of yours.

    Everything that takes backend= takes the name, in this process. Adding it again replaces it; models that are loaded
    keep what they have. Derivatives are those of `on`. Raises InputError for a name that is taken, an op that is not
    there, or what cannot be called; and, once it runs, for an exception in a function or a result that does not fit.

    >>> def gelu(x):
    ...     return x / (1 + np.exp(-x.dtype.type(1.702) * x))
    >>> add_backend("quick", on="numpy", gelu=gelu)
    >>> from nanodistil import pipeline
    >>> fill = pipeline("fill-mask", model="nanodistil-mini", backend="quick")
    >>> fill("Hello I'm a [MASK] model.")[0]["token_str"]
    'new'
    """
    if not isinstance(name, str) or not name or name in BUILT_IN or ":" in name:
        raise InputError(f"a backend of yours needs a name of its own, not {excerpt(name)}")
    for op, function in ops.items():
        if op not in SHAPES:
            raise InputError(f"there is no op {excerpt(op)}{meant(op, SHAPES)}: choose among {', '.join(SHAPES)}")
        if not callable(function):
            raise InputError(f"{op} must be a function, not {excerpt(function)}")
    base, device = backends.named(backends.choose(on, None)[0])

    def load(dtype: str, _: int) -> Any:
        return Replaced(base.load(dtype, device), ops)

    def load_backward(dtype: str, _: int) -> Any:
        return base.load_backward(dtype, device) if base.load_backward else None

    exact = tuple(dtype for dtype in base.dtypes if dtype in EXACT)
    BACKENDS[name] = base._replace(
        dtypes=base.dtypes if ops.keys().isdisjoint(MAPS) else exact,
        load=load,
        load_backward=load_backward if base.load_backward else None,
        on_gpu=False,  # its name has no number
        graphs=None,  # a recording would not ask
    )


class Map(NamedTuple):
    """A linear map for your functions."""

    weight: Array  # (O, I)
    bias: Array  # (O,)


class Both(NamedTuple):
    """A linear map for your functions, and for the backend."""

    map: Map
    laid: Any


class Replaced:
    """The ops of a backend, some of them replaced; numpy_ops.py says what each is."""

    def __init__(self, ops: Ops, yours: dict[str, Function]) -> None:
        self.ops, self.yours = ops, yours
        for op, (parts, apart) in FUSED.items():
            if op not in yours and not yours.keys().isdisjoint(parts):
                setattr(self, op, wraps(getattr(ops, op))(partial(apart, self)))
        for op in yours:
            called = partial(self._call, op)
            setattr(self, op, wraps(getattr(ops, op))(called) if hasattr(ops, op) else called)
        if not yours.keys().isdisjoint(MAPS):
            self.prepare_linear, self.prepare_head = self._both(ops.prepare_linear), self._both(ops.prepare_head)
            self.restore_linear = lambda w: w.map
            if "linear" not in yours:
                self.linear = lambda x, w: ops.linear(x, w.laid)
        if not yours.keys().isdisjoint(("attention", *FUSED["attention"][0])):
            self.remember = self._remember

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ops, name)

    def _remember(self, widths: Any, head: int) -> Remembered:
        return Rows(self.attention, len(widths), self.ops.send, self.ops.fetch)

    def _both(self, prepare: Callable[[Array, Array], Any]) -> Callable[[Array, Array], Both]:
        def prepared(weight: Array, bias: Array) -> Both:
            weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
            laid = None if "linear" in self.yours else prepare(weight, bias)  # then nobody else multiplies
            return Both(Map(_read_only(weight), _read_only(bias)), laid)

        return prepared

    def _call(self, op: str, *given: Any) -> Any:
        """What your function makes of the arguments, checked."""
        given = tuple(_own(value, self.ops.fetch) for value in given)
        try:
            found = self.yours[op](*given)
        except Exception as error:
            raise InputError(f"your {op} {_said(error)}") from error
        shapes, floats = SHAPES[op](*given), next(x.dtype for x in arrays(given) if x.dtype.kind == "f")
        if not isinstance(shapes, list):
            return self.ops.send(_fitting(op, found, shapes, floats))
        if not isinstance(found, (list, tuple)) or len(found) != len(shapes):
            raise InputError(f"your {op} must return a list of {len(shapes)} arrays, one a sentence")
        return [self.ops.send(_fitting(op, one, shape, floats)) for one, shape in zip(found, shapes, strict=True)]


def _read_only(x: Array) -> Array:
    view = x.view()
    view.flags.writeable = False
    return view


def arrays(value: Any) -> Iterator[Any]:
    """All arrays in arguments."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from arrays(one)


def _own(value: Any, fetch: Callable[[Any], Any]) -> Any:
    """An argument as your functions get it: what is computed as a copy, weights as they are, read-only."""
    if isinstance(value, Both):
        return value.map
    if isinstance(value, list):
        return [_own(one, fetch) for one in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # Sentences
        return type(value)(*(_own(one, fetch) for one in value))
    return np.array(fetch(value), order="C") if getattr(value, "ndim", 0) else value


def _fitting(op: str, found: Any, shape: Shape, floats: Any) -> Any:
    """Raises InputError for what is no such array."""
    if not isinstance(found, np.ndarray):
        raise InputError(f"your {op} must return an array of shape {shape}, not {type(found).__name__}")
    if found.shape != shape:
        raise InputError(f"your {op} must return an array of shape {shape}, not {found.shape}")
    if found.dtype != floats:
        raise InputError(f"your {op} must return {floats}, as it was given, not {found.dtype}; write x.dtype.type(2)")
    return found


def _said(error: Exception) -> str:
    """An exception as a part of a line: what, and at which of your lines."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    at = "" if frame.filename == __file__ else f" at {Path(frame.filename).name}:{frame.lineno}"
    return f"raised {type(error).__name__}{at}: {excerpt(' '.join(str(error).split()), 200)}"


def functions_of(path: str | Path) -> dict[str, Function]:
    """The ops that a Python file of yours defines: its functions whose names are ops. The file is run.

    Raises InputError for a file that cannot be run, or has none.
    """
    linecache.checkcache()
    try:
        found = runpy.run_path(str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}: {_said(error) if isinstance(error, Exception) else 'ended'}") from error
    ops = {name: value for name, value in found.items() if name in SHAPES and callable(value)}
    if not ops:
        raise InputError(f"{path}: has no function that is called as an op: {', '.join(SHAPES)}")
    return ops


class Row(NamedTuple):
    """A function of yours beside what it replaces, in one forward pass."""

    op: str
    calls: int
    seconds: float  # of all its calls
    backend: float  # seconds that the backend takes for the same
    error: float  # the largest against the definition in float64, relative to the largest number
    backend_error: float

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


def beside(model: Any, ids: Any, repeats: int = 3) -> list[Row]:
    """Every function of yours beside the backend's, on what a pass over ids (B, T) gives it; medians of `repeats`.

    model: one on a backend of yours, else InputError.
    """
    ops = model.ops
    if not isinstance(ops, Replaced):
        raise InputError("the model has no function of yours: load it with backend= a name given to add_backend")
    seen: dict[str, list[tuple[Any, ...]]] = {}

    def watching(op: str) -> Function:
        def called(*given: Any) -> Any:
            seen.setdefault(op, []).append(tuple(_own(g, ops.fetch) if isinstance(g, list) else g for g in given))
            return ops.yours[op](*given)

        return called

    model.ops = Replaced(ops.ops, {op: watching(op) for op in ops.yours})
    try:
        model(ids)
    finally:
        model.ops = ops
    truth = backends.load("numpy", dtype="float64")
    return [_row(op, calls, ops, truth, repeats) for op, calls in seen.items()]


def _row(op: str, calls: list[tuple[Any, ...]], ops: Replaced, truth: Ops, repeats: int) -> Row:
    theirs = [_given(call, ops.ops, lambda x: ops.ops.send(x)) for call in calls]
    exact = [_given(call, truth, _float64) for call in calls]
    wait = getattr(ops.ops, "wait", lambda: None)
    times: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for i, (function, given) in enumerate(((ops.yours[op], calls), (_of(ops.ops, op), theirs))):
            began = perf_counter()
            for call in given:
                function(*call)
            wait()
            times[i].append(perf_counter() - began)
    errors = [0.0, 0.0]
    for mine, other, right in zip(calls, theirs, exact, strict=True):
        true = _flat(_of(truth, op)(*right), truth)
        for i, found in enumerate((ops.yours[op](*mine), _of(ops.ops, op)(*other))):
            errors[i] = max(errors[i], *map(relative, _flat(found, ops.ops if i else truth), true))
    return Row(op, len(calls), median(times[0][1:]), median(times[1][1:]), *errors)


def _of(ops: Ops, op: str) -> Function:
    """An op of a backend, also gelu and softmax, which it has under other names."""
    if op == "gelu":
        return lambda x: ops.activation(x, "gelu")
    if op == "softmax":
        return lambda scores: ops.attention_probs([scores])[0]
    return getattr(ops, op)  # type: ignore[no-any-return]


def _given(call: tuple[Any, ...], ops: Ops, sent: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Arguments of your function as another backend takes them."""

    def one(value: Any) -> Any:
        if isinstance(value, Map):
            wide = sent is _float64
            return ops.prepare_linear(*(np.asarray(x, np.float64) if wide else x for x in value))
        if isinstance(value, list):
            return list(map(one, value))
        return sent(value) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value

    return tuple(map(one, call))


def _flat(found: Any, ops: Ops) -> list[Any]:
    """The arrays of a result, on the host."""
    return list(map(ops.fetch, found if isinstance(found, (list, tuple)) else [found]))


def _float64(x: Any) -> Any:
    return x.astype(np.float64)


def relative(found: Any, truth: Any) -> float:
    """The largest difference, relative to the largest number.

    >>> relative(np.array([1.0, 4.5]), np.array([1.0, 4.0]))
    0.125
    """
    if not truth.size:
        return 0.0
    return float(np.abs(found.astype(np.float64) - truth).max() / (np.abs(truth).max() or 1.0))
