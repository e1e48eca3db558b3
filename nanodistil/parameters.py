"""A model's weights to look at, in the words of torch.nn: parameters, an embedding, a linear map.

    sum(p.numel() for p in model.parameters())
    model.get_input_embeddings()(ids)          # (..., D), for inputs_embeds

They are copies for reading. A model here computes with weights laid out for its backend, so what is written into one of
these would change nothing, and is refused: save the model, or train it with nanodistil.training.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nanodistil.arrays import numbers
from nanodistil.torch_tensors import as_tensors, is_tensor
from nanodistil.weights.errors import InputError


class Parameter(np.ndarray[Any, np.dtype[Any]]):
    """An array that cannot be written to, with what torch.nn.Parameter says of itself.

    >>> weight = Parameter.of(np.ones((2, 3), np.float32))
    >>> weight.numel(), weight.requires_grad, weight.grad
    (6, False, None)
    >>> weight.requires_grad = True
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: weights have no gradients here: nanodistil.training.finetune trains a model
    """

    grad = None

    @classmethod
    def of(cls, array: Any) -> Parameter:
        """The array, read-only; the one that is given stays as it is."""
        parameter = np.asarray(array).view(cls)
        parameter.flags.writeable = False
        return parameter

    def numel(self) -> int:
        """How many numbers it holds."""
        return self.size

    @property
    def requires_grad(self) -> bool:
        """False: no gradients are kept here."""
        return False

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        refuse_gradients(value)

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """For False, itself."""
        refuse_gradients(requires_grad)
        return self


def refuse_gradients(wanted: Any) -> None:
    """Raises InputError if gradients are asked for."""
    if wanted:
        raise InputError("weights have no gradients here: nanodistil.training.finetune trains a model")


class Embedding(NamedTuple):
    """A table of vectors, one for each id; called with ids, it looks them up.

    >>> Embedding(Parameter.of(np.eye(3)))([[2, 0]]).tolist()
    [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]]
    """

    weight: Parameter  # (V, D)

    @property
    def num_embeddings(self) -> int:
        return len(self.weight)

    @property
    def embedding_dim(self) -> int:
        return int(self.weight.shape[1])

    def __call__(self, ids: ArrayLike) -> Any:
        """Ids of any shape (...) -> (..., D), an array, or a tensor for a tensor. Raises InputError for other ids."""
        places = numbers(ids, "ids")
        if places.size and (places.dtype.kind not in "iu" or places.min() < 0 or places.max() >= len(self.weight)):
            raise InputError(f"ids must be whole numbers from 0 to {len(self.weight) - 1}")
        found = np.asarray(self.weight)[places.astype(np.int64)]
        return as_tensors(found) if is_tensor(ids) else found


class Linear(NamedTuple):
    """A linear map."""

    weight: Parameter  # (O, I)
    bias: Parameter | None  # (O,)

    @property
    def in_features(self) -> int:
        return int(self.weight.shape[1])

    @property
    def out_features(self) -> int:
        return len(self.weight)
