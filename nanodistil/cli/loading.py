"""The pipeline that a verb runs: its model, and what the model runs on."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from typing import Any

from nanodistil.cli.parsing import whole


def add_arguments(parser: argparse.ArgumentParser, default: str | None = None, known: str = "") -> None:
    """The arguments of every verb that runs a model. default: what it runs if none is named; known: what could."""
    which = f"default: {default}" if default else "no default"
    which = f"one that was trained for it, {known}; {which}" if known else which
    parser.add_argument("--model", metavar="M", help=f"folder or hub id ({which})")
    add_backend_arguments(parser)
    parser.add_argument("--threads", type=whole(1), metavar="N", help="how many threads to use")


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """--backend and --dtype, which backend.choose checks."""
    parser.add_argument(
        "--backend",
        metavar="B",
        help="numpy, numba, or cupy for an NVIDIA GPU (cupy:1 the second); default: numba where it is installed",
    )
    parser.add_argument(
        "--dtype",
        metavar="D",
        help="float32 (default); float64 (numpy), bfloat16, int8 (numba), tf32, float16, bfloat16 (cupy)",
    )


def yours(path: str | None, backend: str | None) -> str | None:
    """The backend, or "yours": the same with the ops that a Python file of the user's replaces."""
    if path is None:
        return backend
    from nanodistil.replacing import add_backend, functions_of

    add_backend("yours", on=backend, **functions_of(path))
    return "yours"


def set_threads(count: int | None) -> None:
    """Tell NumPy's BLAS, which reads its number of threads from the environment when NumPy is imported."""
    if count is not None:
        for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ.setdefault(variable, str(count))


def threads_of_blas(count: int | None, backend: str | None, dtype: str | None) -> int | None:
    """How many NumPy's BLAS should have, if `count` are asked for; None: as it likes.

    One, if compiled kernels compute. BLAS then only adds a LoRA to its weights, beside threads of ours, which its own
    would disturb as they wait for something to do: of a `classify` two take 0.70 s of processor time and one 0.58.

    >>> threads_of_blas(None, "numpy", None), threads_of_blas(4, None, "float64")
    (None, 4)
    """
    compiled = backend in (None, "numba") and dtype != "float64" and find_spec("numba") is not None
    return 1 if compiled else count


def options(args: argparse.Namespace, backend: str | None = None, dtype: str | None = None) -> dict[str, Any]:
    """What a model runs on, as the arguments say; or on another backend, in another dtype."""
    backend, dtype = backend or args.backend, dtype or args.dtype
    set_threads(threads_of_blas(args.threads, backend, dtype))
    from nanodistil.backend import choose

    chosen, _ = choose(backend, dtype)
    return {"backend": chosen, "dtype": dtype, "threads": None if chosen == "numpy" else args.threads}


def load(task: str, args: argparse.Namespace, backend: str | None = None, dtype: str | None = None) -> Any:
    """nanodistil.pipeline(task), on what `options` says."""
    chosen = options(args, backend, dtype)
    from nanodistil.pipelines import pipeline

    return pipeline(task, model=args.model, **chosen)
