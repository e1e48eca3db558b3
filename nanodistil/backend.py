"""The seam: which arithmetic the model runs on.

A backend is a module of kernels/ that has the names of `Ops`; the definitions in numpy_ops say what each must compute.
This file alone imports them, and only the one that is asked for, so the numpy backend works where Numba is absent.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nanodistil.kernels.definitions.sentences import Sentences as Sentences
from nanodistil.kernels.runtime.undisturbed import undisturbed
from nanodistil.weights.errors import DeviceError, InputError, MissingExtraError, excerpt

Array = NDArray[np.floating]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Activation = str | tuple[Any, ...]  # a name, or a name and learned numbers

BACKENDS = {  # name -> what it computes in
    "numpy": ("float32", "float64"),
    "numba": ("float32", "bfloat16", "int8"),
    "cupy": ("float32", "tf32", "float16", "bfloat16"),
}
EXACT = ("float32", "float64", "tf32")  # keep every bit of a weight, though tf32 multiplies fewer
MODULES = {  # of a backend, or of a dtype whose linear maps are another module's
    "numpy": "definitions.numpy_ops",
    "numba": "cpu.numba_ops",
    "bfloat16": "cpu.bfloat16_ops",
    "int8": "cpu.int8_ops",
}


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
        self, ids: Ints, positions: Ints, words: Array, places: Array, weight: Array, bias: Array
    ) -> Array: ...
    def layer_norm(self, x: Array, weight: Array, bias: Array) -> Array: ...
    def add_layer_norm(self, x: Array, residual: Array, weight: Array, bias: Array) -> Array: ...
    def attention(self, q: Array, k: Array, v: Array, who: Sentences) -> Array: ...
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
    def layer_norm_backward(self, dy: Array, x: Array, weight: Array, dweight: Array, dbias: Array) -> Array: ...
    def add_layer_norm_backward(
        self, dy: Array, x: Array, residual: Array, weight: Array, dweight: Array, dbias: Array
    ) -> Array: ...
    def embed_backward(self, dx: Array, ids: Ints, positions: Ints, dwords: Array, dplaces: Array) -> None: ...
    def dropout(self, x: Array, rate: float, key: int) -> Array: ...
    def attention_dropped(
        self,
        q: Array,
        k: Array,
        v: Array,
        who: Sentences,
        rate: float,
        key: int,
    ) -> Array: ...
    def attention_backward(
        self,
        dcontext: Array,
        q: Array,
        k: Array,
        v: Array,
        context: Array,
        who: Sentences,
        rate: float,
        key: int,
    ) -> tuple[Array, Array, Array]: ...
    def cross_entropy(self, logits: Array, labels: Ints, scale: float, dlogits: Array) -> float: ...
    def divergence(
        self, student: Array, teacher: Array, temperature: float, scale: float, dstudent: Array
    ) -> float: ...
    def squared_error(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float: ...
    def cosine_distance(self, student: Array, teacher: Array, scale: float, dstudent: Array) -> float: ...
    def sum_of_squares(self, x: Array) -> float: ...
    def adamw(
        self,
        x: Array,
        dx: Array,
        m: Array,
        v: Array,
        *,
        step: int,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        scale: float = 1.0,
    ) -> None: ...


def choose(name: str | None, dtype: DTypeLike | None) -> tuple[str, str]:
    """The backend and the name of the dtype to use: by default numba where it is installed, and float32.

    name: one of BACKENDS; "cupy:1" is the second GPU. Raises InputError for an unknown name or a dtype the backend does
    not compute in.

    >>> choose("numpy", "float64")
    ('numpy', 'float64')
    """
    known = [d for dtypes in BACKENDS.values() for d in dtypes]
    try:
        wanted = dtype if isinstance(dtype, str) else np.dtype(dtype or "float32").name
    except TypeError:
        wanted = str(dtype)
    if wanted not in known:
        raise InputError(f"dtype {excerpt(wanted)} is not one of {', '.join(dict.fromkeys(known))}")
    if name is None:
        able = [b for b, dtypes in BACKENDS.items() if wanted in dtypes]
        name = "numba" if "numba" in able and (find_spec("numba") or "numpy" not in able) else able[0]
    kind, device = kind_and_device(name)
    if kind not in BACKENDS or device is None:
        raise InputError(
            f"unknown backend {excerpt(name)}: choose one of {', '.join(BACKENDS)} (cupy:1 for the second GPU)"
        )
    if wanted not in BACKENDS[kind]:
        able = [f"backend={excerpt(b)}" for b, dtypes in BACKENDS.items() if wanted in dtypes]
        raise InputError(
            f"the {kind} backend computes in {' or '.join(BACKENDS[kind])}, not {wanted}; use {' or '.join(able)}"
        )
    return name, wanted


def kind_and_device(name: Any) -> tuple[str, int | None]:
    """A backend's name in two parts, the second None where it names no device and should not.

    >>> kind_and_device("numba"), kind_and_device("cupy"), kind_and_device("cupy:1"), kind_and_device("numba:1")
    (('numba', 0), ('cupy', 0), ('cupy', 1), ('numba', None))
    """
    kind, colon, number = str(name).partition(":")
    if not colon:
        return kind, 0
    return kind, int(number) if kind == "cupy" and number.isascii() and number.isdigit() else None


def load(name: str, threads: int | None = None, dtype: str = "float32") -> Ops:
    """Import the backend `name` for `dtype`; `threads` sets how many it may use from now on (None: leave as it is).

    Raises MissingExtraError where Numba or CuPy is not installed, DeviceError where CuPy finds no GPU it can use,
    InputError for threads below 1 or on another backend than numba (NumPy's BLAS reads its number of threads from the
    environment before Python starts).
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be a whole number of at least 1, not {excerpt(threads)}")
    if name == "numba" and find_spec("numba") is None:
        raise MissingExtraError('the numba backend needs numba: pip install numba, or use backend="numpy"')
    if threads is not None and name == "numpy":
        raise InputError(
            "threads is for the numba backend; NumPy's BLAS takes OPENBLAS_NUM_THREADS from the environment at start"
        )
    if name.startswith("cupy"):
        if threads is not None:
            raise InputError("threads is for the numba backend; a GPU decides for itself")
        return _on_gpu(kind_and_device(name)[1] or 0, dtype)
    module = _imported(_module(name, dtype))
    if threads is not None:
        module.set_threads(threads)
    if name == "numba" and (wrong := _untrue(dtype)):
        warnings.warn(
            f"the compiled {dtype} kernels multiply wrongly on this machine ({wrong}; see nanodistil doctor): "
            "computing with the numpy backend in float32 instead",
            stacklevel=3,
        )
        module = import_module("nanodistil.kernels.definitions.numpy_ops")
    return cast(Ops, module)


