"""What the calls of all heads do alike, before and after the arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, cast

from numpy.typing import ArrayLike

from nanodistil.arrays import numbers
from nanodistil.backend import Array
from nanodistil.config import Config
from nanodistil.outputs import Output
from nanodistil.pretrained import Options
from nanodistil.torch_tensors import as_tensors, is_tensor
from nanodistil.weights.errors import InputError

T = TypeVar("T", bound=Output)


def finished(output: T, options: Options, config: Config, *given: Any) -> T:
    """The output, or the plain tuple of what is present where return_dict=False, here or in the config, asks for it.

    given: the ids or embeddings of the call. To PyTorch's tensors the answer is PyTorch's tensors.
    """
    if any(map(is_tensor, given)):
        output = replace(output, **{name: as_tensors(value) for name, value in output.items()})  # type: ignore[type-var]
    asked = options.get("return_dict")
    return output if (config.return_dict if asked is None else asked) else cast(T, output.to_tuple())


def with_masked(options: Options, labels: Any) -> Options:
    """The options, with masked positions computed where a loss will count them."""
    return options if labels is None else {**options, "keep_masked": True}


def flat(labels: ArrayLike, shape: tuple[int, ...]) -> Any:
    """(B, T) labels as (B T,). Raises InputError for another shape."""
    truth = numbers(labels, "labels")
    if truth.shape != shape:
        raise InputError(f"labels are of shape {truth.shape}, the tokens of shape {shape}")
    return truth.reshape(-1)


def joined(values: ArrayLike | None) -> Array | None:
    """(B, choices, ...) -> (B choices, ...): every choice a sentence of its own."""
    if values is None:
        return None
    array = numbers(values, "a multiple-choice argument")
    if array.ndim < 3 or 0 in array.shape[1:]:
        raise InputError(f"multiple choice takes (batch, choices, tokens) arrays, not of shape {array.shape}")
    return array.reshape(-1, *array.shape[2:])
