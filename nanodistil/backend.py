"""The seam: which arithmetic the model runs on.

A backend is a module of kernels/ that has the names of `Ops`; the definitions in numpy_ops say what each must compute.
This file alone imports them, and only the one that is asked for, so the numpy backend works if Numba is absent. What
else is said of a backend stands in one table, BACKENDS, at the end; no other file knows them by name.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nanodistil.kernels.definitions.remembered import Remembered as Remembered
from nanodistil.kernels.definitions.remembered import Rows as Rows
from nanodistil.kernels.definitions.sentences import Sentences as Sentences
from nanodistil.kernels.definitions.step import Step as Step
from nanodistil.kernels.definitions.step import step_of as step_of
from nanodistil.kernels.runtime.undisturbed import undisturbed
from nanodistil.weights.errors import DeviceError, InputError, MissingExtraError, excerpt

Array = NDArray[np.floating]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Activation = str | tuple[Any, ...]  # a name, or a name and learned numbers

EXACT = ("float32", "float64", "tf32")  # keep every bit of a weight, though tf32 multiplies fewer


class Ops(Protocol):
    """What a backend offers. Shapes and meaning: numpy_ops.py, function by function."""

    def send(self, x: Any) -> Any: ...
    def fetch(self, x: Any) -> Any: ...
    def prepare_linear(self, weight: Array, bias: Array) -> Any: ...
    def prepare_head(self, weight: Array, bias: Array) -> Any: ...
    def restore_linear(self, w: Any) -> tuple[Array, Array]: ...
    def linear(self, x: Array, w: Any) -> Array: ...
    def linear_activation(self, x: Array, w: Any, which: Activation) -> Array: ...
    def activation(self, x: Array, which: Activation) -> Array: ...
    def embed(self, ids: Ints, positions: Ints, words: Array, places: Array) -> Array: ...
    def embed_layer_norm(
        self, ids: Ints, positions: Ints, words: Array, places: Array, weight: Array, bias: Array, eps: float
    ) -> Array: ...
    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float) -> Array: ...
    def add_layer_norm(self, x: Array, residual: Array, weight: Array, bias: Array, eps: float) -> Array: ...
    def add(self, x: Array, residual: Array) -> Array: ...
    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array: ...
    def remember(self, widths: Sequence[int], head: int) -> Remembered: ...
    def attention_scores(self, q: Array, k: Array, who: Sentences) -> list[Array]: ...
    def attention_probs(self, scores: Sequence[Array]) -> list[Array]: ...
    def attention_context(self, probs: Sequence[Array], v: Array, starts: Ints) -> Array: ...
    def vocabulary_softmax(self, logits: Array) -> Array: ...
    def most_probable(self, logits: Array, k: int) -> tuple[Array, Ints]: ...


class BackwardOps(Protocol):
    """What a backend offers for training. Shapes and meaning: numpy_backward.py, function by function."""

    HEAD_ROWS: int

    def prepare_backward(self, weight: Array, bias: Array) -> Any: ...
    def linear_backward_input(self, dy: Array, w: Any) -> Array: ...
    def linear_backward_weight(self, dy: Array, x: Array, dW: Array, db: Array) -> None: ...
    def activation_backward(self, dy: Array, x: Array, which: Activation) -> Array: ...
    def layer_norm_backward(
        self, dy: Array, x: Array, weight: Array, dweight: Array, dbias: Array, eps: float
    ) -> Array: ...
    def add_layer_norm_backward(
        self, dy: Array, x: Array, residual: Array, weight: Array, dweight: Array, dbias: Array, eps: float
    ) -> Array: ...
    def embed_backward(self, dx: Array, ids: Ints, positions: Ints, dwords: Array, dplaces: Array) -> None: ...
    def dropout(self, x: Array, rate: float, key: int) -> Array: ...
    def attention_dropped(self, q: Array, k: Array, v: Array, who: Sentences, rate: float, key: int) -> Array: ...
    def attention_backward(
        self, dcontext: Array, q: Array, k: Array, v: Array, context: Array, who: Sentences, rate: float, key: int
    ) -> tuple[Array, Array, Array]: ...
    def cross_entropy(self, logits: Array, labels: Ints, scale: float, dlogits: Array) -> float: ...
    def divergence(
        self, student: Array, teacher: Array, temperature: float, scale: float, dstudent: Array
    ) -> float: ...
    def squared_error(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float: ...
    def cosine_distance(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float: ...
    def sum_of_squares(self, x: Array) -> float: ...
    def adamw(self, x: Array, dx: Array, m: Array, v: Array, step: Step) -> None: ...


def choose(name: str | None, dtype: DTypeLike | None) -> tuple[str, str]:
    """The backend and the name of the dtype to use: by default numba if it is installed, and float32.

    name: one of BACKENDS; "cupy:1" is the second GPU. Raises InputError for an unknown name or a dtype the backend does
    not compute in.

    >>> choose("numpy", "float64")
    ('numpy', 'float64')
    """
    known = [dtype for backend in BACKENDS.values() for dtype in backend.dtypes]
    try:
        wanted = dtype if isinstance(dtype, str) else np.dtype(dtype or "float32").name
    except TypeError:
        wanted = str(dtype)
    if wanted not in known:
        raise InputError(f"dtype {excerpt(wanted)} is not one of {', '.join(dict.fromkeys(known))}")
    able = [kind for kind, backend in BACKENDS.items() if wanted in backend.dtypes]
    if name is None:
        name = "numba" if "numba" in able and (find_spec("numba") or "numpy" not in able) else able[0]
    named(name)
    kind = kind_and_device(name)[0]
    if wanted not in BACKENDS[kind].dtypes:
        others = " or ".join(f"backend={excerpt(other)}" for other in able)
        raise InputError(
            f"the {kind} backend computes in {' or '.join(BACKENDS[kind].dtypes)}, not {wanted}; use {others}"
        )
    return name, wanted


def kind_and_device(name: Any) -> tuple[str, int | None]:
    """A backend's name in two parts, the second None if it names no device and should not.

    >>> kind_and_device("numba"), kind_and_device("cupy"), kind_and_device("cupy:1"), kind_and_device("numba:1")
    (('numba', 0), ('cupy', 0), ('cupy', 1), ('numba', None))
    """
    kind, colon, number = str(name).partition(":")
    if not colon:
        return kind, 0
    numbered = kind in BACKENDS and BACKENDS[kind].on_gpu and number.isascii() and number.isdigit()
    return kind, int(number) if numbered else None


def named(name: str) -> tuple[Backend, int]:
    """The backend of a name, and its device's number. Raises InputError for an unknown name."""
    kind, device = kind_and_device(name)
    if kind not in BACKENDS or device is None:
        raise InputError(
            f"unknown backend {excerpt(name)}: choose one of {', '.join(BACKENDS)} (cupy:1 for the second GPU)"
        )
    return BACKENDS[kind], device


