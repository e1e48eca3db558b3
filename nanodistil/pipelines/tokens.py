"""From one text, or pair of texts, to the row of ids a model reads: encoded, stripped of padding, checked.

Padding that a caller asks for changes nothing here, since no pipeline attends to it: it is left out again, so that a
row is as long as its text. A text that does not fit the model is refused by name, and never cut unless asked; then to
what both the tokenizer and the model take. (transformers cuts to the tokenizer's limit, which a folder with no more
than a vocabulary does not give, and then fails in the model.) A text of which nothing is left is answered, as there,
but with a word about it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np

from nanodistil.backend import Mask
from nanodistil.config import Config
from nanodistil.pipelines.batching import Row
from nanodistil.pipelines.pairing import longest_row
from nanodistil.pretrained import Pretrained
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError, TooLongError, excerpt, meant


class TokenizerOptions(TypedDict, total=False):
    """The tokenizer's arguments after which one text is still one row of ids."""

    add_special_tokens: bool
    padding: bool | str
    truncation: bool | str | None
    max_length: int | None
    pad_to_multiple_of: int | None
    padding_side: str | None
    verbose: bool


Texts = tuple[Any, ...]  # a text; a text and its second text or None; or a list of one pair

OPTIONS = tuple(TokenizerOptions.__annotations__)
NOTHING = "a text without a word (empty, or nothing of it is left) is answered like any other: from [CLS], [SEP] alone"
CUTS = (True, "longest_first", "only_first", "only_second")


def checked_options(options: dict[str, Any] | None) -> dict[str, Any]:
    """The tokenizer's arguments as given. Raises InputError for one that is unknown or no use to a pipeline.

    >>> checked_options({"truncating": True})
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: 'truncating' is no argument of this pipeline, nor one of ...
    """
    if not isinstance(options, dict | None):
        raise InputError(f"the tokenizer's arguments must be a dict, not {type(options).__name__}")
    options = dict(options or {})
    for name in options:
        if name not in OPTIONS:
            raise InputError(
                f"{excerpt(name)} is no argument of this pipeline, nor one of the tokenizer's that it takes: "
                f"{', '.join(OPTIONS)}{meant(name, OPTIONS)}"
            )
    return options


def encoded(
    model: Pretrained, tokenizer: Tokenizer, texts: Texts, name: str, options: dict[str, Any]
) -> tuple[Row, Mask]:
    """What is one row for the tokenizer, of T ids, and which of them are no padding (T,).

    As in transformers an empty second text counts for nothing beside a text, and for a text in a list.
    name: of the input, for messages. Raises InputError for what cannot be encoded, and if nothing comes out.
    """
    # Only max_length deserves the tokenizer's warnings: a text that is too long gets an error of its own below.
    told = tells_apart(model.config, tokenizer)
    asked = {"verbose": "max_length" in options, "return_attention_mask": True, "return_token_type_ids": told}
    options = {**asked, **options}
    if options.get("truncation") in CUTS and options.get("max_length") is None:
        options["max_length"] = longest_row(model, tokenizer)
    try:
        row = tokenizer(*texts, **options)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    ids, real = np.asarray(row["input_ids"], np.int64), np.asarray(row["attention_mask"], np.bool_)
    if not real.any():
        raise InputError(f"{name} has no tokens; it needs some, or add_special_tokens=True")
    ids, real = ids.reshape(-1), real.reshape(-1)
    return Row(ids, second=second_of(np.ravel(row["token_type_ids"])[real]) if told else None), real


def tells_apart(config: Config, tokenizer: Tokenizer) -> bool:
    """Whether a model is told which text of a pair a token is of."""
    return config.token_types > 1 and "token_type_ids" in tokenizer.model_input_names


def second_of(types: Any) -> int | None:
    """Where the second text begins, from the types (T,) of a row's tokens; None if there is none.

    >>> second_of([0, 0, 0, 1, 1]), second_of([0, 0])
    (3, None)
    """
    after = np.flatnonzero(types)
    return int(after[0]) if len(after) else None


def said_if_nothing(row: Row, tokenizer: Tokenizer) -> Row:
    """The row as it is, with a warning if all of it are [CLS] and [SEP]."""
    if {tokenizer.cls_token_id, tokenizer.sep_token_id}.issuperset(row.ids.tolist()):
        warn_of_nothing()
    return row


def warn_of_nothing() -> None:
    """Say that there is an answer, and nothing that it could be an answer to."""
    warnings.warn(NOTHING, stacklevel=3)


def check_length(length: int, model: Pretrained, name: str, options: dict[str, Any]) -> None:
    """Raises TooLongError if the model has no positions for so many tokens; options: the tokenizer's arguments."""
    limit = model.config.max_tokens
    if length > limit:
        remedy = (
            f"allow it a max_length of {limit}" if options.get("max_length") else "pass truncation=True (--truncate)"
        )
        raise TooLongError(f"{name} has {length} tokens, more than the model's {limit}: shorten it or {remedy}")


def row_of(model: Pretrained, tokenizer: Tokenizer, texts: Texts, name: str, options: dict[str, Any]) -> Row:
    """A text or pair, without padding, that the model has positions for. Raises InputError."""
    row, real = encoded(model, tokenizer, texts, name, options)
    row = replace(row, ids=row.ids[real])
    check_length(len(row), model, name, options)
    return row
