"""What a user calls an array, as one: nested lists, NumPy's, PyTorch's; or a line that says what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.weights.errors import InputError


def numbers(values: ArrayLike, name: str) -> NDArray[Any]:
    """An array of numbers. Raises InputError for ragged rows, and for what holds no numbers.

    >>> numbers([[1, 2], [3]], "labels")
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: labels has rows of different lengths; pad them, or tokenize with padding=True
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} has rows of different lengths; pad them, or tokenize with padding=True") from None
    except (TypeError, RuntimeError) as error:  # a tensor that NumPy cannot take as it is
        raise InputError(f"{name} cannot be read as an array ({str(error)[:80]})") from None
    if array.dtype.kind not in "biuf" and array.size:
        raise InputError(f"{name} must hold numbers, not {array.dtype}")
    return array
