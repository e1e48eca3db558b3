"""A text's tokens and where each stands in it: the tokenizer's word for it, or somebody's own offsets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from nanodistil.pipelines.inputs import a_text, many
from nanodistil.tokenization.facade import Tokenizer
from nanodistil.weights.errors import InputError

Span = tuple[int, int]


class WithOffsets(NamedTuple):
    """A text or its words, and offsets of its tokens that are not the tokenizer's."""

    text: Any
    offsets: Any


class Tokens(NamedTuple):
    """A text's n tokens, without special ones."""

    sentence: str
    ids: list[int]
    offsets: list[Span]
    words: list[Any]  # equal for tokens of one word, and only then


def located(tokenizer: Tokenizer, one: Any, delimiter: str | None, name: str) -> Tokens:
    """A text, or a list of words that are to be joined by a delimiter, checked and encoded. Raises InputError."""
    text, given = one if isinstance(one, WithOffsets) else (one, None)
    if delimiter is None:
        hint = "; for a list of words pass is_split_into_words=True" if isinstance(text, list) else ""
        texts: Any = [a_text(text, name, hint)]
    else:
        texts = text
    if not isinstance(texts, str | list) and isinstance(texts, Iterable):
        texts = list(many(texts, "a list of words"))
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise InputError(f"{name} is not a list of words, which is_split_into_words=True asks for")
    try:
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    ids = [number for row in encoded["input_ids"] for number in row]
    offsets = [span for row in encoded["offset_mapping"] for span in row]
    if given is not None:
        template = tokenizer.encoder.template
        checked = checked_offsets(given, len(ids) + template.around(), name)
        offsets = checked[template.leading : template.leading + len(ids)]
    spans: list[Span] = []
    words: list[Any] = []
    shift = 0
    for k, one in enumerate(texts):
        words += [(k, word) for word in encoded.word_ids(k)]
        spans += [(start + shift, end + shift) for start, end in offsets[len(spans) : len(words)]]
        shift += len(one) + len(delimiter or "")
    return Tokens((delimiter or "").join(texts), ids, spans, words)


def with_offsets(texts: Iterable[Any], offset_mapping: Any) -> list[Any]:
    """Each text with its offsets. Raises InputError if their numbers differ."""
    texts = list(texts)
    if isinstance(offset_mapping, list) and offset_mapping and isinstance(offset_mapping[0], tuple):
        offset_mapping = [offset_mapping]
    if not isinstance(offset_mapping, list) or len(offset_mapping) != len(texts):
        raise InputError(f"offset_mapping must be a list of (start, end) for each of the {len(texts)} texts")
    return [WithOffsets(text, given) for text, given in zip(texts, offset_mapping, strict=True)]


def checked_offsets(given: Any, n: int, name: str) -> list[Span]:
    """Offsets of n tokens, special ones included, as somebody gave them. Raises InputError."""
    array = np.asarray(given) if isinstance(given, list | np.ndarray) else np.zeros(0)
    if array.shape != (n, 2) or array.dtype.kind not in "iu" or (array < 0).any():
        raise InputError(
            f"{name} has {n} tokens, special ones included: offset_mapping must have (start, end) for each"
        )
    return [(start, end) for start, end in array.tolist()]
