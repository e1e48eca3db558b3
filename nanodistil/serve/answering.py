"""Answers as JSON, and vectors on the way there.

A vector of 768 numbers takes Python's json most of a millisecond and orjson a fiftieth of it; either writes the
shortest digits that are the number, so what is read is the same to the bit.
"""

from __future__ import annotations

import importlib
import json
from importlib.util import find_spec
from typing import Any

import numpy as np
from starlette.responses import Response

from nanodistil.backend import Array

orjson: Any = importlib.import_module("orjson") if find_spec("orjson") else None


def as_json(answer: Any) -> Response:
    """As they are: a float of Python's has the very bits of the float32 it was."""
    return Response(written(answer), media_type="application/json")


def written(answer: Any) -> bytes:
    """As JSON; NaN is for neither: no pipeline lets it through."""
    if orjson is not None:
        return bytes(orjson.dumps(answer))
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def lists(vectors: list[Array]) -> list[Any]:
    """Arrays as nested lists."""
    return [vector.tolist() for vector in vectors]


def shortened(vector: Array, dimensions: int | None) -> Array:
    """The first so many numbers of a vector, at length 1 again if they are fewer than there were: (D,) -> (d,).

    >>> shortened(np.array([3.0, 4.0, 12.0]), 2)
    array([0.6, 0.8])
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    head = vector[:dimensions].astype(np.float64)
    length = max(float(np.linalg.norm(head)), float(np.finfo(vector.dtype).tiny))
    return np.asarray(head / length, vector.dtype)
