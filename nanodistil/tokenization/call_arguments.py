"""What a tokenizer is called with beside its texts: one value, made once and handed on whole.

A call, `encode_plus`, `batch_encode_plus` and `prepare_for_model` take the same arguments, and each of the steps behind
them looks at a few. So they are listed once, here, with their defaults, and `spelled_out` writes them into the
signatures of those that take them, for help() and for whoever inspects a call. `Rest` and `All` say the same to type
checkers, which cannot read a signature that was made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, TypeVar

BY_PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD
Call = TypeVar("Call", bound=Callable[..., Any])


class CallArguments(NamedTuple):
    """The arguments, in transformers' order.

    >>> CallArguments.given("encode", (), {"stride": 2}).stride
    2
    >>> CallArguments.given("encode", (), {"strike": 2})
    Traceback (most recent call last):
    TypeError: encode() got an unexpected keyword argument 'strike'
    """

    add_special_tokens: bool = True
    padding: bool | str = False  # False, True or "longest", "max_length"
    truncation: bool | str | None = None  # None, True or "longest_first", "only_first", "only_second"
    max_length: int | None = None  # in tokens, special ones included
    stride: int = 0  # tokens that neighbouring windows share
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None  # None: the tokenizer's
    return_tensors: str | None = None  # None for lists, "np", "pt"
    return_token_type_ids: bool | None = None  # None: if the model is given them
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None  # None: as the tokenizer was made

    @classmethod
    def given(
        cls, function: str, by_place: tuple[Any, ...], by_name: dict[str, Any], without: tuple[str, ...] = ()
    ) -> CallArguments:
        """What a call of `function`, which takes none of `without`, was given.

        Raises TypeError, in the function's name, for what it does not take.
        """
        if without and (by_place or not by_name.keys().isdisjoint(without)):
            names = [name for name in cls._fields if name not in without]
            placed = dict(zip(names, by_place, strict=False))
            wrong = next((name for name in by_name if name in placed or name in without), None)
            if wrong is not None or len(by_place) > len(names):
                raise TypeError(f"{function}() got an unexpected argument {by_place[-1] if wrong is None else wrong!r}")
            by_place, by_name = (), placed | by_name
        try:
            return cls(*by_place, **by_name)
        except TypeError as error:
            raise TypeError(str(error).replace("CallArguments.__new__()", f"{function}()")) from None


def spelled_out(*without: str, **more: Any) -> Callable[[Call], Call]:
    """For a method with *by_place and **by_name: its signature names the arguments instead.

    without: those that it does not take. more: further ones, and their defaults.
    """

    def decorated(function: Call) -> Call:
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is BY_PLACE]
        shared = [
            inspect.Parameter(name, BY_PLACE, default=default, annotation=annotation.__forward_arg__)
            for (name, default), annotation in zip(
                CallArguments._field_defaults.items(), CallArguments.__annotations__.values(), strict=True
            )
            if name not in without
        ]
        last = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in more.items()]
        function.__signature__ = own.replace(parameters=[*named, *shared, *last])  # type: ignore[attr-defined]
        return function

    return decorated


class Rest(TypedDict, total=False):
    """For type checkers: the arguments of a call that do not decide of what kind its values are."""

    text_target: Any
    text_pair_target: Any
    add_special_tokens: bool
    padding: bool | str
    truncation: bool | str | None
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str | None
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool
    verbose: bool
    split_special_tokens: bool | None


class All(Rest, total=False):
    """All of them but the texts."""

    is_split_into_words: bool
    return_overflowing_tokens: bool
