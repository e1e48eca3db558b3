"""Arguments by name, and ids: what they may be; anything else is an InputError.

If an argument cannot be what it is (a negative stride, an unknown side) the call is refused, also if the reference
happens not to look at it. What a call may be given beside its texts is one value, call_arguments.py.
"""

import operator
from collections.abc import Iterable
from typing import Any

from nanodistil.weights.errors import InputError, excerpt

PADDING = {False: None, "do_not_pad": None, True: "longest", "longest": "longest", "max_length": "max_length"}
TRUNCATION = {
    None: None,
    False: None,
    "do_not_truncate": None,
    True: "longest_first",
    "longest_first": "longest_first",
    "only_first": "only_first",
    "only_second": "only_second",
}
TENSORS = (None, "np", "pt")
SIDES = ("left", "right")
LARGEST_ID = 2**32 - 1
NAMED = str | bool | None


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value`, if it is one of those allowed, or an enumeration's name for it. Raises InputError.

    >>> one_of("padding", "largest", PADDING)
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: padding='largest': must be one of False, 'do_not_pad', True, ...
    """
    if type(value) is not str:
        value = getattr(value, "value", value)  # transformers' PaddingStrategy.LONGEST and the like
    if not isinstance(value, NAMED) or value not in allowed:
        raise InputError(f"{name}={excerpt(value)}: must be one of {', '.join(map(repr, allowed))}")
    return value


def number(name: str, value: Any) -> int:
    """`value` as an int, whatever kind of integer it is. Raises InputError."""
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} must be a whole number, not {excerpt(value)}") from None


def whole_number(name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`; True is none. Raises InputError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise InputError(f"{name}={excerpt(value)}: must be a whole number of at least {least}")
    return operator.index(value)


def yes_or_no(name: str, value: Any) -> bool:
    """`value`, if it is True or False, Python's or NumPy's. Raises InputError."""
    if value is not True and value is not False and type(value).__name__ not in ("bool_", "bool"):
        raise InputError(f"{name}={excerpt(value)}: must be True or False")
    return bool(value)


def id_list(ids: Any) -> list[int]:
    """One id or a sequence of them (list, tuple, array) as a list. Raises InputError."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    try:
        numbers = [operator.index(ids)] if hasattr(ids, "__index__") else [operator.index(number) for number in ids]
    except TypeError:
        raise InputError(f"ids must be a whole number or a sequence of them, not {excerpt(ids)}") from None
    if min(numbers, default=0) < 0:
        raise InputError(f"the id {min(numbers)} is negative; ids start at 0")
    if max(numbers, default=0) > LARGEST_ID:
        raise InputError(f"the id {max(numbers)} is beyond any vocabulary; were these ids?")
    return numbers
