"""PyTorch's tensors, for those who have it: taken where arrays are, and given back to who brought them.

Nothing here needs PyTorch and nothing imports it, unless the caller asks for tensors by name, return_tensors="pt". An
object can only be a tensor if somebody has imported torch already, so whether it is one costs a look into a dict. On
the way in a tensor is read like any array (arrays.py); on the way out an array becomes a tensor by DLPack: the same
memory, no copy. Tensors that come out know no gradients: models here answer, and nanodistil.training trains.
"""

from __future__ import annotations

import sys
from typing import Any

from nanodistil.weights.errors import MissingExtraError


def is_tensor(value: Any) -> bool:
    """Whether it is a torch.Tensor.

    >>> is_tensor([1, 2])
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def imported() -> Any:
    """The module torch, for who has asked for tensors. Raises MissingExtraError if it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError(
            'return_tensors="pt" needs PyTorch, which is not installed: pip install torch, or ask for "np"'
        ) from error
    return torch


def as_tensor(array: Any) -> Any:
    """An array as a torch.Tensor over the same memory. Raises MissingExtraError if PyTorch is not installed."""
    import numpy as np

    torch = imported()
    array = np.asarray(array)
    if array.ndim == 0 or not array.flags.writeable:  # a number; and memory that PyTorch could write to
        array = array.copy()
    return torch.from_dlpack(array)


def as_tensors(value: Any) -> Any:
    """The same with every array in it, also in tuples, as a tensor; what is no array stays."""
    import numpy as np

    if isinstance(value, tuple):
        return tuple(as_tensors(one) for one in value)
    return as_tensor(value) if isinstance(value, np.ndarray | np.generic) else value
