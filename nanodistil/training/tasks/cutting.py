"""Texts and pairs of texts as rows of ids, cut to the longest that training allows, which is said."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from nanodistil.config import Config
from nanodistil.pipelines.batching import Row
from nanodistil.pipelines.tokens import second_of, tells_apart
from nanodistil.tokenization.facade import Tokenizer


def cut_rows(texts: list[Any], tokenizer: Tokenizer, config: Config, longest: int) -> list[Row]:
    """A row of at most `longest` ids for every text or pair, of which the longer text is cut first."""
    told = tells_apart(config, tokenizer)
    how: dict[str, Any] = {"verbose": False, "return_token_type_ids": told}
    encoded = tokenizer(texts, **how)
    long = sum(len(ids) > longest for ids in encoded["input_ids"])
    if long:
        encoded = tokenizer(texts, truncation=True, max_length=longest, **how)
        what = "pairs" if isinstance(texts[0], tuple) else "texts"
        warnings.warn(
            f"note: {long} of {len(texts)} {what} are cut to {longest} tokens (--max-seq-length)", stacklevel=4
        )
    seconds = map(second_of, encoded["token_type_ids"]) if told else [None] * len(texts)
    return [Row(np.array(ids, np.int64), second=at) for ids, at in zip(encoded["input_ids"], seconds, strict=True)]
