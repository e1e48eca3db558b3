"""Arrays inside a file of text: their bytes, deflated, in base64, with what a reader must know to undo it.

Attention is most of a page: 12 heads of 6 layers on 512 tokens have 19 million weights. Each is one byte, its square
root in steps of 1/255. The largest weights are off by 0.004 at most, and those of 1/512, which even attention gives to
each of 512 tokens, by 0.0002, where equal steps would have made half of that 0. All else is float32 or whole numbers.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanodistil.backend import Array

THUMBNAIL = 32  # points on a side, at most


def packed(array: Any, dtype: str = "<f4") -> dict[str, Any]:
    """An array as JSON. dtype: "<f4", "<i4" or "|u1".

    >>> packed(np.zeros((2, 3)))["shape"]
    [2, 3]
    """
    array = np.ascontiguousarray(array, dtype)
    data = base64.b64encode(zlib.compress(array.tobytes(), 6)).decode()
    return {"type": dtype, "shape": list(array.shape), "data": data}


def unpacked(found: dict[str, Any]) -> NDArray[Any]:
    """And back.

    >>> unpacked(packed([[1.5, 2.0]]))
    array([[1.5, 2. ]], dtype=float32)
    """
    data = zlib.decompress(base64.b64decode(found["data"]))
    return np.frombuffer(data, found["type"]).reshape(found["shape"])


def roots(weights: Array) -> NDArray[np.uint8]:
    """Weights from 0 to 1 as bytes.

    >>> ((roots(np.array([0.0, 0.25, 1.0])) / 255.0) ** 2).round(3)
    array([0.   , 0.252, 1.   ])
    """
    found: NDArray[np.uint8] = np.rint(255 * np.sqrt(np.clip(weights, 0, 1))).astype(np.uint8)
    return found


def thumbnails(squares: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, T, T) made small, each point the largest of what it stands for: (H, t, t), t up to THUMBNAIL.

    >>> thumbnails(np.zeros((2, 70, 70), np.uint8)).shape
    (2, 24, 24)
    """
    H, T, _ = squares.shape
    step = -(-T // THUMBNAIL)
    t = -(-T // step)
    whole = np.zeros((H, t * step, t * step), np.uint8)
    whole[:, :T, :T] = squares
    return np.asarray(whole.reshape(H, t, step, t, step).max((2, 4)))
