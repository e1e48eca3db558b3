"""What a call may be given as text: one, a pair, a batch, or any of these as words; anything else is an InputError.

How much is a text depends on `is_split_into_words`. Without it a string is a text and a list is a batch; with it a list
of strings is a text and a list of such lists is a batch. A pair is given as two arguments, or as an item of a batch
that holds two texts.

Two oddities of the reference are kept. For a single text an empty second text is none at all, in a batch it is a second
text without tokens, with a [SEP] of its own. And a batch is judged by its first item before the others are looked at,
so that pairs of word lists cannot be the first item of a call's batch; `batch_encode_plus` takes them anywhere.
"""

from __future__ import annotations

from typing import Any

from nanodistil.weights.errors import InputError, excerpt

Pairs = list[tuple[Any, Any]]  # a text and its second one or None; each a string, or a list of words

Sequence: Any = list | tuple  # made once: a union takes longer to make than to ask
KINDS = "a string, a list of strings, or with is_split_into_words=True a list of words or of such lists"


def texts_of_call(text: Any, text_pair: Any, words: bool) -> tuple[Pairs, bool]:
    """What a call was given, as pairs, and whether it is a single text. Raises InputError.

    >>> texts_of_call(["a", ("b", "c")], None, False), texts_of_call(["a", "b"], [], True)
    (([('a', None), ('b', 'c')], False), ([(['a', 'b'], None)], True))
    """
    if isinstance(text, str) and text_pair is None and not words:
        return [(_checked(text), None)], True  # what most calls are, in a quarter of the time
    for name, value in (("text", text), ("text_pair", text_pair)):
        if not _looks_like_text(value) and not (name == "text_pair" and value is None):
            raise InputError(f"{name} must be {KINDS}; not {_kind(value)}")
    if words:
        single = not (isinstance(text, Sequence) and text and isinstance(text[0], Sequence))
    else:
        single = not isinstance(text, Sequence)
    if single:
        return [single_text(text, text_pair, words)], True
    if isinstance(text_pair, str) or (text_pair is not None and len(text_pair) != len(text)):
        raise InputError(f"text is a batch of {len(text)}, so text_pair must be a list of as many texts")
    return texts_of_batch(text if text_pair is None else list(zip(text, text_pair, strict=True)), words), False


def single_text(text: Any, text_pair: Any, words: bool) -> tuple[Any, Any]:
    """One text or pair, checked. Raises InputError."""
    return _item((text, text_pair) if text_pair else text, words)  # an empty second text is none


def texts_of_batch(batch: Any, words: bool) -> Pairs:
    """The items of a batch, checked. Raises InputError.

    >>> texts_of_batch([["a", "b"], (["c"], ["d", "e"])], True)
    [(['a', 'b'], None), (['c'], ['d', 'e'])]
    """
    if not isinstance(batch, Sequence):
        raise InputError(f"a batch must be a list of texts or pairs, not {_kind(batch)}")
    if words:
        return [_item(item, words) for item in batch]
    return [(_checked(item), None) if isinstance(item, str) else _item(item, words) for item in batch]


def _item(item: Any, words: bool) -> tuple[Any, Any]:
    if words:
        if _are_words(item):
            return [_checked(word) for word in item], None
        if isinstance(item, Sequence) and len(item) == 2 and all(map(_are_words, item)):
            return [_checked(word) for word in item[0]], [_checked(word) for word in item[1]]
        raise InputError(f"with is_split_into_words=True a text is a list of words, all strings; not {_kind(item)}")
    if isinstance(item, Sequence) and len(item) == 2:
        return _checked(item[0]), _checked(item[1])
    return _checked(item), None


def _are_words(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)


def _looks_like_text(value: Any) -> bool:
    """By its first item, or the first item of that: the rest is checked later."""
    for depth in range(3):
        if isinstance(value, str):
            return True
        if depth == 2 or not isinstance(value, Sequence):
            return False
        if not value:
            return True
        value = value[0]
    return False


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise InputError(f"a text must be a string, not {_kind(text)}")
    try:
        text.encode()  # 1 GB/s or so; a surrogate is the one code point that is no character
    except UnicodeEncodeError as error:
        raise InputError(f"the text holds a lone surrogate at {error.start}; read it with errors='replace'") from None
    return text


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {excerpt(value)}"
