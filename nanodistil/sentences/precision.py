"""Vectors in fewer bits: a byte a number, or a bit. Names, formulas and results are sentence-transformers'.

    int8, uint8      floor((x - low) / step) of 256 steps from the lowest to the highest number of each column
    binary, ubinary  whether a number is above 0, eight of them in a byte; binary has 128 taken away

The steps are those of the vectors at hand, or better of many others (`ranges`, or `calibration_embeddings`): numbers of
different steps cannot be compared.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.tokenization.arguments import one_of
from nanodistil.weights.errors import InputError

PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")
FEW = 100  # vectors, of which ranges say little


def quantize_embeddings(
    embeddings: ArrayLike,
    precision: str,
    ranges: ArrayLike | None = None,
    calibration_embeddings: ArrayLike | None = None,
) -> NDArray[Any]:
    """Vectors (n, D), or one (D,), in another precision: (n, D) of float32, int8, uint8, or (n, D / 8) for bits.

    ranges: (2, D), the lowest and highest number of each column. calibration_embeddings: (m, D), where they are taken
    from instead of the vectors themselves. Raises InputError for what does not fit, and for the ranges of one vector.

    >>> quantize_embeddings([[0.0, 255.0], [1.5, 300.0]], "uint8", ranges=[[0, 0], [255, 255]]).tolist()
    [[0, 255], [1, 255]]
    >>> quantize_embeddings([[0.5, -1.0, 2.0]], "ubinary").tolist()
    [[160]]
    """
    one_of("precision", precision, PRECISIONS)
    x = numbers(embeddings, "embeddings")
    if x.dtype.kind != "f":
        raise InputError(f"embeddings must be float, not {x.dtype}: they have been quantized already")
    if not 1 <= x.ndim <= 2:
        raise InputError(f"embeddings must be (n, D), or one of them (D,), not {x.shape}")
    if precision == "float32":
        return x.astype(np.float32)
    if precision.endswith("binary"):
        bits: NDArray[np.uint8] = np.packbits(x > 0, axis=-1)
        found: NDArray[Any] = bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
        return found
    if x.ndim == 2 and not len(x):
        return np.zeros(x.shape, precision)
    lows, steps = steps_of(x, ranges, calibration_embeddings)
    places = np.clip(np.floor((x - lows) / steps), 0, 255)
    return np.asarray(places if precision == "uint8" else places - 128).astype(precision)


def steps_of(x: NDArray[Any], ranges: Any, others: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The lowest number of each column, and the width of its 256 steps."""
    if ranges is None:
        many = x if others is None else numbers(others, "calibration_embeddings")
        if many.ndim < 2 or (others is None and len(many) == 1) or not len(many):
            raise InputError("one vector has no range: pass ranges, or calibration_embeddings, of many others")
        if others is None and len(many) < FEW:
            warnings.warn(
                f"ranges are taken from {len(many)} vectors; those of {FEW} or more are worth more", stacklevel=4
            )
        ranges = np.stack([many.min(axis=0), many.max(axis=0)])
    found = numbers(ranges, "ranges").astype(np.float32)
    if found.shape != (2, x.shape[-1]):
        raise InputError(f"ranges must be (2, {x.shape[-1]}), the lowest and the highest numbers, not {found.shape}")
    steps = (found[1] - found[0]) / 255
    return found[0], np.where(steps == 0, np.float32(1), steps)