def load(name: str, threads: int | None = None, dtype: str = "float32") -> Ops:
    """Import the backend `name` for `dtype`; `threads` sets how many it may use from now on (None: leave as it is).

    Raises MissingExtraError if Numba or CuPy is not installed, DeviceError if CuPy finds no GPU it can use, InputError
    for threads below 1 or on another backend than numba (NumPy's BLAS reads its number of threads from the environment
    before Python starts).
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be a whole number of at least 1, not {excerpt(threads)}")
    backend, device = named(name)
    if threads is not None and backend.no_threads:
        raise InputError(f"threads is for the numba backend; {backend.no_threads}")
    ops = backend.load(dtype, device)
    if threads is not None:
        ops.set_threads(threads)  # type: ignore[attr-defined]
    return ops


def load_backward(name: str, dtype: str = "float32") -> BackwardOps:
    """The derivatives of the backend `name`. Raises InputError for a dtype that only answers, and does not train."""
    if dtype == "int8":
        raise InputError("a model in int8 cannot be trained: its weights are rounded; use float32 or bfloat16")
    backend, device = named(name)
    if backend.load_backward is None:
        raise InputError(f"the {kind_and_device(name)[0]} backend answers, and has no derivatives to train with")
    return backend.load_backward(dtype, device)


def available_threads() -> int:
    """How many threads the environment grants this process now, for the numba backend; at least 1."""
    return int(import_module("nanodistil.kernels.runtime.pool").available_threads())


def graphs(name: str) -> Callable[..., Array | None] | None:
    """What answers small batches from a recording, for one model; None if nothing does. After `load`."""
    found = named(name)[0].graphs
    return None if found is None else found()


class Backend(NamedTuple):
    """All that is said of a backend; its name is its key in BACKENDS, to which anybody may add one of his own.

    >>> from nanodistil.kernels.definitions import numpy_ops
    >>> BACKENDS["mine"] = Backend(("float32",), lambda dtype, device: numpy_ops)
    >>> choose("mine", None), load("mine") is numpy_ops
    (('mine', 'float32'), True)
    >>> _ = BACKENDS.pop("mine")
    """

    dtypes: tuple[str, ...]  # what it computes in
    load: Callable[[str, int], Ops]  # dtype and number of the device -> its ops
    load_backward: Callable[[str, int], BackwardOps] | None = None  # None: it answers and does not train
    no_threads: str = "this one has no such setting"  # why threads cannot be set; "" if they can
    on_gpu: bool = False  # so that its name may say which, "cupy:1"
    graphs: Callable[[], Callable[..., Array | None]] | None = None
    limits: Callable[[str, int], Any] | None = None  # what the machine can do at most, for `bench`
    bits_depend_on: Callable[[int], dict[str, Any]] = lambda device: {}  # besides our version and NumPy's


def _numpy(dtype: str, device: int) -> Ops:
    return cast(Ops, import_module("nanodistil.kernels.definitions.numpy_ops"))


def _numpy_backward(dtype: str, device: int) -> BackwardOps:
    return cast(BackwardOps, import_module("nanodistil.kernels.definitions.numpy_backward"))


def _compiled(dtype: str) -> str:
    """The module whose linear maps are of this dtype."""
    return f"nanodistil.kernels.cpu.{'numba' if dtype == 'float32' else dtype}_ops"


def _numba(dtype: str, device: int) -> Ops:
    if find_spec("numba") is None:
        raise MissingExtraError('the numba backend needs numba: pip install numba, or use backend="numpy"')
    if wrong := _untrue(dtype):
        warnings.warn(
            f"the compiled {dtype} kernels multiply wrongly on this machine ({wrong}; see nanodistil doctor): "
            "computing with the numpy backend in float32 instead",
            stacklevel=4,
        )
        return _numpy(dtype, device)
    return cast(Ops, _imported(_compiled(dtype)))


def _numba_backward(dtype: str, device: int) -> BackwardOps:
    if _untrue(dtype):  # of which `load` has warned
        return _numpy_backward(dtype, device)
    return cast(BackwardOps, _imported(_compiled(dtype).removesuffix("_ops") + "_backward"))


def _processor(dtype: str, device: int) -> Any:
    """peak.Limits; None without Numba, or if it does not compile."""
    try:
        measuring = instrument("peak")
        return measuring.limits(dtype) if measuring.compiled() else None
    except MissingExtraError:
        return None


@cache
def _cupy(dtype: str, device: int) -> Ops:
    """Once a process."""
    if dtype == "bfloat16" and find_spec("ml_dtypes") is None:
        raise MissingExtraError('bfloat16 on a GPU needs ml_dtypes: pip install "nanodistil[cuda13]", or [cuda12]')
    return cast(Ops, gpu_module("cupy_ops", device).CupyOps(dtype, device))


@cache
def _cupy_backward(dtype: str, device: int) -> BackwardOps:
    """Once a process."""
    return cast(BackwardOps, gpu_module("cupy_backward", device).CupyBackwardOps(dtype, device))


def _imported(name: str) -> ModuleType:
    """A module of kernels/. With Numba or CuPy half imported, as Ctrl-C would leave them, the next try would fail."""
    return undisturbed(import_module, name)


def gpu_module(name: str, device: int = 0) -> ModuleType:
    """A module of kernels/gpu/: "cupy_ops", "cupy_backward", or "device", which examines it.

    Raises MissingExtraError if CuPy is not installed, DeviceError if it finds no GPU it can use.
    """
    if find_spec("cupy") is None:
        raise MissingExtraError(
            'the cupy backend needs an NVIDIA GPU and CuPy: pip install "nanodistil[cuda13]", or [cuda12]'
        )
    try:
        reason = _imported("nanodistil.kernels.gpu.cupy_ops").unusable(device)
    except ImportError as error:  # CuPy is there, but not what it needs
        raise DeviceError(f"CuPy cannot be imported: {str(error).strip().splitlines()[0]}") from error
    if reason:
        raise DeviceError(f"the cupy backend cannot be used: {reason}")
    return _imported(f"nanodistil.kernels.gpu.{name}")


BACKENDS: dict[str, Backend] = {
    "numpy": Backend(
        ("float32", "float64"),
        _numpy,
        _numpy_backward,
        no_threads="NumPy's BLAS takes OPENBLAS_NUM_THREADS from the environment at start",
        limits=_processor,
    ),
    "numba": Backend(
        ("float32", "bfloat16", "int8"),
        _numba,
        _numba_backward,
        no_threads="",
        graphs=lambda: cast(Any, _imported("nanodistil.kernels.cpu.short_batches").Graphs()),
        limits=_processor,
        bits_depend_on=lambda device: cast(dict[str, Any], instrument("diagnosis").bits_depend_on()),
    ),
    "cupy": Backend(
        ("float32", "tf32", "float16", "bfloat16"),
        _cupy,
        _cupy_backward,
        no_threads="a GPU decides for itself",
        on_gpu=True,
        graphs=lambda: cast(Any, import_module("nanodistil.kernels.gpu.cuda_graph").Graphs()),
        limits=lambda dtype, device: gpu_module("device", device).limits(dtype),
        bits_depend_on=lambda device: cast(dict[str, Any], gpu_module("device", device).bits_depend_on(device)),
    ),
}


@cache
def _untrue(dtype: str) -> str:
    """What the self-test of the kernels for `dtype` finds, once a process: "" if all is well."""
    return str(instrument("diagnosis").self_test(_imported(_compiled(dtype))))


def self_tests() -> dict[str, str]:
    """The self-test's finding for every dtype of the numba backend. Raises MissingExtraError without Numba."""
    return {dtype: _untrue(dtype) for dtype in BACKENDS["numba"].dtypes}


def wordpiece_scan() -> ModuleType | None:
    """WordPiece's compiled scan, or None if Numba is absent or told not to compile."""
    return _scan("wordpiece")


def bpe_scan() -> ModuleType | None:
    """The same of byte-level BPE."""
    return _scan("bpe")


def _scan(name: str) -> ModuleType | None:
    if find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return None
    return _imported(f"nanodistil.kernels.cpu.{name}")


def instrument(name: str) -> ModuleType:
    """A module that measures or examines instead of serving the model: "diagnosis", "peak", "ladder" or "assembly".

    Raises MissingExtraError if Numba is not installed.
    """
    if find_spec("numba") is None:
        raise MissingExtraError("there are no kernels to examine without numba: pip install numba")
    return _imported(f"nanodistil.kernels.instruments.{name}")
