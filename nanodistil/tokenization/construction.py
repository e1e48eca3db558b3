"""What a tokenizer may be made with beside its own settings: transformers' arguments that change nothing here.

transformers keeps whatever it is given, in `init_kwargs` and in tokenizer_config.json, and acts on none of it; so a
misspelt argument is a setting that does nothing. Here what says nothing is taken, and what is unknown is refused.
"""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

from nanodistil.tokenization.special_tokens import SPECIAL
from nanodistil.weights.errors import InputError, ModelNotFoundError, excerpt, meant

ANY = None  # whatever it says
TAKEN: dict[str, tuple[Any, ...] | None] = {  # argument -> the values with which it says nothing
    "verbose": ANY,
    "use_fast": ANY,  # one class, whose results are the fast one's
    "from_slow": ANY,
    "add_prefix_space": ANY,  # of byte-level tokenizers
    "legacy": ANY,
    "clean_text": (True,),
    "wordpieces_prefix": ("##",),
    "do_basic_tokenize": (True,),
    "never_split": (None, [], ()),
    "pad_token_type_id": (0,),
    "chat_template": (None,),
    "extra_special_tokens": (None, {}, []),
}


def refuse_others(others: dict[str, Any], cls: type) -> None:
    """Raises InputError for an argument that is unknown, or would ask for something that is not so.

    >>> refuse_others({"verbose": False}, dict)
    >>> refuse_others({"never_split": ["abc"]}, dict)
    Traceback (most recent call last):
    nanodistil.weights.errors.InputError: never_split cannot be ['abc'] here; leave it out
    """
    for name, value in others.items():
        if name not in TAKEN:
            hint = "" if hasattr(cls, name) else meant(name, [*arguments_of(cls), *SPECIAL, *TAKEN])
            what = "is a method of the tokenizer, and no" if callable(getattr(cls, name, None)) else "is no"
            raise InputError(f"{excerpt(name)} {what} argument that a tokenizer is made with{hint}")
        allowed = TAKEN[name]
        if allowed is not None and value not in allowed:
            raise InputError(f"{name} cannot be {excerpt(value)} here; leave it out")


def arguments_of(cls: type) -> list[str]:
    """What a tokenizer's class and those that it builds on are made with, by name."""
    found = [one for kind in cls.__mro__ for one in signature(kind.__init__).parameters.values()]  # type: ignore[misc]
    return [one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def files_of(folder: Path, overrides: dict[str, Any], vocabulary_file: str) -> tuple[Path, Path]:
    """tokenizer.json and the vocabulary file of a folder, or those that the arguments name, which it takes out.

    A vocab_file alone counts: the folder's tokenizer.json would hold another vocabulary. Raises ModelNotFoundError.
    """
    tokenizer_json, vocabulary = (overrides.pop(name, None) for name in ("tokenizer_file", "vocab_file"))
    for path in (tokenizer_json, vocabulary):
        if path is not None and not Path(path).is_file():
            raise ModelNotFoundError(f"{path}: there is no such file; leave it out for the folder's own")
    if tokenizer_json is None and vocabulary is not None:
        return Path(), Path(vocabulary)
    return Path(tokenizer_json or folder / "tokenizer.json"), folder / vocabulary_file
