"""Compile or load every kernel that answers need, so that whatever comes next starts fast.

Numba compiles a function for the types and layouts it is called with, so the surest way to have everything is to do
everything once: the embedded model answers, with and without a tap, on one token and on several, padded and not.

What root compiles, every user of the machine may then load: so an image is made by root and run by someone else.

On a GPU kernels are compiled for the width of the rows and of the heads, so there it is done in two sizes, the embedded
model's and the official ones', with random weights and one layer: what is compiled is the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nanodistil.backend import BACKENDS, gpu_module, instrument
from nanodistil.config import DistilBertConfig
from nanodistil.family.distilbert import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from nanodistil.pipelines import pipeline
from nanodistil.tokenization import DistilBertTokenizer
from nanodistil.weights.errors import DeviceError, InputError, MissingExtraError, excerpt

SIZES = (384, 1536), (768, 3072)  # dim and hidden_dim, of 12 heads: nanodistil-mini and DistilBERT
log = logging.getLogger("nanodistil.kernels")  # whoever listens shows what is being compiled


class Warmth(NamedTuple):
    """What a warm-up came to."""

    seconds: float
    cache: dict[str, Any]  # diagnosis.cache: folder, files, bytes, why_not_readable, why_not_writable


def compile_for(target: str) -> Warmth:
    """Compile what `warm_up` does for another processor, and run none of it: target is its name and features.

    In a process that has imported no kernels yet. Raises InputError if there is no such target, MissingExtraError
    without Numba.
    """
    os.environ["NUMBA_CPU_NAME"], _, os.environ["NUMBA_CPU_FEATURES"] = target.partition(",")
    if why := instrument("diagnosis").target.wrong(target):
        raise InputError(f"no kernels can be compiled for {excerpt(target)}: {why}")
    instrument("diagnosis").pool.only_compile()
    return warm_up()


def warm_up(model: str = "nanodistil-mini") -> Warmth:
    """Run `model` in every way the library has. Raises MissingExtraError if Numba is not installed."""
    began = perf_counter()
    diagnosis = instrument("diagnosis")
    for dtype in BACKENDS["numba"].dtypes:
        options: dict[str, Any] = {"backend": "numba", "dtype": dtype}
        pipeline("fill-mask", model=model, **options)("Hello I'm a [MASK] model.", top_k=2)
        for kind in (DistilBertModel, DistilBertForMaskedLM):
            run = kind.from_pretrained(model, **options)
            for ids, mask in (([[0]], None), ([[0, 1, 2]] * 12, None), ([[0, 1], [2, 0]], [[1, 1], [1, 0]])):
                run(ids, mask)
                run(ids, mask, keep_masked=True)
            run([[0, 1]], tap=lambda name, value: value)
    DistilBertTokenizer.from_pretrained(model)(["warm " * 200] * 1250)  # long enough for its compiled scan to be used
    diagnosis.share_cache()
    return Warmth(perf_counter() - began, diagnosis.cache())


class GpuWarmth(NamedTuple):
    """The same of the first GPU."""

    seconds: float
    modules: int  # CUDA sources, each for certain types and widths
    folder: str  # where CuPy keeps them


def warm_up_gpu(dtypes: Sequence[str] = BACKENDS["cupy"].dtypes) -> GpuWarmth | None:
    """Run models of both sizes on the first GPU in these dtypes; None if there is no CuPy or no GPU."""
    began = perf_counter()
    try:
        sources = gpu_module("cuda_source")
    except (MissingExtraError, DeviceError):
        return None
    ids, mask = np.array([[1, 2, 3], [4, 5, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
    for dtype in dtypes:
        for dim, hidden_dim in SIZES:
            name = f"those of width {dim} for {dtype} on a GPU"
            log.info("compiling %s", name)
            config = DistilBertConfig(vocab_size=64, n_layers=1, dim=dim, hidden_dim=hidden_dim)
            DistilBertForSequenceClassification(config, backend="cupy", dtype=dtype)(ids, mask)
            model = DistilBertForMaskedLM(config, backend="cupy", dtype=dtype)
            model.most_probable(ids, mask, [(0, 1), (1, 0)], 2)
            model(ids, mask, keep_masked=True)
            model(ids, tap=lambda name, value: value)
            log.info("compiled %s", name)
    return GpuWarmth(perf_counter() - began, sources.compiled.cache_info().currsize, str(sources.cache_folder()))