def load_backward(name: str, dtype: str = "float32") -> BackwardOps:
    """The derivatives of the backend `name`. Raises InputError for a dtype that only answers, and does not train."""
    if dtype == "int8":
        raise InputError("a model in int8 cannot be trained: its weights are rounded; use float32 or bfloat16")
    if name.startswith("cupy"):
        return _backward_on_gpu(kind_and_device(name)[1] or 0, dtype)
    if name == "numba" and _untrue(dtype):  # of which `load` has warned
        return cast(BackwardOps, import_module("nanodistil.kernels.definitions.numpy_backward"))
    return cast(BackwardOps, _imported(_module(name, dtype).removesuffix("_ops") + "_backward"))


def graphs(name: str) -> Callable[..., Array | None] | None:
    """What answers small batches from a recording (kernels/gpu/cuda_graph.py), for one model; None where nothing does.

    After `load`, which has seen to it that there is a GPU.
    """
    return import_module("nanodistil.kernels.gpu.cuda_graph").Graphs() if name.startswith("cupy") else None


@cache
def _on_gpu(device: int, dtype: str) -> Ops:
    """The ops of the cupy backend, once a process."""
    if dtype == "bfloat16" and find_spec("ml_dtypes") is None:
        raise MissingExtraError('bfloat16 on a GPU needs ml_dtypes: pip install "nanodistil[cuda13]", or [cuda12]')
    return cast(Ops, gpu_module("cupy_ops", device).CupyOps(dtype, device))


def gpu_module(name: str, device: int = 0) -> ModuleType:
    """A module of kernels/gpu/: "cupy_ops", "cupy_backward", or "device", which examines it.

    Raises MissingExtraError where CuPy is not installed, DeviceError where it finds no GPU it can use.
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


@cache
def _backward_on_gpu(device: int, dtype: str) -> BackwardOps:
    """The derivatives of the cupy backend, once a process."""
    return cast(BackwardOps, gpu_module("cupy_backward", device).CupyBackwardOps(dtype, device))


@cache
def _untrue(dtype: str) -> str:
    """What the self-test of the kernels for `dtype` finds, once a process: "" where all is well."""
    return str(instrument("diagnosis").self_test(_imported(_module("numba", dtype))))


def _imported(name: str) -> ModuleType:
    """A module of kernels/. With Numba or CuPy half imported, as Ctrl-C would leave them, the next try would fail."""
    return undisturbed(import_module, name)


def _module(name: str, dtype: str) -> str:
    return f"nanodistil.kernels.{MODULES.get(dtype, MODULES[name])}"


def self_tests() -> dict[str, str]:
    """The self-test's finding for every dtype of the numba backend. Raises MissingExtraError without Numba."""
    return {dtype: _untrue(dtype) for dtype in BACKENDS["numba"]}


def wordpiece_scan() -> ModuleType | None:
    """The tokenizer's compiled scan, or None where Numba is absent or told not to compile."""
    if find_spec("numba") is None or os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return None
    return _imported("nanodistil.kernels.cpu.wordpiece")


def instrument(name: str) -> ModuleType:
    """A module that measures or examines instead of serving the model: "diagnosis", "peak", "ladder" or "assembly".

    Raises MissingExtraError where Numba is not installed.
    """
    if find_spec("numba") is None:
        raise MissingExtraError("there are no kernels to examine without numba: pip install numba")
    return _imported(f"nanodistil.kernels.instruments.{name}")
