"""What a pipeline's call may be given for several inputs, and what one must be.

A tuple, a column of pandas, NumPy, Arrow or `datasets`, a data set of PyTorch's are as good as a list; anything else
that can be gone through is a stream, and stays one. What would be gone through by keys, names or bytes is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

from nanodistil.tokenization.arguments import whole_number
from nanodistil.weights.errors import InputError


def check_pace(batch_size: Any, num_workers: Any) -> None:
    """transformers' arguments, which change nothing here: a batch holds as many tokens as are good for speed.

    No answer depends on them, there or here. Raises InputError for what they cannot be.
    """
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if value is not None:
            whole_number(name, value, least)


def many(inputs: Any, what: str = "a text") -> Any:
    """The inputs of a call that is not for one alone: as a list if their number is known, else as the stream it is.

    Raises InputError if they are not many: a dict and bytes could be gone through too, by their keys and their numbers,
    a table by the names of its columns, a set in any order, and nobody means that.

    >>> many(("a", "b")), next(many(iter(["a"])))
    (['a', 'b'], 'a')
    """
    if isinstance(inputs, list):
        return inputs
    inputs = by_number(inputs)
    kind = type(inputs).__name__
    if not isinstance(inputs, Iterable) or isinstance(inputs, str | dict | bytes | bytearray | set | frozenset):
        raise InputError(f"{what} or several are needed, not {kind}")
    if hasattr(inputs, "columns") or getattr(inputs, "ndim", 1) != 1:
        raise InputError(f"{what} or several are needed, not {kind}: choose one column")
    if hasattr(inputs, "to_pylist"):  # Arrow's, whose elements are no strings by themselves
        return inputs.to_pylist()
    return list(inputs) if isinstance(inputs, Sized) else inputs


def by_number(inputs: Any) -> Any:
    """A data set that has a length and numbered items but no iterator, as PyTorch's are, item by item.

    Anything else as it is.
    """
    if isinstance(inputs, Iterable) or not (hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")):
        return inputs
    return (inputs[i] for i in range(len(inputs)))


def a_text(one: Any, name: str, hint: str = "") -> str:
    """The input as it is. Raises InputError, which may end in a hint, if it is not a string; name: of the input."""
    if not isinstance(one, str):
        raise InputError(f"{name} is not a string but {type(one).__name__}{hint}")
    return one


def strings(values: Any, name: str) -> list[str]:
    """A list, column or stream of strings as a list. Raises InputError if one of them is none.

    >>> strings(("a", "b"), "choices")
    ['a', 'b']
    """
    listed = list(values.to_pylist() if hasattr(values, "to_pylist") else values)
    wrong = [one for one in listed if not isinstance(one, str)]
    if wrong:
        raise InputError(f"{name} must be strings, not {type(wrong[0]).__name__}")
    return listed
