"""The same model in float64, on the definitions: what every other number is judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanodistil.backend import EXACT
from nanodistil.weights.errors import InputError


def exactly(model: Any) -> Any:
    """A model with the same weights in float64 on the numpy backend; a new one, which may be changed.

    Raises InputError for one whose weights were rounded: the truth is in those of float32.
    """
    if model.dtype not in EXACT:
        raise InputError(f"the weights were rounded to {model.dtype}; load the model in float32 for this")
    tensors = {name: np.array(array, np.float64) for name, array in model.tensors().items()}
    return type(model)(model.config, tensors, backend="numpy", dtype="float64")
