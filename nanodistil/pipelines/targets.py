"""Words to rank, as somebody wrote them, as ids of the vocabulary. A warning says of which that is not the whole."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from nanodistil.backend import Ints
from nanodistil.config import Config
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError, excerpt


def target_ids(tokenizer: Tokenizer, config: Config, targets: Any) -> Ints:
    """Words -> their ids, each once. A word outside the vocabulary stands for its first piece."""
    ids, vocabulary = [], tokenizer.get_vocab()
    for word, pieces in spelled(tokenizer, config, targets):
        ids.append(pieces[0])
        if word not in vocabulary:
            piece = tokenizer.convert_ids_to_tokens(pieces[0])
            warnings.warn(
                f"the target {excerpt(word)} is not in the vocabulary; {excerpt(piece)} stands for it", stacklevel=4
            )
    return np.array(list(dict.fromkeys(ids)), np.int64)


def target_words(tokenizer: Tokenizer, config: Config, targets: Any) -> list[list[int]]:
    """Words -> their pieces, each word once. Raises InputError for one that has no spelling."""
    words = spelled(tokenizer, config, targets)
    for word, pieces in words:
        if tokenizer.unk_token_id in pieces:
            raise InputError(f"the target {excerpt(word)} cannot be spelled in pieces of the vocabulary")
    return [list(pieces) for pieces in dict.fromkeys(tuple(pieces) for _, pieces in words)]


def spelled(tokenizer: Tokenizer, config: Config, targets: Any) -> list[tuple[str, list[int]]]:
    """The words that have any pieces, with these. Raises InputError for what is no word, or if none is left."""
    if not isinstance(targets, str | Iterable):
        raise InputError(f"targets must be a string or several, not {type(targets).__name__}")
    vocabulary = tokenizer.get_vocab()
    found: list[tuple[str, list[int]]] = []
    for word in [targets] if isinstance(targets, str) else targets:
        if not isinstance(word, str):
            raise InputError(f"targets must be strings, not {type(word).__name__}")
        if tokenizer.mask_token in word:
            raise InputError(f"the target {excerpt(word)} holds {tokenizer.mask_token}: is it a text?")
        inside = word in vocabulary
        pieces = [vocabulary[word]] if inside else tokenizer(word, add_special_tokens=False)["input_ids"]
        if pieces and max(pieces) >= config.vocab_size:
            raise InputError(f"the target {excerpt(word)} is a token the model has no row for: resize_token_embeddings")
        if pieces:
            found.append((word, pieces))
        else:
            warnings.warn(f"the target {excerpt(word)} has no pieces in the vocabulary and is left out", stacklevel=5)
    if not found:
        raise InputError("targets names no word of the vocabulary")
    return found
