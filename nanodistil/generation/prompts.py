"""A batch of prompts as a tokenizer pads it, on either side, and the texts inside."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nanodistil.arrays import numbers
from nanodistil.backend import Ints
from nanodistil.weights.errors import InputError


class Prompts(NamedTuple):
    """ids (B, T) and mask (B, T), True = real token."""

    ids: Ints
    mask: NDArray[np.bool_]

    @classmethod
    def of(
        cls, input_ids: ArrayLike, attention_mask: ArrayLike | None, name: str = "input", vocabulary: int | None = None
    ) -> Self:
        """Checked. Raises InputError for what is no such batch, and for a prompt without a token.

        >>> Prompts.of([[0, 5, 6]], [[0, 1, 1]]).texts()
        [array([5, 6])]
        >>> Prompts.of([[1, 2], [3, 4]], [[1, 1], [0, 0]])
        Traceback (most recent call last):
        nanodistil.weights.errors.InputError: prompt 1 has no token: give it at least one, the bos token for instance
        """
        ids = numbers(input_ids, f"{name}_ids")
        if ids.ndim == 1 and ids.size:
            raise InputError(f"{name}_ids must be (batch, tokens), not {ids.shape}; put it in a list")
        if ids.ndim != 2 or (ids.dtype.kind not in "iu" and ids.size):
            raise InputError(f"{name}_ids must be (batch, tokens) of integers, not {ids.dtype} {ids.shape}")
        if attention_mask is None:
            mask = np.ones(ids.shape, bool)
        else:
            given = numbers(attention_mask, "attention_mask")
            if given.shape != ids.shape:
                raise InputError(f"attention_mask is {given.shape}, and {name}_ids {ids.shape}: they should be alike")
            mask = given != 0
        if ids.size and vocabulary is not None and not 0 <= ids.min() <= ids.max() < vocabulary:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise InputError(f"{name}_ids has {wrong}, and the model tokens 0 to {vocabulary - 1}")
        empty = np.flatnonzero(~mask.any(axis=1))
        if not len(ids) or empty.size:
            which = f"prompt {empty[0]}" if empty.size else f"{name}_ids"
            raise InputError(f"{which} has no token: give it at least one, the bos token for instance")
        return cls(ids.astype(np.int64), mask)

    def texts(self) -> list[Ints]:
        """The real tokens of each."""
        return [ids[mask] for ids, mask in zip(self.ids, self.mask, strict=True)]
