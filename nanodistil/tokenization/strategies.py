"""What `padding`, `truncation` and `max_length` mean together: an old interface, with its rules as they grew.

max_length alone                         truncates, by longest_first, with a warning
padding=True with max_length             ignores max_length, unless there is a truncation too
padding="max_length"                     pads to max_length, and never truncates
neither max_length nor the model's own   drops what would need one, with a warning
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nanodistil.tokenization.arguments import PADDING, TRUNCATION, one_of, whole_number
from nanodistil.tokenization.state import State
from nanodistil.weights.errors import InputError

LARGE = 10**20  # a model_max_length above it is none


class Strategies(NamedTuple):
    """What `strategies` found out."""

    pad: str | None  # "longest", "max_length" or None
    cut: str | None  # "longest_first", "only_first", "only_second" or None
    length: int | None  # for both; None if neither needs one


def strategies(
    state: State, padding: Any, truncation: Any, max_length: Any, multiple: int | None, verbose: bool
) -> Strategies:
    """Sort it out. Raises InputError for values that cannot be.

    >>> from nanodistil.tokenization import DistilBertTokenizer
    >>> strategies(DistilBertTokenizer.from_pretrained("nanodistil-mini"), "max_length", None, None, None, True)
    Strategies(pad='max_length', cut=None, length=512)
    """
    if max_length is not None:
        max_length = whole_number("max_length", max_length, 0)
        if padding is False and truncation is None:
            state.warn_once("max_length without truncation: truncating; pass truncation=True to say so", verbose)
            truncation = True
        elif padding is True and truncation in (None, False, "do_not_truncate"):
            state.warn_once("max_length is ignored by padding=True; padding='max_length' pads to it", verbose)
    pad = PADDING[one_of("padding", padding, PADDING)]
    cut = TRUNCATION[one_of("truncation", truncation, TRUNCATION)]
    if max_length is None and state.model_max_length > LARGE:
        if pad == "max_length":
            state.warn_once("padding='max_length', but neither call nor model give a length: not padding", verbose)
            pad = None
        if cut:
            state.warn_once("truncation, but neither call nor model give a length: not truncating", verbose)
            cut = None
    elif max_length is None and (cut or pad == "max_length"):
        max_length = state.model_max_length
    if pad and cut and multiple and max_length is not None and max_length % multiple:
        raise InputError(f"max_length {max_length} is not a multiple of pad_to_multiple_of {multiple}; make it one")
    return Strategies(pad, cut, max_length)


def multiple_of(pad_to_multiple_of: Any) -> int | None:
    """What lengths are rounded up to, or None. Raises InputError."""
    return None if pad_to_multiple_of is None else whole_number("pad_to_multiple_of", pad_to_multiple_of, 1)


def rounded_up(length: int, multiple: int | None) -> int:
    """The next multiple, if there is one to round to."""
    return -(-length // multiple) * multiple if multiple else length


def padding_token(state: State) -> tuple[str, int]:
    """The token to pad with, and its id. Raises InputError if there is none."""
    token = state.roles.text("pad_token")
    number = None if token is None else state.id_of(token)
    if number is None:
        raise InputError("padding needs a pad_token and this tokenizer has none; set tokenizer.pad_token = '[PAD]'")
    return token, number
