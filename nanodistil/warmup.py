"""Compile or load every kernel that answers need, so that whatever comes next starts fast.

Numba compiles a function for the types and layouts it is called with, so the surest way to have everything is to do
everything once: the embedded model answers, with and without a tap, on one token and on several, padded and not.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple

from nanodistil.backend import BACKENDS, instrument
from nanodistil.heads import DistilBertForMaskedLM, DistilBertModel
from nanodistil.pipelines import pipeline
from nanodistil.tokenization import DistilBertTokenizer


class Warmth(NamedTuple):
    """What a warm-up came to."""

    seconds: float
    cache: dict[str, Any]  # diagnosis.cache: folder, files, bytes, why_not_writable


def warm_up(model: str = "nanodistil-mini") -> Warmth:
    """Run `model` in every way the library has. Raises MissingExtraError where Numba is not installed."""
    began = perf_counter()
    diagnosis = instrument("diagnosis")
    for dtype in BACKENDS["numba"]:
        options: dict[str, Any] = {"backend": "numba", "dtype": dtype}
        pipeline("fill-mask", model=model, **options)("Hello I'm a [MASK] model.", top_k=2)
        for kind in (DistilBertModel, DistilBertForMaskedLM):
            run = kind.from_pretrained(model, **options)
            for ids, mask in (([[0]], None), ([[0, 1, 2]] * 12, None), ([[0, 1], [2, 0]], [[1, 1], [1, 0]])):
                run(ids, mask)
                run(ids, mask, keep_masked=True)
            run([[0, 1]], tap=lambda name, value: value)
    DistilBertTokenizer.from_pretrained(model)(["warm " * 200] * 1250)  # long enough for its compiled scan to be used
    return Warmth(perf_counter() - began, diagnosis.cache())
