"""`nanodistil drift`: the error budget. How far is every number from float64, and which op brought it?

The truth is the same model in float64 on the definitions (exact.py). Every candidate, a backend in a dtype, runs the
same batch, and each of its named values is compared with the truth's: the root of the mean squared difference,
relative to the root of the mean square. So much for how far.

Which op brought it is asked both ways. Alone: the exact model runs once more, with one kind of op computed as the
candidate does. Mended: the candidate runs once more, with that kind in float64, from the candidate's own numbers, and
the result rounded to the candidate's dtype as everything else. What the answer's error then is, or still is, is that
op's part. Squares of independent errors add up, so shares are of the square. Where a dtype rounds coarsely, what is
mended only moves the other roundings elsewhere; what it does alone says more.

Of transformers, if it is installed, the tensors are compared (theirs.py); its ops cannot be mended from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from nanodistil import backend as backends
from nanodistil.backend import Array
from nanodistil.benchmark import shape_of
from nanodistil.lessons.exact import exactly
from nanodistil.lessons.theirs import theirs
from nanodistil.lessons.trace import MOVED, apart, values_of, weight_names
from nanodistil.waiting import Told, silent
from nanodistil.weights.errors import InputError, MissingExtraError

TRANSFORMERS = "transformers float32"
WIDE = np.dtype("float64")


@dataclass
class Candidate:
    """One way to compute, beside float64."""

    name: str  # "numba bfloat16"
    errors: dict[str, float]  # of every named value, in the order of the forward pass
    final: float  # of the answer: the head's, else the last hidden states'
    alone: dict[str, float] = field(default_factory=dict)  # kind of op -> the answer's error if it alone computes so
    mended: dict[str, float] = field(default_factory=dict)  # and if it alone is exact

    def shares(self, kind: str) -> tuple[float, float] | None:
        """What a kind of op brings of the answer's squared error by itself, and what goes without it."""
        if kind not in self.alone or not self.final:
            return None
        return (self.alone[kind] / self.final) ** 2, 1 - (self.mended[kind] / self.final) ** 2


@dataclass
class Drift:
    """The error budget of a model on a batch."""

    shape: str
    layers: int
    candidates: list[Candidate]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def stages(self) -> list[tuple[str, list[float | None]]]:
        """The error behind the embeddings, behind every layer, and of the answer, of each candidate."""
        names = list(self.candidates[0].errors)
        kept = [name for name in names if name.count(".") == 1 and name.startswith(("embeddings.", "layer."))]
        kept += [name for name in names if name.startswith("layer.") and name.endswith(ENDS)]
        last = names[-1]
        chosen = [n for n in names if n in kept and (n.startswith("layer.") or n == _last_of(names, "embeddings."))]
        return [(n, [c.errors.get(n) for c in self.candidates]) for n in dict.fromkeys([*chosen, last])]

    def kinds(self) -> list[tuple[str, list[tuple[float, float] | None]]]:
        """Each kind of op's shares, of each candidate; the largest first."""
        found = dict.fromkeys(kind for c in self.candidates for kind in c.alone)
        order = sorted(found, key=lambda kind: -max((c.shares(kind) or (0.0, 0.0))[0] for c in self.candidates))
        return [(kind, [c.shares(kind) for c in self.candidates]) for kind in order]


ENDS = (".output_layer_norm", ".fed")  # of a block


def _last_of(names: list[str], start: str) -> str:
    return [name for name in names if name.startswith(start)][-1]


class Swapped:
    """The ops of one backend, of which one kind is computed by another, in its dtype, and comes back in the first's.

    What comes before the first of that kind is as it was, and is not computed again.
    """

    def __init__(self, ops: Side, other: Side, kind: str, noted: _Noting, twins: dict[int, Any]) -> None:
        """noted: a pass with `ops` alone. twins: id of a weight -> the same weight of the other's model."""
        self.ops, self.other, self.kind, self.kinds, self.twins = ops, other, kind, noted.kinds, twins
        self.before = iter(noted.results[: noted.found[kind]])
        self.definitions = backends.load("numpy")

    def __getattr__(self, op: str) -> Any:
        function = getattr(self.ops.ops, op)
        if op in MOVED or not hasattr(self.definitions, op):
            return function

        def called(*given: Any) -> Any:
            for result in self.before:
                return result
            if kind_of(op, given, self.kinds) != self.kind:
                return function(*given)
            return _cast(getattr(self.other.ops, op)(*(self._given(value) for value in given)), self.other, self.ops)

        setattr(self, op, called)
        return called

    def _given(self, value: Any) -> Any:
        return self.twins[id(value)] if id(value) in self.twins else _cast(value, self.ops, self.other)


