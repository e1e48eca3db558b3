"""Weights that are in memory already, under transformers' names, into a model: model.load_state_dict(weights).

The same names are understood as in files, the same is checked, and a tied projection, which a state dict of PyTorch's
holds once more, is passed over. Arrays and tensors are copied: a model never shares its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from nanodistil.arrays import numbers
from nanodistil.backend import Array
from nanodistil.weights.errors import InputError, excerpt
from nanodistil.weights.loading import finite
from nanodistil.weights.names import TIED, Head
from nanodistil.weights.renamed import Names, without_copies
from nanodistil.weights.side_by_side import taken_apart


class IncompatibleKeys(NamedTuple):
    """What load_state_dict found no weight for, and no use for, as PyTorch calls it; both are empty if it is strict."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def merged(
    now: dict[str, Array], head: Head, table: Names, state_dict: Any, strict: bool, floats: DTypeLike
) -> tuple[dict[str, Array], IncompatibleKeys]:
    """The tensors of a model of this head, those of the state dict in place of its own. table: its family's names.

    Raises InputError for an array of another shape, one that is not finite or holds no numbers, and, if strict, for
    names that are missing or unexpected.
    """
    if not isinstance(state_dict, Mapping):
        raise InputError(f"load_state_dict takes names and their arrays, a dict, not {type(state_dict).__name__}")
    state_dict = taken_apart(state_dict, table)
    found: dict[str, Array] = {}
    unexpected: list[str] = []
    names = without_copies([str(name) for name in state_dict], table)
    for name, (given, value) in zip(names, state_dict.items(), strict=True):
        plain = table.canonical(name) if isinstance(given, str) else name
        if plain is None or (plain in TIED and plain not in now):
            continue
        if plain not in now:
            unexpected.append(name)
            continue
        widened = value.detach().float() if str(getattr(value, "dtype", "")) == "torch.bfloat16" else value
        array = numbers(widened.detach() if hasattr(widened, "detach") else widened, excerpt(name))
        if array.shape != now[plain].shape:
            raise InputError(f"{excerpt(name)} is {array.shape}, this model's is {now[plain].shape}")
        found[plain] = np.array(array, floats, order="C")
        if not finite(found[plain]):
            raise InputError(f"{excerpt(name)} has numbers that are NaN or infinite in {np.dtype(floats)}")
    missing = [table.filed(name, head) for name in now if name not in found]
    for what, names in (("missing", missing), ("unexpected", unexpected)):
        if strict and names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(
                f"load_state_dict: {what} {', '.join(map(excerpt, names[:3]))}{more}; strict=False passes over it"
            )
    return {**now, **found}, IncompatibleKeys(missing, unexpected)
