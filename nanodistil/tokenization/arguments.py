"""What a call may be given: texts in four shapes, ids, and arguments by name; anything else is an InputError.

One oddity of the reference is kept: for a single text an empty second text is none at all, in a batch it is a second
text without tokens, with a [SEP] of its own.
"""

import operator
from collections.abc import Iterable
from typing import Any

from nanodistil.weights.errors import InputError

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


def one_of(name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """`value`, if it is one of those allowed. Raises InputError.

    >>> one_of("padding", "largest", PADDING)
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: padding='largest': must be one of False, 'do_not_pad', True, ...
    """
    if not isinstance(value, str | bool | None) or value not in allowed:
        raise InputError(f"{name}={value!r}: must be one of {', '.join(map(repr, allowed))}")
    return value


def whole_number(name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`; True is none. Raises InputError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise InputError(f"{name}={value!r}: must be a whole number of at least {least}")
    return operator.index(value)


def id_list(ids: Any) -> list[int]:
    """One id or a sequence of them (list, tuple, array) as a list. Raises InputError."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    try:
        numbers = [operator.index(ids)] if hasattr(ids, "__index__") else [operator.index(number) for number in ids]
    except TypeError:
        raise InputError(f"ids must be a whole number or a sequence of them, not {str(ids)[:60]!r}") from None
    if min(numbers, default=0) < 0:
        raise InputError(f"the id {min(numbers)} is negative; ids start at 0")
    return numbers


def text_pairs(text: Any, text_pair: Any) -> list[tuple[str, str | None]]:
    """What a call was given, as a list of (text, second text or None). Raises InputError.

    >>> text_pairs(["a", ("b", "c")], None), text_pairs("a", "")
    ([('a', None), ('b', 'c')], [('a', None)])
    """
    if isinstance(text, str):
        if text_pair is not None and not isinstance(text_pair, str):
            raise InputError(f"text is one string, so text_pair must be one too, not {type(text_pair).__name__}")
        return [(_checked(text), _checked(text_pair) if text_pair else None)]  # an empty second text is none
    if not isinstance(text, list | tuple):
        raise InputError(f"text must be a string or a list of strings, not {type(text).__name__}")
    if text_pair is None:
        return [_pair(item) if isinstance(item, list | tuple) else (_checked(item), None) for item in text]
    if not isinstance(text_pair, list | tuple) or len(text_pair) != len(text):
        raise InputError(f"text is a list of {len(text)}, so text_pair must be a list of as many strings")
    return [(_checked(a), _checked(b)) for a, b in zip(text, text_pair, strict=True)]


def _pair(item: Any) -> tuple[str, str]:
    if len(item) != 2:
        raise InputError("a list in the list of texts must be a pair of strings; lists of words are not supported yet")
    return _checked(item[0]), _checked(item[1])


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a string, not {type(text).__name__}")
    try:
        text.encode()  # 1 GB/s or so; a surrogate is the one code point that is no character
    except UnicodeEncodeError as error:
        raise InputError(f"the text holds a lone surrogate at {error.start}; read it with errors='replace'") from None
    return text