class Side(NamedTuple):
    """Who computes, and in which dtype rows are."""

    ops: Any
    floats: Any


def _cast(value: Any, here: Side, there: Side) -> Any:
    """What one side has, as the other takes it."""
    if isinstance(value, list):
        return [_cast(one, here, there) for one in value]
    if not hasattr(value, "dtype") or value.dtype != here.floats:  # None would be equal to float64
        return value
    return there.ops.send(here.ops.fetch(value).astype(there.floats))


def kind_of(op: str, given: Sequence[Any], kinds: dict[int, str]) -> str:
    """What an op is called: by its weight, "lin2 linear", else by itself, "attention"."""
    weight = next((kinds[id(value)] for value in given if id(value) in kinds), "")
    return f"{weight} {op}".strip()


def _kinds(weights: Any) -> dict[int, str]:
    """id -> the name of a weight without the number of its layer."""
    named = weight_names(weights).items()
    return {at: name.removesuffix(".weight").rpartition(".")[2] for at, name in named if not name.endswith(".bias")}


class _Noting:
    """Ops that note which kinds there are, how many ops came before the first of each, and what each op gave."""

    def __init__(self, ops: Any, kinds: dict[int, str]) -> None:
        self.ops, self.kinds, self.definitions = ops, kinds, backends.load("numpy")
        self.found, self.results = dict[str, int](), list[Any]()

    def __getattr__(self, op: str) -> Any:
        function = getattr(self.ops, op)
        if op in MOVED or not hasattr(self.definitions, op):
            return function

        def called(*given: Any) -> Any:
            self.found.setdefault(kind_of(op, given, self.kinds), len(self.results))
            self.results.append(function(*given))
            return self.results[-1]

        return called


def far(found: Any, truth: Any) -> float:
    """The root of the mean squared difference, relative to that of the truth.

    >>> far(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == 1 / 5
    True
    """
    if isinstance(truth, list):
        found, truth = (np.concatenate([np.ravel(one) for one in many]) for many in (found, truth))
    if found.dtype != np.float64:
        found = found.astype(np.float64)
    finite = np.isfinite(truth) & np.isfinite(found)  # scores beyond a causal model's reach are -inf
    found, truth = (found.ravel(), truth.ravel()) if finite.all() else (found[finite], truth[finite])
    size = float(np.sqrt((truth**2).sum())) or 1.0
    return float(np.sqrt(((found - truth) ** 2).sum())) / size


def drift(
    model: Any = None,
    shape: str = "1x32",
    others: Sequence[tuple[str, str]] | None = None,
    *,
    yours: Sequence[tuple[str, str]] = (),
    ids: Any = None,
    told: Told = silent,
) -> Drift:
    """The error budget of a model.

    model: loaded in float32 or float64, or a folder or hub id (None: the command line's own). shape: of a batch of
    random ids, sentences x tokens; ids: (B, T), instead. others: (backend, dtype) pairs; default: numpy float32 and
    what numba has, if it is installed, and transformers likewise. yours: more, behind these. told: called with what is
    being computed and the share of that which is done. Raises InputError for a shape, a dtype or rounded weights, and
    as from_pretrained.

    >>> from nanodistil import DistilBertConfig, DistilBertForMaskedLM
    >>> tiny = DistilBertConfig(vocab_size=99, n_layers=2, n_heads=2, dim=8, hidden_dim=16)
    >>> found = drift(DistilBertForMaskedLM(tiny, backend="numpy"), "1x4", [("numpy", "float32")])
    >>> found.candidates[0].name, 0 < found.candidates[0].final < 1e-5
    ('numpy float32', True)
    """
    B, T = shape_of(shape)
    if model is None or not hasattr(model, "tensors"):
        from nanodistil.lessons.explaining import load

        model = load(model, backend="numpy")[0]
    exact = exactly(model)
    if ids is None:
        ids = np.random.default_rng(0).integers(0, model.config.vocab_size, (B, T))
    ids = np.asarray(ids)
    more = {"use_cache": False} if type(model).__name__.endswith("LMHeadModel") else {}

    def call(model: Any, tap: Any) -> Any:
        return model(ids, tap=tap, **more)

    told("float64", 0)
    truth, noted = values_of(exact, call), _noted(exact, call)
    pairs = [*(others if others is not None else usual()), *yours]
    found = [_candidate(exact, noted, *pair, call, truth, told) for pair in pairs]
    if others is None and B == 1:
        try:
            their = theirs(model, ids[0].tolist())
        except (MissingExtraError, InputError):
            pass
        else:
            found.append(_compared(TRANSFORMERS, {n: their[n] for n in truth if n in their}, truth))
    if not found:
        raise InputError("there is nothing to compare with float64: name a backend and a dtype")
    return Drift(shape, model.config.n_layers, found)


def usual() -> list[tuple[str, str]]:
    """numpy float32, and what numba has."""
    try:
        backends.load("numba")
    except MissingExtraError:
        return [("numpy", "float32")]
    return [("numpy", "float32"), *(("numba", dtype) for dtype in backends.BACKENDS["numba"].dtypes)]


def _compared(name: str, values: dict[str, Any], truth: dict[str, Any]) -> Candidate:
    errors = {}
    for one, value in values.items():
        true = truth[one]
        if isinstance(true, list) and not isinstance(value, list):
            true = true[0]
        errors[one] = far(value, true)
    return Candidate(name, errors, errors[list(errors)[-1]])


def _noted(model: Any, call: Any) -> _Noting:
    """A pass of a model as it runs."""
    noting = _Noting(model.ops, _kinds(model.weights))
    call(apart(model, noting), None)
    noting.results.pop()  # the largest; nothing comes behind it
    return noting


def _candidate(
    exact: Any, right: _Noting, backend: str, dtype: str, call: Any, truth: dict[str, Any], told: Told
) -> Candidate:
    floats = np.dtype("float64" if dtype == "float64" else "float32")
    tensors = {name: array.astype(floats) for name, array in exact.tensors().items()}
    model = type(exact)(exact.config, tensors, backend=backend, dtype=dtype)
    found = _compared(f"{backend} {dtype}", values_of(model, call), truth)
    last = list(truth)[-1]
    noted, theirs = _noted(model, call), Side(model.ops, floats)
    found.final = far(_final(model, model.ops, call, last), truth[last])  # as it runs, not step by step
    to, back, true = _twins(model.weights, exact.weights), _twins(exact.weights, model.weights), Side(exact.ops, WIDE)
    for n, kind in enumerate(noted.found if found.final else ()):
        told(f"{found.name}: {kind}", n / len(noted.found))
        alone = Swapped(true, theirs, kind, right, back)
        found.alone[kind] = far(_final(exact, alone, call, last), truth[last])
        mended = Swapped(theirs, true, kind, noted, to)
        found.mended[kind] = far(_final(model, mended, call, last), truth[last])
    return found


def _final(model: Any, ops: Any, call: Any, last: str) -> Array:
    """The last named value, without asking for what is fused."""
    seen: dict[str, Array] = {}

    def tap(name: str, value: Any) -> Any:
        if name == last:
            seen[name] = np.array(value)
        return value

    tap.wants = lambda *names: False  # type: ignore[attr-defined]
    call(apart(model, ops), tap)
    return seen[last]


def _twins(weights: Any, exact: Any) -> dict[int, Any]:
    """id of each weight -> the same of the exact model."""
    found: dict[int, Any] = {}

    def pair(one: Any, two: Any) -> None:
        found[id(one)] = two
        for part in ("weight", "bias"):
            if hasattr(two, part) and hasattr(one, part):
                found[id(getattr(one, part))] = getattr(two, part)

    for name, value in weights._asdict().items():
        if name not in ("layers", "head", "tables", "activation") and value is not None:
            pair(value, getattr(exact, name))
    for layer, other in zip(weights.layers, exact.layers, strict=True):
        for name, value in layer._asdict().items():
            if name not in ("activation", "sharpness"):
                pair(value, getattr(other, name))
    for name, value in vars(weights.head).items():
        pair(value, getattr(exact.head, name))
    return found
